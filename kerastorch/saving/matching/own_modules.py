"""Match the arrays of a Keras layer of an unknown class with a custom module: `THREE_WAYS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from ...layers.base.weights import infer_weight_shapes
from ..formats.weight_file import Weight
from ..weights.module_weights import ModuleWeights
from ..weights.parameters import METHOD, ParameterSlot, group_unbuilt_shapes
from ..weights.saved_layers_by_config import Names, SourceLayer, SourceLayers

THREE_WAYS = (
    "A module of your own receives arrays by the names of its parameters if these are Keras's, "
    "shapes included; or by their shapes if these fit in one way only; or give it a method "
    f"`{METHOD}(self, weights)`, which gets a dict of NumPy arrays."
)
Assigned = dict[ParameterSlot, Weight]
A = TypeVar("A")
B = TypeVar("B")


class NamedWeight(NamedTuple):
    """An array of the Keras layer that a custom module stands for."""

    group: str  # the path of the inner layer: "conv1"; "" for none
    name: str  # Keras's name of it, or its number if it has none
    weight: Weight

    @property
    def path(self) -> str:
        """The path below the Keras layer: "kernel", "conv1/kernel", "conv1/0"."""
        return f"{self.group}/{self.name}".lstrip("/")


NamedWeights = Sequence[NamedWeight]


def merge_inner_layers(source: SourceLayers, names: Iterable[Names]) -> SourceLayers:
    """Return a source in which all arrays below each of the names are one layer's."""
    layers = list(source.layers)
    for own in names:
        inside = [saved for saved in layers if saved.names[: len(own)] == own]
        inside = inside or [saved for saved in layers if _names_below(saved.names, own) is not None]
        if inside:
            first = next((one for one in inside if _names_below(one.names, own) == ()), inside[0])
            weights = tuple(weight for saved in inside for weight in saved.weights)
            merged = replace(first, names=own, kind=None, weights=weights, inside=tuple(inside))
            layers[layers.index(inside[0])] = merged
            layers = [saved for saved in layers if saved not in merged.inside]
    return replace(source, layers=tuple(layers))


def _names_below(names: Names, own: Names) -> Names | None:
    """Return the names after those of a layer; None if the layer is not among them."""
    for start in range(len(names) - len(own) + 1):
        if names[start : start + len(own)] == own:
            return names[start + len(own) :]
    return None


def _name_weights(saved: SourceLayer) -> list[NamedWeight]:
    """Return the arrays of a saved layer with their paths below it."""
    named = []
    for one in saved.inside or (saved,):
        below = _names_below(one.names, saved.names) or ()
        for number, weight in enumerate(one.weights):
            # In old files the array's own path has the inner layers.
            inner = weight.path.removeprefix(f"{one.path}/").split("/")[:-1] if one.path else []
            if saved.names and saved.names[-1] in inner:
                inner = inner[len(inner) - inner[::-1].index(saved.names[-1]) :]
            group = "/".join([*below, *(part for part in inner if part != "vars")])
            named.append(NamedWeight(group, weight.name or str(number), weight))
    return named


def name_uniquely(saved: SourceLayer) -> dict[str, Weight]:
    """Return the arrays of a saved layer by path; those of equal paths get numbers as suffixes."""
    named = _name_weights(saved)
    counts = Counter(one.path for one in named)
    return {
        one.path if counts[one.path] == 1 else f"{one.path}:{number}": one.weight
        for number, one in enumerate(named)
    }


def assign_weights(
    leaf: ModuleWeights, saved: SourceLayer, *, in_order: bool
) -> tuple[Assigned, bool]:
    """Return the array of each parameter of a custom module, and whether it is certain.

    With `in_order`, the arrays are a list in Keras's order, which is the last resort.

    Raises:
        ValueError: they do not fit, or fit in several ways; the message says which.
    """
    weights = _name_weights(saved)
    try:
        return _assign(leaf, weights), True
    except ValueError as error:
        for some in (leaf.targets, (*leaf.targets, *leaf.buffers)):
            if in_order and len(some) == len(weights):
                found = {target: one.weight for target, one in zip(some, weights, strict=True)}
                if _fit_together(found):
                    return found, False
        own = ", ".join(f"{target.path} {target.shape}" for target in leaf.targets) or "nothing"
        given = ", ".join(f"{one.path} {one.weight.shape}" for one in weights) or "nothing"
        what = f"{leaf.title} ({type(leaf.module).__name__}) has {own}"
        raise ValueError(f"{what}. Found: {given} at {saved.title}: {error}.") from error


def _assign(leaf: ModuleWeights, weights: NamedWeights) -> Assigned:
    """Return the array of each parameter of a module; an error says why that is not certain."""
    slots = (*leaf.targets, *leaf.buffers)
    found = _assign_by_name(slots, weights)
    found |= _assign_by_layer(leaf, found, _rest(weights, found))
    free = [target for target in slots if target not in found]
    found |= _assign_by_shape(free, _rest(weights, found))
    missing = [target.path for target in leaf.targets if target not in found]
    if missing:
        raise ValueError(f"nothing is left for {', '.join(missing)}")
    if not _fit_together(found):
        raise ValueError("the shapes differ")
    return found


def _rest(weights: NamedWeights, found: Assigned) -> list[NamedWeight]:
    """Return the arrays that are not assigned yet."""
    ids = {id(weight) for weight in found.values()}
    return [one for one in weights if id(one.weight) not in ids]


def _assign_by_name(slots: Sequence[ParameterSlot], weights: NamedWeights) -> Assigned:
    """Return the arrays that have the name and the shape of one parameter or buffer."""
    named = {_path_of(target): target for target in slots}
    paths = [one.path for one in weights if one.weight.name is not None]
    known = [one for one in weights if one.path in named and paths.count(one.path) == 1]
    for one in known:
        target = named[one.path]
        if not target.fits(one.weight.shape):
            raise ValueError(f"{one.path} has another shape than {target.path}")
    return {named[one.path]: one.weight for one in known}


def _path_of(target: ParameterSlot) -> str:
    """Return Keras's path of a parameter: "conv1/kernel" for "conv1.weight"."""
    front = target.path.rpartition(".")[0]
    return f"{front.replace('.', '/')}/{target.name}".lstrip("/")


def _assign_by_layer(leaf: ModuleWeights, found: Assigned, weights: NamedWeights) -> Assigned:
    """Pair each inner layer of the Keras layer with an inner module, by name or by shapes."""
    groups: dict[str, list[NamedWeight]] = {}
    for weight in weights:
        groups.setdefault(weight.group, []).append(weight)
    done = {target.path for target in found}
    by_path = {target.path: target for target in (*leaf.targets, *leaf.buffers)}
    parts = {
        part.path.replace(".", "/"): part
        for part in leaf.parts or ()
        if part.targets and not any(part.target_path(target) in done for target in part.targets)
    }
    common = [name for name in parts if name and name in groups]
    pairs = [(parts.pop(name), groups.pop(name)) for name in common]
    if len(parts) == len(groups):
        rest = list(parts.values()), list(groups.values())
        pairs += pair_uniquely(*rest, lambda *pair: _assign_within(*pair) is not None)
    assigned: Assigned = {}
    for part, group in pairs:
        inner = _assign_within(part, group)
        if inner is None:
            what = ", ".join(one.path for one in group)
            raise ValueError(f"{what} do not fit {part.path}, or fit it in more than one way")
        assigned |= {by_path[part.target_path(target)]: array for target, array in inner.items()}
    return assigned


def _assign_within(part: ModuleWeights, group: NamedWeights) -> Assigned | None:
    """Return the array of each parameter of one inner module, or None if that is not certain."""
    numbered = all(one.weight.name is None for one in group)  # in the order of the Keras class
    if part.kinds and numbered and group[0].group and len(part.targets) == len(group):
        in_order = {target: one.weight for target, one in zip(part.targets, group, strict=True)}
        return in_order if _fit_together(in_order) else None
    try:
        return _assign(part, [one._replace(group="") for one in group])
    except ValueError:
        return None


def _assign_by_shape(slots: Sequence[ParameterSlot], weights: NamedWeights) -> Assigned:
    """Return the only way in which the shapes fit."""
    if len(weights) > len(slots):
        raise ValueError(f"there are {len(weights)} arrays for {len(slots)} parameters and buffers")
    pairs = pair_uniquely(weights, slots, lambda one, target: target.fits(one.weight.shape))
    used = {part for pair in pairs for part in map(id, pair)}
    left = [one for one in weights if id(one) not in used]
    free = [target for target in slots if id(target) not in used]
    doubts = [one.path for one, target in pairs if _may_be_transposed(target, one.weight)]
    doubts += [one.path for one in left if any(target.fits(one.weight.shape) for target in free)]
    if doubts:
        raise ValueError(f"{', '.join(doubts)} fit in more than one way")
    if left:
        raise ValueError("the shapes differ")
    return {target: one.weight for one, target in pairs}


def pair_uniquely(
    left: Sequence[A], right: Sequence[B], fits: Callable[[A, B], bool]
) -> list[tuple[A, B]]:
    """Pair each one that has a single possible partner, until none has."""
    options = {i: {j for j, b in enumerate(right) if fits(a, b)} for i, a in enumerate(left)}
    pairs: dict[int, int] = {}
    while single := next(([i, *found] for i, found in options.items() if len(found) == 1), None):
        i, j = single
        pairs[i] = j
        del options[i]
        for found in options.values():
            found.discard(j)
    return [(left[i], right[j]) for i, j in sorted(pairs.items())]


def _fit_together(found: Assigned) -> bool:
    """Return whether all shapes fit, also those of unbuilt layers."""
    if not all(target.fits(weight.shape) for target, weight in found.items()):
        return False
    unbuilt = group_unbuilt_shapes(found)
    return all(infer_weight_shapes(layer, shapes) is not None for layer, shapes in unbuilt.items())


def _may_be_transposed(target: ParameterSlot, weight: Weight) -> bool:
    """Return whether an array fits a parameter in PyTorch's order of axes as well."""
    shape = weight.shape
    is_known = target.path.rpartition(".")[2] != target.name  # "weight", which is Keras's "kernel"
    return not is_known and len(shape) > 1 and shape == (shape[-1], shape[-2], *shape[:-2])
