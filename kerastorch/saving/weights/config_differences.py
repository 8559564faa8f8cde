"""Compare what a module computes with what the config of a saved layer says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ... import activations
from ..._core.config_arrays import encode_array
from ..._core.errors import short_repr
from ..._core.registry import LAYERS, to_snake_case
from ...activations.serialization import KERAS_2_NAMES
from ...graph.shapes import ERRORS
from ...graph.spec import LayerSpec
from ...layers.base.config import OMITTED_ARGUMENTS
from ...layers.base.layer import Layer
from ..configs.entries import upgrade_layer_config
from ..torch_layers.adapter import are_equal
from ..torch_layers.modules import BATCH_NORMS, find_adapter
from .keras_names import list_weight_names

Custom = Mapping[str, Any]  # the caller's own objects by name; None for classes of modules

# These do not change the outputs, or also describe the inputs, as `data_format` does.
_NOT_COMPARED = (*OMITTED_ARGUMENTS, "data_format", "axis", "lora_rank", "lora_alpha")
_STEP = 37  # mixes small and large sample values


def find_config_differences(
    module: nn.Module, layer: LayerSpec, custom: Custom | None = None
) -> list[str]:
    """Return where a module computes something else than a saved layer, each with a remedy."""
    if isinstance(module, Layer):
        return list(_compare_layers(module, layer, custom or {}))
    adapter = find_adapter(module, any_forward=True)
    if adapter is None or to_snake_case(layer.class_name) not in adapter.kinds(module):
        return []
    return list(adapter.differences(module, layer.config))


def find_training_differences(module: nn.Module, layer: LayerSpec) -> list[str]:
    """Return where a module differs from a saved layer in training only."""
    kind = to_snake_case(layer.class_name)
    if kind != "batch_normalization" or not isinstance(module, BATCH_NORMS):
        return []
    saved, own = layer.config.get("momentum", 0.99), module.momentum
    if not isinstance(saved, (int, float)) or are_equal(own, 1.0 - saved):
        return []
    return [f"momentum={own!r}; in training, the source's {saved!r} is {1.0 - saved:.6g} here"]


def _compare_layers(layer: Layer, spec: LayerSpec, custom: Custom) -> Iterator[str]:
    """Yield each argument of a layer of kerastorch that differs from the saved layer's."""
    classes, own = type(layer).__mro__, LAYERS.get(spec.class_name)
    names = (spec.class_name, None if own is None else own.__name__)  # without its package
    base: Any = next((cls for cls in classes if cls.__name__ in names), None)
    if base is None:
        if list_weight_names(spec) is not None:  # else a custom class, which the layer stands for
            yield f"it is a {classes[0].__name__}, where the source has a {spec.class_name}"
        return
    for argument, parameter in inspect.signature(base).parameters.items():
        if base.argument_namespaces.get(argument) is activations:
            given = spec.config.get(argument, parameter.default)
            yield from _compare_activations(layer, argument, given, spec, custom)
    for argument in base.nested_arguments:
        yield from _compare_inner(layer, argument, spec, custom)
    config = {n: value for n, value in spec.config.items() if n == "axis" or _is_compared(base, n)}
    try:
        saved = base.from_config(config).get_config()
    except (AttributeError, KeyError, TypeError, ValueError):  # the class does not accept it
        return
    given = _read_config(layer)
    for name, value in saved.items():
        if _is_compared(base, name) and name in given and not are_equal(given[name], value):
            yield f"{name}={short_repr(given[name])}, where the source has {short_repr(value)}"


def _compare_inner(layer: Layer, argument: str, spec: LayerSpec, custom: Custom) -> Iterator[str]:
    """Yield the differences of the layers that an argument holds."""
    own, given = getattr(layer, argument, None), spec.config.get(argument)
    many = isinstance(own, nn.ModuleList) and isinstance(given, list)
    pairs: Any = zip(own, given, strict=False) if many else [(own, given)]  # type: ignore[arg-type]
    for number, (module, entry) in enumerate(pairs):
        if not (isinstance(module, Layer) and isinstance(entry, Mapping)):
            continue
        name, config = entry.get("class_name"), entry.get("config")
        if isinstance(name, str) and isinstance(config, Mapping):
            name, config = upgrade_layer_config(name, config, argument)
            forced = {key: getattr(module, key) for key in getattr(layer, "forced_arguments", ())}
            inner = replace(spec, class_name=name, config={**config, **forced})
            where = f"{argument}[{number}]" if many else argument
            yield from (f"{where}: {line}" for line in _compare_layers(module, inner, custom))


def _is_compared(cls: type[Layer], argument: str) -> bool:
    resolved = argument in cls.argument_namespaces or argument in cls.nested_arguments
    return not resolved and argument not in _NOT_COMPARED


def _read_config(layer: Layer) -> dict[str, Any]:
    """Return a layer's config, without functions if a config cannot name one of them."""
    try:
        return layer.get_config()
    except (TypeError, ValueError):
        names = [name for name in layer.arguments() if name not in layer.argument_namespaces]
        return {name: encode_array(getattr(layer, name)) for name in names if hasattr(layer, name)}


def _compare_activations(
    layer: Any, argument: str, given: Any, spec: LayerSpec, custom: Custom
) -> Iterator[str]:
    """Yield a different activation: what it computes counts, not its name."""
    own = getattr(layer, argument)
    names = _list_names(given)
    if any(name in custom and custom[name] is None for name in names):
        return  # a custom module
    objects = {**(KERAS_2_NAMES if spec.keras_2 else {}), **custom}
    try:
        saved = activations.get(activations.deserialize(given, objects))
    except ERRORS:  # a custom activation, of which only the name is known
        if isinstance(own, Layer) or _find_keras_name(own) is not None:
            yield f"{argument}={_describe(own)}, where the source has {short_repr(names[0])}"
        return
    if isinstance(own, Layer) and isinstance(saved, Layer):
        inner: Any = given  # only a dict describes a layer
        inner_spec = replace(spec, class_name=type(saved).__name__, config=inner["config"])
        for difference in _compare_layers(own, inner_spec, custom):
            yield f"{argument}: {difference}"
        return
    if own is saved or (type(own) is type(saved) and type(saved) in custom.values()):
        return
    channels = getattr(layer, "units", getattr(layer, "filters", None))
    if not _have_equal_outputs(own, saved, channels):
        yield f"{argument}={_describe(own)}, where the source has {_describe(saved)}"


def _list_names(given: Any) -> list[str]:
    """Return the names by which a config may mean a custom function or class."""
    keys = "registered_name", "class_name", "config"
    found = [given.get(key) for key in keys] if isinstance(given, Mapping) else [given]
    names = [name for name in found if isinstance(name, str) and name != "function"]
    return [*names, *(name.rpartition(">")[2] for name in names)] or ["a function"]


def _find_keras_name(activation: Any) -> str | None:
    """Return Keras's name of a function, or None if it is not one of Keras's."""
    try:
        found = activations.serialize(activation)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def _describe(activation: Any) -> str:
    name = _find_keras_name(activation)
    if name is not None:
        return repr(name)
    own = getattr(activation, "__name__", None)
    return own if isinstance(own, str) else short_repr(activation)


def _have_equal_outputs(own: Any, saved: Any, channels: int | None) -> bool:
    """Return whether two activations agree on sample values, in a shape that both accept."""
    # Dense small values, where curves bend, and large ones, where limits are.
    probes = [n / 8 for n in range(-44, 45)]
    probes += [sign * n for n in (7, 9, 11, 25, 120, 900) for sign in (-1, 1)]
    shapes: list[tuple[int, ...]] = [(2, 3, 4, 5)]
    if channels is not None:
        shapes += [(64, channels), (4, channels, 2, channels)]
    functions = [one.forward if isinstance(one, nn.Module) else one for one in (own, saved)]
    for shape in shapes:
        order = (n * _STEP % len(probes) for n in range(prod(shape)))
        values = torch.tensor([probes[n] for n in order], dtype=torch.float32, device="cpu")
        try:
            with torch.no_grad():
                outputs = [function(values.reshape(shape).clone()) for function in functions]
        except Exception:  # a custom activation may raise anything for a shape
            continue
        left, right = outputs
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            return False
        same = left.shape == right.shape
        return same and torch.allclose(left.to(right), right, 1e-5, 1e-5, equal_nan=True)
    return False
