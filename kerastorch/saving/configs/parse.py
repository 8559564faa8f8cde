"""Parse a model's config, as any Keras wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..._core.errors import FileError
from ...graph.order import CycleError, sort_calls
from ...graph.spec import Call, LayerSpec, ModelSpec, iterate_refs
from ..formats.json_file import is_nested_deeper
from .entries import (
    MODELS,
    Entry,
    Path,
    SharedObjects,
    fill_data_formats,
    is_operation,
    read_built_shape,
    read_class,
    read_name,
    upgrade_layer_config,
)
from .node_index import WRONG_NUMBERS, normalize_calls
from .nodes import (
    Hints,
    InboundNodes,
    parse_inbound_nodes,
    parse_references,
    parse_shape,
    raise_config_error,
)

_DEPTH = 128  # of brackets: about forty nested models
_LAYERS = 100_000
_CALLS = 30_000  # of layers in one call of the model
_REBUILD = (
    "Its code is in no file: rebuild the class in PyTorch from `kerastorch.layers`, and load the "
    "weights with `load_weights`."
)


def parse_model_config(config: Any, source: str, version: str | None = None) -> ModelSpec:
    """Return the spec of a model's config, as parsed JSON.

    Raises:
        FileError: it is no config of a Sequential or Functional model, or is not consistent.
    """
    if is_nested_deeper(config, _DEPTH):
        raise FileError(f"{source}: a config must not be nested more than {_DEPTH} levels deep.")
    return _Reader(source, version).root(config)


class _Reader:
    """Reads one config."""

    def __init__(self, source: str, version: str | None) -> None:
        self.source, self.version = source, version
        self.count = 0
        self.sharing = SharedObjects()

    def root(self, config: Any) -> ModelSpec:
        where = self.source
        if not isinstance(config, Mapping):
            raise_config_error(where, "a model's config must be a dict", config)
        if not isinstance(config.get("class_name"), str) or "config" not in config:
            rule = "a model must have a `class_name` and a `config`"
            raise_config_error(where, rule, list(config))
        kind, content = read_class(config), config["config"]
        if kind not in MODELS or (isinstance(content, Mapping) and "layers" not in content):
            rule = "only Sequential and Functional models can be rebuilt from a config"
            raise_config_error(where, rule, kind, _REBUILD)
        if self.version is None and isinstance(config.get("keras_version"), str):
            self.version = config["keras_version"]
        spec = self.model(config, where, ())
        if (count := _calls_in(spec)) > _CALLS:
            rule = f"one call of the model must make {_CALLS} of layers at most"
            raise_config_error(where, rule, count)
        return replace(spec, version=self.version)

    def model(self, entry: Entry, where: str, path: Path | None) -> ModelSpec:
        """Return the model of an entry with `class_name` and `config`."""
        kind, content = MODELS[entry["class_name"]], entry["config"]
        if kind == "Sequential" and isinstance(content, (list, tuple)):  # until Keras 2.2.2
            content = {"layers": content, "name": read_name(entry, where)}
        if not isinstance(content, Mapping):
            expected = "a dict" if kind == "Functional" else "a dict or a list"
            raise_config_error(where, f"the `config` of a {kind} model must be {expected}", content)
        if kind == "Sequential":
            return self.sequential(entry, content, where, path)
        return self.functional(content, where, path)

    def sequential(self, entry: Entry, content: Entry, where: str, path: Path | None) -> ModelSpec:
        listed = self.entries(content, where)
        layers = [self.layer(inner, place, path) for inner, place in listed]
        for (_, place), layer in zip(listed[1:], layers[1:], strict=True):
            if layer.class_name == "InputLayer":
                here = f"{place} {layer.name!r}"
                raise_config_error(here, "an InputLayer must come first", layer.name)
        if layers and layers[0].class_name != "InputLayer":
            layers[:0] = self.input_of(entry, content, layers[0])
        _require_names(layers, where)
        name = read_name({"config": content}, where)
        # Like Keras, read `trainable` of a Sequential model's layers, not of the model.
        if "trainable" not in content and "dtype" not in content:
            layers = [replace(layer, keras_2=True) for layer in layers]
        layers = fill_data_formats(layers)
        return ModelSpec("Sequential", name, True, tuple(layers), source=self.source)

    def input_of(self, entry: Entry, content: Entry, first: LayerSpec) -> list[LayerSpec]:
        """Return the InputLayer to add to a Sequential model that begins without one, if known."""
        found = [first.config.get("batch_input_shape"), content.get("build_input_shape")]
        found.append(read_built_shape(entry))
        shape = next((shape for shape in map(parse_shape, found) if shape is not None), None)
        if shape is None or first.model is not None:
            return []
        config: dict[str, Any] = {"batch_shape": shape, "name": f"{first.name}_input"}
        dtype = first.config.get("dtype", first.config.get("input_dtype"))  # of Keras 1
        if isinstance(dtype, str):
            config["dtype"] = dtype.removeprefix("mixed_")
        return [LayerSpec("InputLayer", config["name"], config)]

    def functional(self, content: Mapping[str, Any], where: str, path: Path | None) -> ModelSpec:
        layers: list[LayerSpec] = []
        raw: dict[str, InboundNodes] = {}
        hints: Hints = {}
        entries = self.entries(content, where)
        names = [read_name(entry, place) for entry, place in entries]
        known = set(names)
        for (entry, place), name in zip(entries, names, strict=True):
            layer = self.layer(entry, place, path)
            nodes, here = entry.get("inbound_nodes", []), f"{place} {name!r}"
            if layer.class_name == "InputLayer" and nodes:
                raise_config_error(here, "an InputLayer must not be called", nodes)
            layers.append(layer)
            raw[name] = parse_inbound_nodes(layer, nodes, here, known, hints)
        _require_names(layers, where)
        ends = {}
        for key in ("input_layers", "output_layers"):
            if key not in content:
                raise_config_error(where, f"a Functional model must have `{key}`", list(content))
            ends[key] = parse_references(content[key], f"{where}: {key}", known)
        calls, ends = normalize_calls(layers, raw, ends, self.version, where)
        inputs = [layer.name for layer in layers if layer.class_name == "InputLayer"]
        given = [ref.layer for ref in iterate_refs(ends["input_layers"])]
        if not given or sorted(given) != sorted(inputs):
            rule = f"`input_layers` must list the InputLayers {inputs}, each once"
            raise_config_error(where, rule, content["input_layers"])
        if next(iterate_refs(ends["output_layers"]), None) is None:
            rule = "`output_layers` must list a tensor"
            raise_config_error(where, rule, content["output_layers"])
        if any(found.calls and not found.modern for found in raw.values()):
            layers = [replace(layer, keras_2=True) for layer in layers]
        layers = fill_data_formats(layers)
        name, trainable = read_name({"config": content}, where), content.get("trainable", True)
        uncalled = [name for name in names if name not in inputs and not raw[name].calls]
        order = _sort_calls(calls, uncalled, ends["output_layers"], where)
        graph = order, ends["input_layers"], ends["output_layers"], hints, self.source
        return ModelSpec("Functional", name, trainable is not False, tuple(layers), *graph)

    def entries(self, content: Mapping[str, Any], where: str) -> list[tuple[Entry, str]]:
        """Return the entries of a model's `layers`, each with its place for messages."""
        found = content.get("layers")
        if not isinstance(found, (list, tuple)):
            raise_config_error(where, "`layers` must be a list", found)
        self.count += len(found)
        if self.count > _LAYERS:
            raise_config_error(where, f"there must be {_LAYERS} layers at most", self.count)
        listed = []
        for number, entry in enumerate(found):
            place = f"{where}: layers[{number}]"
            if not isinstance(entry, Mapping):
                raise_config_error(place, "a layer must be a dict", entry)
            if not isinstance(entry.get("class_name"), str) or "config" not in entry:
                rule = "a layer must have a `class_name` and a `config`"
                raise_config_error(place, rule, list(entry))
            old = entry["class_name"] == "Sequential" and isinstance(entry["config"], (list, tuple))
            if not old and not isinstance(entry["config"], Mapping):
                raise_config_error(place, "the `config` of a layer must be a dict", entry["config"])
            listed.append((entry, place))
        return listed

    def layer(self, entry: Entry, where: str, path: Path | None) -> LayerSpec:
        """Return the spec of one entry; `path` leads to its model, or is None inside an alias."""
        name, class_name, config = read_name(entry, where), read_class(entry), entry["config"]
        where = f"{where} {name!r}"
        own = None if path is None else (*path, name)
        earlier = [] if own is None else self.sharing.find_earlier(entry, name, own)
        if len(earlier) > 1:
            rule = "it must be clear which earlier layer this is the same object as"
            raise_config_error(where, rule, earlier, _REBUILD)
        alias = earlier[0] if earlier else None
        if class_name in MODELS and (isinstance(config, (list, tuple)) or "layers" in config):
            model = self.model(entry, where, None if alias else own)
            config = config if isinstance(config, Mapping) else {"layers": config}
            return LayerSpec(model.kind, name, config, model=model, alias=alias)
        operation = is_operation(entry)
        if not operation:
            class_name, config = upgrade_layer_config(class_name, config, where)
        shape = read_built_shape(entry)
        return LayerSpec(class_name, name, config, operation, None, shape, alias)


def _require_names(layers: list[LayerSpec], where: str) -> None:
    counts = Counter(layer.name for layer in layers)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise_config_error(where, "the names of layers must differ", twice)


def _sort_calls(
    calls: Mapping[tuple[str, int], Call], uncalled: list[str], outputs: Any, where: str
) -> tuple[Call, ...]:
    """Return the calls in Keras's order, or refuse those that lead to no output."""
    try:
        order = sort_calls(calls, outputs)
    except CycleError as error:
        raise_config_error(where, "a layer must not need its own output", str(error))
    needed = set(order)
    unused = [f"call {node[1]} of {node[0]!r}" for node in calls if node not in needed]
    unused += [f"{name!r}, never called" for name in uncalled]
    if unused:
        rule = "every layer must be called, and every call lead to an output"
        raise_config_error(where, rule, unused, WRONG_NUMBERS)
    return tuple(calls[node] for node in order)


def _calls_in(spec: ModelSpec) -> int:
    """Return how many calls of layers one call of a model makes; it may double with each model."""
    inside = {one.name: 1 + (_calls_in(one.model) if one.model else 0) for one in spec.layers}
    functional = spec.kind == "Functional"
    return sum(inside[name] for name in ([c.layer for c in spec.calls] if functional else inside))
