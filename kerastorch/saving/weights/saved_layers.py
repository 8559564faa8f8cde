"""Group the arrays of a source by layer, without a config."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from ...graph.spec import LayerSpec
from ..formats.weight_file import SavedLayer, Weight, WeightFile
from .keras_names import Names, list_kinds_with_groups, split_name, strip_number
from .parameters import find_automatic_kind

DIRECTIONS = ("forward_", "backward_")  # the names of the layers of a Bidirectional begin so
PROJECTIONS = ("query", "key", "value", "attention_output")  # the layers of a MultiHeadAttention
_INNER = ("activation", "cell", "forward_layer", "backward_layer")  # groups inside a layer's
_DENSE = ("query_dense", "key_dense", "value_dense", "output_dense")  # attributes of attention


@dataclass(frozen=True, eq=False)
class SourceLayer:
    """One layer's weights in a source."""

    names: Names  # from the root, its own last; none if unknown
    path: str  # in the source
    weights: tuple[Weight, ...]  # those of its activation last
    kind: str | None = None  # its class in snake_case
    spec: LayerSpec | None = None
    container: str = ""  # the path of the group of its siblings
    flattened: bool = False  # whether it receives feature maps, flattened channels last
    inside: tuple[SourceLayer, ...] = ()  # what it was merged from, for a custom module

    @property
    def title(self) -> str:
        """Its path and name in messages."""
        name = "/".join(self.names)
        return self.path if name in ("", self.path) else f"{self.path} ({name})"


@dataclass(frozen=True)
class SourceLayers:
    """All layers with weights of a source."""

    layers: tuple[SourceLayer, ...]
    ordered: bool  # in the model's order, not sorted within each class
    doubts: tuple[str, ...] = ()  # containers of unknown order
    crossed: tuple[str, ...] = ()  # groups whose names are the config's, in another order

    @property
    def bare(self) -> bool:
        """Whether it is only a list of arrays."""
        return len(self.layers) == 1 and not (self.layers[0].path or self.layers[0].names)


def group_without_config(contents: WeightFile) -> SourceLayers:
    """Return the layers of a source without a config."""
    if contents.layout == "classes":
        return SourceLayers(tuple(_sort_tree(contents)), ordered=False)
    if contents.layout == "paths":
        return SourceLayers(tuple(_join_activations(contents.layers)), ordered=True)
    if contents.layout == "positions":
        return SourceLayers(tuple(_join_objects(contents.layers)), ordered=True)
    groups = [(layer.path, list(_split_group(layer))) for layer in contents.layers]
    found = tuple(saved for _, parts in groups for saved in parts)
    if contents.layout == "scopes":
        return SourceLayers(found, contents.in_order)
    doubts = tuple(path for path, parts in groups if len(parts) > 1)
    return SourceLayers(found, True, doubts)


def _sort_tree(contents: WeightFile) -> Iterator[SourceLayer]:
    """Yield the layers of a tree, sorted by the classes and numbers in their groups' names."""
    by_path = {layer.path: layer for layer in contents.layers}
    weights: dict[str, tuple[Weight, ...]] = {}
    for layer in sorted(contents.layers, key=lambda layer: make_natural_key(layer.path)):
        owner = _find_owner(layer.path, by_path)
        weights[owner] = weights.get(owner, ()) + put_below(layer, owner)
    for path, found in weights.items():
        if found:
            container, _, group = path.rpartition("/")
            kind, names = strip_number(group) or None, _names_in_tree(by_path[path], by_path)
            yield SourceLayer(names, path, found, kind, container=container)


def _find_owner(path: str, by_path: Mapping[str, SavedLayer]) -> str:
    """Return the group of the outermost layer that a group of a tree is a part of, or its own."""
    parts = path.split("/")
    for end in range(1, len(parts)):
        outer = by_path.get("/".join(parts[:end]))
        if outer is None:
            continue
        kinds = {strip_number(parts[end - 1]), strip_number(outer.name or "")}
        if parts[end] in _INNER or (kinds & list_kinds_with_groups() and parts[end] != "layers"):
            return outer.path
    return path


def put_below(layer: SavedLayer, owner: str) -> tuple[Weight, ...]:
    """Return the weights of a group with the path from its owner's group."""
    group = layer.path.removeprefix(owner).lstrip("/")
    return tuple(replace(weight, group=group) for weight in layer.weights)


def _names_in_tree(layer: SavedLayer, by_path: Mapping[str, SavedLayer]) -> Names:
    """Return the names of a layer and of the models around it."""
    # Groups in a subclassed model are named after attributes, better than automatic names.
    attributes = layer.path and "layers" not in layer.path.split("/")
    if attributes and (not layer.name or find_automatic_kind(layer.name)):
        return _split(layer.path)
    if not layer.name:
        return ()
    parts = layer.path.split("/")
    around = (by_path.get("/".join(parts[:end])) for end in range(1, len(parts)))
    names = [model.name for model in around if model is not None and model.name]
    return (*names, *layer.name.split("."))  # `save_weights` names layers after their paths


def _join_activations(layers: tuple[SavedLayer, ...]) -> Iterator[SourceLayer]:
    """Yield the layers of a live object, a PReLU's slopes with the layer that applies it."""
    found: dict[str, SavedLayer] = {}
    every = {_split(layer.path) for layer in layers}
    for layer in layers:
        owner = layer.path.rpartition("/")[0]
        slopes = [weight.name for weight in layer.weights] == ["alpha"]
        if slopes and layer.path and owner in found and found[owner].weights:
            found[owner] = replace(found[owner], weights=found[owner].weights + layer.weights)
            continue
        outer = "/".join(find_owner_names(_split(layer.path), every))
        if outer != layer.path and outer in found:
            weights = found[outer].weights + put_below(layer, outer)
            found[outer] = replace(found[outer], weights=weights)
        else:
            found[layer.path] = layer
    for layer in found.values():
        if layer.weights:
            names = _split(layer.path) or ((layer.name,) if layer.name else ())
            yield SourceLayer(names, layer.path, layer.weights)


def _join_objects(layers: tuple[SavedLayer, ...]) -> Iterator[SourceLayer]:
    """Yield the layers of a graph of objects, each with the weights of its cells and other parts.

    Layers of a Sequential or Functional model have the names of their variables; others those of
    the attributes, as in the code of a module that was ported.
    """
    every = {_split(layer.name or "") for layer in layers if layer.weights}
    weights: dict[str, tuple[Weight, ...]] = {}
    scopes: dict[str, Names] = {}
    for layer in layers:
        owner = _find_owner_object(layer.path)
        weights[owner] = weights.get(owner, ()) + put_below(layer, owner)
        if layer.weights:
            scopes.setdefault(owner, find_owner_names(_split(layer.name or ""), every))
    for path, found in weights.items():
        if found:
            attributes = _split(path)
            in_model = any(part.startswith("layer-") for part in attributes)
            names = scopes[path] if in_model else attributes
            yield SourceLayer(names or attributes, path, update_names(found))


def update_names(weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
    """Return the weights of a layer of Keras 2 with the names of Keras 3."""
    if any(weight.name == "pointwise_kernel" for weight in weights):
        return weights
    renamed = {"depthwise_kernel": "kernel"}  # of DepthwiseConv2D
    return tuple(replace(one, name=renamed.get(one.name or "", one.name)) for one in weights)


def _find_owner_object(path: str) -> str:
    """Return the path of the layer that an object of a graph is a part of, or its own."""
    parts = path.split("/")
    for end in range(1, len(parts)):
        in_model = parts[end - 1].startswith("layer-")
        name = parts[end].lstrip("_")
        if name in (*_INNER, *_DENSE) or (in_model and name == "layer"):  # of a wrapper
            return "/".join(parts[:end])
    return path


def _split_group(layer: SavedLayer) -> Iterator[SourceLayer]:
    """Yield the layers in one group of an old file: several in a nested model."""
    owners: dict[Names, list[Weight]] = {}
    every = {split_name(weight)[0] for weight in layer.weights}
    for weight in layer.weights:
        prefix = find_owner_names(split_name(weight)[0], every)
        fronts = (prefix[:end] for end in range(len(prefix)))
        outer = next((front for front in fronts if front in owners), prefix)
        owners.setdefault(outer, []).append(weight)
    for prefix, weights in owners.items():
        names, path = prefix, "/".join(prefix)
        if layer.path:  # else all layers are in one group
            is_single = len(owners) == 1
            path = layer.path if is_single else f"{layer.path}/{path}"
            start = prefix.index(layer.path) + 1 if layer.path in prefix else 0
            names = (layer.path,) if is_single else (layer.path, *prefix[start:])
        yield SourceLayer(names, path, tuple(name_weight(layer, weight) for weight in weights))


def find_owner_names(prefix: Names, every: Collection[Names]) -> Names:
    """Return the names of a layer for those of a layer inside it, as far as these tell it.

    Cells, the two directions and the projections of attention are told by names of Keras's own.
    """
    if len(prefix) > 1 and strip_number(prefix[-1]).endswith("_cell"):
        prefix = prefix[:-1]
    if len(prefix) > 1 and strip_number(prefix[-1]) == "stacked_rnn_cells":
        prefix = prefix[:-1]
    for end in range(2, len(prefix) + 1):
        *before, name = prefix[:end]
        beside = {n[end - 1] for n in every if len(n) >= end and [*n[: end - 1]] == before}
        words = {word for word in DIRECTIONS for one in beside if one.startswith(word)}
        if name.startswith(DIRECTIONS) and len(words) == len(DIRECTIONS):
            return tuple(before)
        if name in PROJECTIONS and beside == set(PROJECTIONS):
            return tuple(before)
    return prefix


def name_weight(layer: SavedLayer, weight: Weight) -> Weight:
    """Return a weight of an old file with Keras's name of it and a unique path."""
    prefix, bare = split_name(weight)
    if bare == "depthwise_kernel":  # in Keras 2 the kernel of DepthwiseConv2D, too
        pointwise = (split_name(other) == (prefix, "pointwise_kernel") for other in layer.weights)
        bare = bare if any(pointwise) else "kernel"
    path, group = f"{layer.path}/{weight.path}".lstrip("/"), "/".join(prefix)
    return replace(weight, name=bare, path=path, group=group)


def make_natural_key(path: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which "conv2d_10" comes after "conv2d_9"."""
    words = re.split(r"([0-9]+)", path)
    numbers = (word.lstrip("0") for word in words[1::2])
    keys: list[tuple[int, str]] = [(0, word) for word in words]
    keys[1::2] = [(len(number), number) for number in numbers]  # the shorter number is less
    return tuple(keys)


def _split(path: str) -> Names:
    return tuple(part for part in path.split("/") if part)
