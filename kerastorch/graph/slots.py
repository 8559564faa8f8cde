"""Slots: the places of the tensors of a run, in structures of arguments and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .structure import flatten


class Slot(NamedTuple):
    """The index of a tensor in the list of values of a run."""

    index: int  # type: ignore[assignment]


def fill_slots(template: Any, values: Sequence[Any]) -> Any:
    """Return a structure with each Slot replaced by its value; faster than `map_structure`."""
    if isinstance(template, Slot):
        return values[template.index]
    if isinstance(template, (list, tuple)):
        found = [fill_slots(inner, values) for inner in template]
        return tuple(found) if isinstance(template, tuple) else found
    if isinstance(template, dict):
        return {key: fill_slots(inner, values) for key, inner in template.items()}
    return template


def list_slots(structure: Any) -> tuple[int, ...]:
    """Return the slots in a structure."""
    return tuple(slot.index for slot in flatten(structure, Slot))
