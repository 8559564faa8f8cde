"""Shapes of tensors before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .structure import flatten

# What Python and torch raise for arguments of a wrong type or value.
ERRORS = (
    *(ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(OverflowError, RuntimeError, ZeroDivisionError),
)


class Shape(tuple[int | None, ...]):
    """The shape of one tensor, batch included, as a leaf of a structure; None is unknown."""

    __slots__ = ()


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()  # the shape of a tensor of which not even the rank is known


def to_shapes(given: Any) -> Any:
    """Return a structure of lists and dicts of shapes with a `Shape` for each shape."""
    if given is UNKNOWN or isinstance(given, Shape):
        return given
    if isinstance(given, Mapping):
        return {key: to_shapes(inner) for key, inner in given.items()}
    if all(size is None or isinstance(size, int) for size in given):
        return Shape(given)
    return [to_shapes(inner) for inner in given]


def iterate_shapes(structure: Any) -> Iterator[Any]:
    """Yield the shapes in a structure, in Keras's order."""
    return flatten(structure, (Shape, _Unknown))


def broadcast_shapes(shapes: Iterable[Shape]) -> Shape:
    """Return the shape that shapes broadcast to.

    Raises:
        ValueError: they do not broadcast.
    """
    listed = list(shapes)
    rank = max(map(len, listed))
    merged: list[int | None] = [1] * rank
    for shape in listed:
        for axis, size in enumerate(shape, rank - len(shape)):
            ours = merged[axis]
            if ours == 1 or (ours is None and size not in (None, 1)):
                merged[axis] = size
            elif size not in (None, 1, ours):
                raise ValueError(f"the shapes {', '.join(map(str, map(tuple, listed)))} must match")
    return Shape(merged)


def complete_shape(given: Any, declared: Shape) -> Shape:
    """Return an input's shape at the declared rank, with declared sizes for unknown ones."""
    if not isinstance(given, Shape):
        return declared
    if len(given) == len(declared) + 1 and given[-1] in (1, None):
        given = given[:-1]
    elif len(given) == len(declared) - 1 and declared[-1] == 1:
        given = (*given, 1)
    if len(given) != len(declared):
        raise ValueError(f"an input must be of the shape {tuple(declared)}, not {tuple(given)}")
    return Shape(own if size is None else size for size, own in zip(given, declared, strict=True))
