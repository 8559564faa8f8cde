"""Build modules from a model's config, by closed tables; weights get their shapes later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .._core.config_versions import read_standalone_version
from .._core.errors import FileError, argument_error
from .._core.registry import LAYERS, to_snake_case
from ..activations.serialization import KERAS_2_NAMES
from ..graph.shapes import ERRORS
from ..graph.spec import Call, LayerSpec, ModelSpec, iterate_refs
from ..layers.base.layer import Layer
from ..operations.operation import OPERATIONS, Operation, get_operation_key
from ..saving.configs.entries import MODELS, read_class, upgrade_layer_config
from ..saving.configs.parse import parse_model_config
from .functional import Functional, Model
from .sequential import Sequential

Factory = Callable[[dict[str, Any]], nn.Module]
Path = tuple[str, ...]

_MAX_CHARACTERS, _MAX_PROBLEMS = 500, 100  # in a message
_REASONS = {  # why a layer of Keras is not supported
    **dict.fromkeys(("Lambda", "TorchModuleWrapper", "TFSMLayer"), "its code is not run; "),
    "ContrastLimitedAdaptiveHistogramEqualization": "its values depend on Keras's backend; ",
}


def build_model(
    spec: ModelSpec,
    custom_layers: Mapping[str, Factory] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> Model:
    """Return the module of a model, with lazy weights.

    Args:
        spec: The model's config.
        custom_layers: Class names of layers or operations -> functions that return a module for
            a layer's config. They take precedence over this package's own.
        custom_objects: Names of activations, initializers, regularizers and constraints ->
            functions or classes.

    Raises:
        FileError: layers are not supported, or refuse their config or input shape.
        TypeError: a function in `custom_layers` returns no module.
    """
    builder = _Builder(spec.source, custom_layers or {}, custom_objects or {}, spec.version)
    builder.make_layers(spec, ())
    builder.require_all()
    model = builder.assemble(spec, ())
    _require_one_mode(spec, model)
    if not spec.trainable:
        _freeze(model)
    return model


@dataclass
class _Builder:
    """Make all layers, then assemble them; collect the problems."""

    source: str
    custom_layers: Mapping[str, Factory]
    custom_objects: Mapping[str, Any]
    version: str | None = None
    made: dict[Path, nn.Module] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unsupported: dict[str, None] = field(default_factory=dict)  # class names, each once

    def make_layers(self, spec: ModelSpec, path: Path) -> None:
        """Make all layers of a model and its nested models, except aliases."""
        for layer in spec.layers:
            own = (*path, layer.name)
            if layer.alias is not None:
                continue
            if layer.model is not None and self.find_factory(layer.class_name) is None:
                self.make_layers(layer.model, own)
            else:
                self.make_module(layer, own)

    def find_factory(self, class_name: str) -> Factory | None:
        """Return the caller's function for a class, with or without its package: "my>Layer"."""
        bare = class_name.rpartition(">")[2]
        return self.custom_layers.get(class_name, self.custom_layers.get(bare))

    def make_module(self, layer: LayerSpec, path: Path) -> None:
        """Make the module of one layer, or record why it cannot be made."""
        class_name, config = layer.class_name, dict(layer.config)
        factory = self.find_factory(class_name)
        if factory is not None:
            self.made[path] = self.make_custom(factory, class_name, config)
            return
        try:
            if layer.operation:
                self.made[path] = _make_operation(layer)
            else:
                self.made[path] = self.make_layer(class_name, config, keras_2=layer.keras_2)
        except ERRORS as error:
            where = f"{'/'.join(path)!r} ({class_name})"
            self.problems.append(f"{where}: {error}"[:_MAX_CHARACTERS])
            self.unsupported[class_name] = None

    def make_custom(self, factory: Factory, class_name: str, config: dict[str, Any]) -> nn.Module:
        """Return the caller's module for a layer, frozen if the layer is."""
        found = factory(config)
        rule, remedy = "a function that returns a torch.nn.Module", ""
        if any(found is module for module in self.made.values()):
            rule += " of its own"
            remedy = "It returned a module that another layer has already."
        if remedy or not isinstance(found, nn.Module):
            argument = f"custom_layers[{class_name!r}]"
            raise TypeError(argument_error("build_model", argument, rule, found, remedy))
        if config.get("trainable") is False:
            _freeze(found)
            if isinstance(found, Layer):
                found.trainable = False
        return found

    def make_layer(self, class_name: str, config: dict[str, Any], *, keras_2: bool) -> nn.Module:
        """Return a layer of this package, or raise one of ERRORS."""
        if class_name not in LAYERS:
            raise ValueError(f"{_REASONS.get(class_name, '')}not supported")
        activation = config.get("activation")
        if isinstance(activation, Mapping) and isinstance(activation.get("config"), Mapping):
            config["activation"] = self.make_activation(activation, keras_2=keras_2)
        for argument in LAYERS[class_name].nested_arguments:
            config[argument] = self.make_nested(config.get(argument), keras_2=keras_2)
        objects = {**KERAS_2_NAMES, **self.custom_objects} if keras_2 else self.custom_objects
        name = config.get("name", to_snake_case(class_name))
        layer_class: type[Layer] = LAYERS[class_name]
        config["name"] = "layer"
        if keras_2 and layer_class.differs_in_keras_2:
            config["keras_2"] = True
        keras_3 = re.match(r"3\.(\d{1,4})(\.|$)", self.version or "")
        if keras_3:
            config = layer_class.upgrade_config_of_keras_3(config, int(keras_3[1]))
        standalone = read_standalone_version(self.version) if keras_2 else None
        if standalone is not None:
            config = layer_class.upgrade_config_of_standalone_keras(config, standalone)
        made = layer_class.from_config(config, objects)
        made.masks_of_keras_2 = keras_2
        made.name = name  # Keras 2 had names with "/", which Keras 3 refuses
        return made

    def make_nested(self, entry: Any, *, keras_2: bool) -> Any:
        """Return the module of an entry in a layer's config, or a list of them."""
        if isinstance(entry, (list, tuple)):
            return [self.make_nested(one, keras_2=keras_2) for one in entry]
        if entry is None:
            return None
        if not (isinstance(entry, Mapping) and isinstance(entry.get("config"), (Mapping, list))):
            rule = "a dict with a `class_name` and a `config`"
            raise ValueError(argument_error("layer", "entry", rule, entry))
        class_name = read_class(entry)
        factory = self.find_factory(class_name)
        if factory is not None:
            return self.make_custom(factory, class_name, dict(entry["config"]))
        if class_name in MODELS:
            spec = parse_model_config({**entry}, self.source, self.version)
            return build_model(spec, self.custom_layers, self.custom_objects)
        class_name, config = upgrade_layer_config(class_name, entry["config"], self.source)
        return self.make_layer(class_name, dict(config), keras_2=keras_2)

    def make_activation(self, given: Mapping[str, Any], *, keras_2: bool) -> Any:
        """Return the layer that is another's activation, or a function's config unchanged."""
        class_name, config = given.get("class_name"), dict(given["config"])
        if not isinstance(class_name, str) or class_name in self.custom_objects:
            return given
        factory = self.find_factory(class_name)
        if factory is not None:
            return self.make_custom(factory, class_name, config)
        if read_class(given) not in LAYERS:
            return given
        return self.make_layer(class_name, config, keras_2=keras_2)

    def require_all(self) -> None:
        """Raise a FileError that lists all problems, if any."""
        if not self.problems:
            return
        shown = self.problems[:_MAX_PROBLEMS]
        if len(self.problems) > _MAX_PROBLEMS:
            shown.append(f"and {len(self.problems) - _MAX_PROBLEMS} more")
        listed = "".join(f"\n  {one}" for one in shown)
        names = ", ".join(f'"{name}": ...' for name in self.unsupported) or '"Name": ...'
        count = len(self.problems)
        what = "1 layer cannot" if count == 1 else f"{count} layers cannot"
        remedy = (
            "Give a function that makes a module of a layer's config, "
            f"`custom_layers={{{names}}}`; or rebuild the model in PyTorch and use `load_weights`."
        )
        raise FileError(f"{self.source}: {what} be rebuilt.{listed}\n{remedy}")

    def assemble(self, spec: ModelSpec, path: Path) -> Model:
        """Return the module of a model from its layers."""
        layers: dict[str, nn.Module] = {}
        for layer in spec.layers:
            own = (*path, layer.name)
            source = own if layer.alias is None else layer.alias
            if source not in self.made and layer.model is not None:
                self.made[source] = self.assemble(layer.model, own)
            layers[layer.name] = self.made[source]
        modes = {c.layer: c.kwargs["training"] for c in spec.calls if "training" in c.kwargs}
        kind = Sequential if spec.kind == "Sequential" else Functional
        try:
            for call in spec.calls:
                _check_call(call, layers[call.layer])
            _check_outputs(spec, layers)
            return kind(spec, layers, modes)
        except ValueError as error:
            where = f"{self.source}: {'/'.join(path) or spec.name!r}"
            raise FileError(f"{where}: {str(error)[:_MAX_CHARACTERS]}") from error


def _freeze(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.requires_grad = False  # `requires_grad_` refuses lazy ones


def _make_operation(layer: LayerSpec) -> Operation:
    """Return an operation, or raise a ValueError if it is not supported."""
    key = get_operation_key(layer.class_name, layer.config)
    is_tensorflow = key != layer.class_name
    if key not in OPERATIONS:
        raise ValueError(f"{key}: not supported" if is_tensorflow else "not supported")
    left_out = ("name", "trainable", "dtype", "function") if is_tensorflow else ("name",)
    arguments = {k: v for k, v in layer.config.items() if k not in left_out}
    return Operation(key, layer.name, arguments)


def _check_call(call: Call, module: nn.Module) -> None:
    """Refuse a call with arguments that the module does not accept."""
    if isinstance(module, Operation):
        try:
            module.check(call.args, call.kwargs)
        except TypeError as error:
            raise ValueError(f"{call.layer!r} ({module.key}): {error}") from error
    elif isinstance(module, (Layer, Model)):
        accepted = module.call_arguments
        unknown = sorted(call.kwargs.keys() - {"training", *accepted})
        if not 1 <= len(call.args) <= 1 + len(accepted) or unknown:
            also = f", and on {', '.join(accepted)}" if accepted else " alone"
            what = f"a {type(module).__name__} must be called on its inputs{also}"
            found = f"{len(call.args)} arguments and {unknown}"
            remedy = "Rebuild the model in PyTorch, and load the weights with `load_weights`."
            raise ValueError(f"{call.layer!r}: {what}. Found: {found}. {remedy}")


def _check_outputs(spec: ModelSpec, layers: Mapping[str, nn.Module]) -> None:
    """Refuse an output index that a layer does not have."""
    arguments = [call.arguments for call in spec.calls]
    for ref in iterate_refs([arguments, spec.inputs, spec.outputs]):
        count = _output_count(layers[ref.layer])
        if count is not None and ref.index >= count:
            what = f"a tensor must be one of the {count} outputs of {ref.layer!r}"
            raise ValueError(f"{what}. Found: number {ref.index}.")


def _output_count(module: nn.Module) -> int | None:
    """Return the number of a module's outputs, or None if unknown."""
    if isinstance(module, Functional):
        return len(list(iterate_refs(module.spec.outputs)))
    if isinstance(module, Sequential):
        last = list(module.layers.values())[-1:]
        return _output_count(last[0]) if last else 1
    return module.output_count if isinstance(module, Layer) else None


def _require_one_mode(spec: ModelSpec, model: Model) -> None:
    """Refuse a layer called with two values of `training`, since a module has one mode."""
    found: dict[int, tuple[str, set[bool | None]]] = {}
    for path, module, mode in _modes(model, None, ""):
        found.setdefault(id(module), (path, set()))[1].add(mode)
    wrong = [repr(path) for path, modes in found.values() if len(modes) > 1]
    if wrong:
        what = "a layer must be called with one `training` throughout"
        raise FileError(
            f"{spec.source}: {what}. Found: two for {', '.join(wrong)}. Rebuild the "
            "model in PyTorch, and load the weights with `load_weights`."
        )


def _modes(
    model: Model, outer: bool | None, prefix: str
) -> Iterator[tuple[str, nn.Module, bool | None]]:
    """Yield the modules that depend on the training mode, with the mode of each call."""
    if isinstance(model, Functional):
        calls = [(call.layer, call.kwargs.get("training")) for call in model.spec.calls]
    else:
        calls = [(name, None) for name in model.layers]
    layers = model.layers
    for name, own in calls:
        layer, mode, path = layers[name], outer if own is None else own, f"{prefix}{name}"
        if isinstance(layer, Model):
            yield from _modes(layer, mode, f"{path}/")
        elif getattr(layer, "depends_on_training_mode", not isinstance(layer, Operation)):
            yield path, layer, mode
