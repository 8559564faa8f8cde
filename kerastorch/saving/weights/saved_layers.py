"""What a source holds, layer by layer: with names, classes and the model's order where known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...graph.spec import LayerSpec
from ..formats.weight_file import Contents, SavedLayer, Weight
from .keras_names import Names, name_parts
from .parameters import find_automatic_kind


@dataclass(frozen=True)
class Saved:
    """One layer's weights in a source.

    Attributes:
        names: The names on the way to the layer, its own last; none where the source has none.
        path: Where it is in the source.
        weights: Its weights, those of its activation last.
        kind: Its class in snake_case, None where it is not known.
        spec: Its config, None where it is not known.
        container: Where in the source the layers are that it is counted among.
        flattened: Whether its inputs are flattened images, each with its channels last.
        inside: The layers that it was put together from, for a module of the caller's own.
    """

    names: Names
    path: str
    weights: tuple[Weight, ...]
    kind: str | None = None
    spec: LayerSpec | None = None
    container: str = ""
    flattened: bool = False
    inside: tuple[Saved, ...] = ()

    @property
    def title(self) -> str:
        """What messages call it."""
        name = "/".join(self.names)
        return self.path if name in ("", self.path) else f"{self.path} ({name})"


@dataclass(frozen=True)
class Source:
    """All layers with weights of a source.

    Attributes:
        layers: The layers.
        ordered: Whether they come in the model's order, rather than sorted within each class.
        doubts: The containers within which no order is known.
        crossed: The groups whose names are those of the config's layers, but in another order.
    """

    layers: tuple[Saved, ...]
    ordered: bool
    doubts: tuple[str, ...] = ()
    crossed: tuple[str, ...] = ()

    @property
    def bare(self) -> bool:
        """Whether it is nothing but a list of arrays."""
        return len(self.layers) == 1 and not (self.layers[0].path or self.layers[0].names)


def saved_alone(contents: Contents) -> Source:
    """Return the layers of a source of whose model nothing is known."""
    if contents.named_by_class:
        return Source(tuple(_sorted_tree(contents)), ordered=False)
    if contents.named_by_path:
        return Source(tuple(_joined(contents.layers)), ordered=True)
    found: list[Saved] = []
    doubts = []
    for layer in contents.layers:
        parts = list(_parts(layer))
        found += parts
        if len(parts) > 1:
            doubts.append(layer.path)
    return Source(tuple(found), ordered=True, doubts=tuple(doubts))


def _sorted_tree(contents: Contents) -> Iterator[Saved]:
    """Yield the layers of a tree with the class and the number that their groups' names tell."""
    by_path = {layer.path: layer for layer in contents.layers}
    inside = {
        layer.path: owner
        for layer in contents.layers
        if layer.path.endswith("/activation")
        and (owner := layer.path.removesuffix("/activation")) in by_path
    }
    for layer in sorted(contents.layers, key=lambda layer: natural(layer.path)):
        if layer.path in inside:
            continue
        weights = layer.weights
        for path in activation_paths(layer.path, by_path):
            weights = (*weights, *by_path[path].weights)
        if weights:
            container, _, group = layer.path.rpartition("/")
            kind = re.sub(r"_[0-9]+$", "", group)
            names = _names_in_tree(layer, by_path)
            yield Saved(names, layer.path, weights, kind or None, container=container)


def activation_paths(path: str, by_path: Mapping[str, SavedLayer]) -> Iterator[str]:
    """Yield the path of a layer's activation in a tree, of that one's activation, and so on."""
    while (path := f"{path}/activation") in by_path:
        yield path


def _names_in_tree(layer: SavedLayer, by_path: Mapping[str, SavedLayer]) -> Names:
    """Return the names of a layer and of the models around it.

    The layers of a subclassed model are in groups named after its attributes, which tell more than
    a name that nobody chose: "dense_3".
    """
    attributes = layer.path and "layers" not in layer.path.split("/")
    if attributes and (not layer.name or find_automatic_kind(layer.name)):
        return _split(layer.path)
    if not layer.name:
        return ()
    names = layer.name.split(".")  # `save_weights` names layers after their paths in a module
    parts = layer.path.split("/")
    for end in range(len(parts) - 1, 0, -1):
        around = by_path.get("/".join(parts[:end]))
        if around is not None and around.name:
            names.insert(0, around.name)
    return tuple(names)


def _joined(layers: tuple[SavedLayer, ...]) -> Iterator[Saved]:
    """Yield the layers of a live object, an activation's slopes with the layer that applies it."""
    found: dict[str, SavedLayer] = {}
    for layer in layers:
        owner = layer.path.rpartition("/")[0]
        slopes = [weight.name for weight in layer.weights] == ["alpha"]
        if slopes and layer.path and found.get(owner, layer).weights and owner in found:
            weights = (*found[owner].weights, *layer.weights)
            found[owner] = replace(found[owner], weights=weights)
        else:
            found[layer.path] = layer
    for layer in found.values():
        if layer.weights:
            names = _split(layer.path) or ((layer.name,) if layer.name else ())
            yield Saved(names, layer.path, layer.weights)


def _parts(layer: SavedLayer) -> Iterator[Saved]:
    """Yield the layers whose weights are in one group of an old file: several in a nested model."""
    owners: dict[Names, list[Weight]] = {}
    for weight in layer.weights:
        prefix, _ = name_parts(weight)
        fronts = (prefix[:end] for end in range(len(prefix)))
        outer = next((front for front in fronts if front in owners), prefix)
        owners.setdefault(outer, []).append(weight)
    for prefix, weights in owners.items():
        alone = len(owners) == 1
        names = (layer.path,) if alone else (layer.path, *_after(prefix, layer.path))
        path = layer.path if alone else f"{layer.path}/{'/'.join(prefix)}"
        yield Saved(names, path, tuple(bare(layer, weight) for weight in weights))


def _after(prefix: Names, name: str) -> Names:
    """Return the part of a weight's path after a name, or all of it where it lacks the name."""
    return prefix[prefix.index(name) + 1 :] if name in prefix else prefix


def bare(layer: SavedLayer, weight: Weight) -> Weight:
    """Return a weight of an old file with Keras's bare name of it, and a path of its own."""
    _, bare = name_parts(weight)
    return replace(weight, name=bare, path=f"{layer.path}/{weight.path}")


def natural(path: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts "conv2d_10" after "conv2d_9"."""
    words = re.split(r"([0-9]+)", path)
    numbers = (word.lstrip("0") for word in words[1::2])
    keys: list[tuple[int, str]] = [(0, word) for word in words]
    keys[1::2] = [(len(number), number) for number in numbers]  # the shorter number is less
    return tuple(keys)


def _split(path: str) -> Names:
    return tuple(part for part in path.split("/") if part)
