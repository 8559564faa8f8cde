"""Nested lists, tuples and dicts, in Keras's order: the keys of dicts are sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def flatten(structure: Any, kind: Any = None) -> Iterator[Any]:
    """Yield the leaves of a structure: the instances of `kind`, by default all but containers.

    Example:
        >>> list(flatten({"b": 1, "a": [2, (None, 3)]}, int))
        [2, 3, 1]
    """
    if kind is not None and isinstance(structure, kind):
        yield structure
    elif isinstance(structure, (list, tuple)):
        for inner in structure:
            yield from flatten(inner, kind)
    elif isinstance(structure, Mapping):
        for key in sorted(structure, key=str):
            yield from flatten(structure[key], kind)
    elif kind is None:
        yield structure


def map_structure(function: Callable[[Any], Any], structure: Any, kind: Any = None) -> Any:
    """Return a structure with `function` applied to its leaves, as defined by `flatten`.

    Example:
        >>> map_structure(str, {"b": 1, "a": [2, (None, 3)]}, int)
        {'b': '1', 'a': ['2', (None, '3')]}
    """
    if kind is not None and isinstance(structure, kind):
        return function(structure)
    if isinstance(structure, (list, tuple)):
        found = [map_structure(function, inner, kind) for inner in structure]
        return tuple(found) if isinstance(structure, tuple) else found
    if isinstance(structure, Mapping):
        return {key: map_structure(function, inner, kind) for key, inner in structure.items()}
    return function(structure) if kind is None else structure
