"""Where Keras's axes lie in a tensor, and slices of its last axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from ..graph import GraphBuilder, Value


def find_axis(x: Value, axis: int) -> int:
    """Return where an axis of Keras lies in the tensor."""
    axis %= x.rank
    if not x.moved or not axis:
        return axis
    return 1 if axis == x.rank - 1 else axis + 1


def find_axes(x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    """Return where axes of Keras lie in the tensor, in order."""
    return tuple(sorted(find_axis(x, axis) for axis in axes))


def slice_last(build: GraphBuilder, x: Value, bounds: Sequence[tuple[int, int]]) -> Value:
    """Cut off elements before and after each of the last axes."""
    kept = [slice(before or None, -after or None) for before, after in bounds]
    while kept and kept[0] == slice(None):
        del kept[0]
    return build.function(operator.getitem, x, (..., *kept)) if kept else x
