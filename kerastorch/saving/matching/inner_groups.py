"""Match the arrays of the layers inside a layer: of cells, directions, projections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from ..formats.weight_file import Weight
from ..weights.keras_names import strip_number
from ..weights.parameters import MERGED, ParameterSlot
from ..weights.saved_layers import DIRECTIONS
from .own_modules import Assigned, pair_uniquely

A = TypeVar("A", Weight, ParameterSlot)
Slots = Sequence[ParameterSlot]
Bucket = dict[str, Weight]  # the arrays of one inner layer by their names


def match_by_path(slots: Slots, weights: Sequence[Weight]) -> Assigned:
    """Return the arrays of a tree by the paths and numbers of the groups; empty if these differ."""
    own = _group([slot for slot in slots if slot.name not in MERGED])
    theirs = _group(weights)
    counts = [{path: len(found) for path, found in one.items()} for one in (own, theirs)]
    if counts[0] != counts[1]:
        return {}
    return {slot: theirs[path][n] for path, found in own.items() for n, slot in enumerate(found)}


def match_by_parts(slots: Slots, weights: Sequence[Weight]) -> Assigned:
    """Return the arrays of a file with names by the inner layers that these belong to.

    The inner layers are told by their own names, else by Keras's order, in which each must fit;
    empty if that is not certain.
    """
    own = [list(found) for found in _group(slots).values()]
    buckets = _split(weights, {slot.name for slot in slots})
    if len(own) != len(buckets):
        return {}
    in_order = list(zip(own, buckets, strict=True))
    named = pair_uniquely(own, buckets, _have_common_name)
    for pairs in (named, in_order, pair_uniquely(own, buckets, _fit)):
        if len(pairs) == len(own) and all(_fit(*pair) for pair in pairs):
            return {slot: bucket[slot.name] for group, bucket in pairs for slot in group}
    return {}


def count_inner_layers(parts: Iterable[Weight | ParameterSlot]) -> int:
    """Return how many layers inside a layer have weights, without activations."""
    return len({one.group for one in parts if one.group.rpartition("/")[2] != "activation"})


def _group(parts: Iterable[A]) -> dict[str, list[A]]:
    """Return slots or arrays by their groups; attributes of Keras 2 began with an underscore."""
    found: dict[str, list[A]] = {}
    for part in parts:
        path = "/".join(name.lstrip("_") for name in part.group.split("/"))
        found.setdefault(path, []).append(part)
    return found


def _split(weights: Iterable[Weight], names: set[str]) -> list[Bucket]:
    """Return the arrays of each inner layer; equal groups with equal names are several layers."""
    buckets: list[tuple[str, Bucket]] = []
    for weight in weights:
        name = weight.name or ""
        name = name if name in names else strip_number(name)  # "kernel_1": the second of a stack
        fitting = [one for group, one in buckets if group == weight.group and name not in one]
        if not fitting:
            fitting = [{}]
            buckets.append((weight.group, fitting[0]))
        fitting[0][name] = weight
    return [bucket for _, bucket in buckets]


def _fit(slots: Slots, bucket: Bucket) -> bool:
    """Return whether arrays have the names, the shapes and the direction of a layer's weights."""
    if {slot.name for slot in slots} != bucket.keys() or _has_other_direction(slots, bucket):
        return False
    return all(slot.fits(bucket[slot.name].shape) for slot in slots)


def _has_other_direction(slots: Slots, bucket: Bucket) -> bool:
    path, names = slots[0].group, _list_names(bucket)
    found = {word for word in DIRECTIONS for name in names if name.startswith(word)}
    own = {word for word in DIRECTIONS for name in path.split("/") if name == f"{word}layer"}
    return bool(found and own) and found.isdisjoint(own)


def _have_common_name(slots: Slots, bucket: Bucket) -> bool:
    return getattr(slots[0].owner, "name", None) in _list_names(bucket)


def _list_names(bucket: Bucket) -> list[str]:
    return next(iter(bucket.values())).group.split("/")
