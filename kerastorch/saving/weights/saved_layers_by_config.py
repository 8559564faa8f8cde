"""The layers of a source by the config of its model, which tells what the source does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ...graph.spec import LayerSpec, ModelSpec
from ..formats.weight_file import Contents, SavedLayer, Weight
from .flatten_order import after_flatten
from .keras_names import Names as Names
from .keras_names import activation_spec, kind_of, name_parts, weight_names
from .saved_layers import Saved as Saved
from .saved_layers import Source as Source
from .saved_layers import activation_paths, bare, natural, saved_alone


def saved_layers(contents: Contents, spec: ModelSpec | None = None) -> Source:
    """Return the layers of a source.

    Args:
        contents: What the source holds.
        spec: The config of the model that it is of, where that is known. A tree is sorted, and
            the config says which of a class is which; a group of an old file has all weights of
            a nested model, and the config says which are whose.
    """
    if spec is None or contents.named_by_caller:
        return saved_alone(contents)
    placed = _Placed(contents)
    if contents.named_by_class:
        found = list(placed.in_tree(spec, "", ()))
    elif contents.named_by_path:
        found = list(placed.in_memory(spec, ()))
    else:
        found = list(placed.in_groups(spec))
    rest = [layer for layer in contents.layers if layer.path not in placed.taken]
    left = saved_alone(replace(contents, layers=tuple(rest))).layers
    marked = after_flatten(spec, ())
    known = tuple(
        replace(layer, flattened=layer.names in marked) for layer in found if layer.weights
    )
    ordered = not left or not contents.named_by_class
    return Source((*known, *left), ordered, crossed=tuple(placed.crossed))


class _Group(NamedTuple):
    """A group of a tree: whether weights are in it, and its layer's name where it has one."""

    filled: bool
    name: str | None


class _Placed:
    """The layers of a source, each taken once."""

    def __init__(self, contents: Contents) -> None:
        self.layers = {layer.path: layer for layer in contents.layers}
        self.taken: set[str] = set()
        self.crossed: list[str] = []
        self.below: dict[str, list[str]] = {}  # a path -> all that begin with it
        for path in self.layers:
            parts = path.split("/")
            for end in range(1, len(parts)):
                self.below.setdefault("/".join(parts[:end]), []).append(path)

    def _take(self, path: str) -> tuple[Weight, ...]:
        self.taken.add(path)
        return self.layers[path].weights if path in self.layers else ()

    def in_tree(self, model: ModelSpec, prefix: str, names: Names) -> Iterator[Saved]:
        """Yield the layers of a model from its groups, which are named after classes."""
        container = f"{prefix}layers"
        groups = self._groups(container)
        placed = list(_grouped_by_class(model, groups))
        told = {groups[group].name for _, group in placed}
        if told == {spec.name for spec, _ in placed}:
            wrong = [group for spec, group in placed if groups[group].name != spec.name]
            self.crossed += [f"{container}/{group}" for group in wrong]
        for spec, group in placed:
            path, inner = f"{container}/{group}", (*names, spec.name)
            if spec.model is not None:
                yield from self.in_tree(spec.model, f"{path}/", inner)
                continue
            weights = self._take(path)
            for inner_path in activation_paths(path, self.layers):
                weights = (*weights, *self._take(inner_path))
            yield Saved(inner, path, _named(weights, spec), kind_of(spec), spec, container)
            for below in self.below.get(path, ()):
                if below not in self.taken:  # inside a layer that has others in it
                    parts = below.removeprefix(f"{path}/").split("/")
                    yield Saved((*inner, *parts), below, self._take(below))

    def _weights_at(self, path: str) -> bool:
        return path in self.layers and bool(self.layers[path].weights)

    def _groups(self, container: str) -> dict[str, _Group]:
        """Return the groups in a container by their names."""
        groups: dict[str, _Group] = {}
        for path in self.below.get(container, ()):
            name = path[len(container) + 1 :].partition("/")[0]
            here = self.layers.get(f"{container}/{name}")
            filled = name in groups and groups[name].filled
            filled = filled or bool(self.layers[path].weights)
            groups[name] = _Group(filled, None if here is None else here.name)
        return groups

    def in_memory(self, model: ModelSpec, names: Names) -> Iterator[Saved]:
        """Yield the layers of a live model, whose paths are made of names."""
        for spec in _own_layers(model):
            inner = (*names, spec.name)
            path = "/".join(inner)
            if spec.model is not None:
                if not self._weights_at(path):
                    self.taken.add(path)
                yield from self.in_memory(spec.model, inner)
                continue
            weights = self._take(path)
            activation, inner_path = activation_spec(spec), path
            while activation is not None:
                inner_path = f"{inner_path}/{activation.name}"
                weights = (*weights, *self._take(inner_path))
                activation = activation_spec(activation)
            yield Saved(inner, path, weights, kind_of(spec), spec)

    def in_groups(self, model: ModelSpec) -> Iterator[Saved]:
        """Yield the layers of a model from its groups, which are named after its own layers."""
        for spec in model.layers:
            if spec.operation or spec.name not in self.layers:
                continue
            if spec.model is None or spec.alias is not None:
                if spec.alias is None:
                    yield _of_group(self.layers[spec.name], spec)
                self.taken.add(spec.name)
            else:
                yield from self._of_nested(self.layers[spec.name], spec)

    def _of_nested(self, group: SavedLayer, nested: LayerSpec) -> Iterator[Saved]:
        """Yield the layers inside a nested model, whose weights are all in one group.

        They are told apart by the layers' names in the weights' names; where these are bare, as
        in Keras 3.0 to 3.2, by the weights' names, which were then unique.
        """
        leaves = list(_leaves(nested, ()))
        inside = {names: spec for names, spec, _ in leaves}
        by_end: dict[str, list[Names]] = {}
        for names, spec in inside.items():
            for end in _ends(spec):
                by_end.setdefault(end, []).append(names)
        found: dict[Names, list[Weight]] = {}
        for weight in group.weights:
            prefix, name = name_parts(weight)
            end = f"{name}" if not prefix else prefix[-1]
            fitting = [n for n in by_end.get(end, ()) if _owns(inside[n], prefix, name)]
            longest = max((_common(names, prefix) for names in fitting), default=0)
            best = [names for names in fitting if _common(names, prefix) == longest]
            if len(best) != 1:
                return
            found.setdefault(best[0], []).append(bare(group, weight))
        self.taken.add(group.path)
        for names, spec, is_alias in leaves:
            if names in found and not is_alias:
                path = f"{group.path}/{'/'.join(names[1:])}"
                yield Saved(names, path, tuple(found[names]), kind_of(spec), spec)


def _own_layers(model: ModelSpec) -> list[LayerSpec]:
    """Return the layers that have a place of their own in a model: no operations, no aliases."""
    return [layer for layer in model.layers if not layer.operation and layer.alias is None]


def _grouped_by_class(
    model: ModelSpec, groups: Mapping[str, _Group]
) -> Iterator[tuple[LayerSpec, str]]:
    """Yield each layer of a model with its group, in the model's order.

    The groups of a class are numbered in the model's order, by each version of Keras with other
    gaps; so the order and the count say which is which. A count that differs yields nothing.
    """
    layers = _own_layers(model)
    by_kind: dict[str, list[LayerSpec]] = {}
    for layer in layers:
        by_kind.setdefault(kind_of(layer), []).append(layer)
    of_kind: dict[str, list[str]] = {}
    for group in groups:
        for kind in {group, _without_number(group)} & by_kind.keys():
            of_kind.setdefault(kind, []).append(group)
    found: dict[str, str] = {}
    for kind, specs in by_kind.items():
        named = sorted(of_kind.get(kind, ()), key=natural)
        filled = [group for group in named if groups[group].filled]
        weighty = [layer for layer in specs if weight_names(layer) != ()]
        for ours, theirs in ((specs, named), (specs, filled), (weighty, filled)):
            if len(ours) == len(theirs):
                found.update((a.name, b) for a, b in zip(ours, theirs, strict=True))
                break
    for layer in layers:
        if layer.name in found:
            yield layer, found[layer.name]


def _leaves(
    spec: LayerSpec, outer: Names, is_alias: bool = False
) -> Iterator[tuple[Names, LayerSpec, bool]]:
    """Yield the layers inside a model, and whether each is, or is in, one that came earlier."""
    names, is_alias = (*outer, spec.name), is_alias or spec.alias is not None
    if spec.model is None:
        yield names, spec, is_alias
        return
    for inner in spec.model.layers:
        if not inner.operation:
            yield from _leaves(inner, names, is_alias)


def _of_group(group: SavedLayer, spec: LayerSpec) -> Saved:
    weights = tuple(bare(group, weight) for weight in group.weights)
    return Saved((spec.name,), group.path, weights, kind_of(spec), spec)


def _ends(spec: LayerSpec) -> list[str]:
    """Return what the name of a layer's weight may have right before its own name, or its own."""
    activation = activation_spec(spec)
    ends = [spec.name.rpartition("/")[2], *([activation.name] if activation else [])]
    return [*ends, *(weight_names(spec) or ())]


def _owns(spec: LayerSpec, prefix: Names, name: str | None) -> bool:
    if not prefix:
        known = weight_names(spec)
        return known is not None and name in known
    path = "/".join(prefix)
    activation = activation_spec(spec)
    ends = (spec.name, f"{spec.name}/{activation.name}" if activation else spec.name)
    return any(path == end or path.endswith(f"/{end}") for end in ends)


def _common(names: Names, prefix: Names) -> int:
    """Return how many names, from the end, two paths have in common."""
    count = 0
    for left, right in zip(reversed(names), reversed(prefix), strict=False):
        if left != right:
            break
        count += 1
    return count


def _named(weights: tuple[Weight, ...], spec: LayerSpec) -> tuple[Weight, ...]:
    """Return a tree's weights with the names that the config tells, where the count agrees."""
    names = weight_names(spec)
    if names is None or len(names) != len(weights):
        return weights
    return tuple(replace(w, name=name) for w, name in zip(weights, names, strict=True))


def _without_number(group: str) -> str:
    """Return a group's name without the number of its class."""
    kind, _, number = group.rpartition("_")
    return kind if number.isascii() and number.isdecimal() else group
