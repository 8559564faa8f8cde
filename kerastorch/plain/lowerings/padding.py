"""The padding of windows: a module's own, literal amounts, or by the size at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.nn import functional as F

from ..._ops.window_arithmetic import compute_fixed_padding, padding_per_axis, to_f_pad_order
from ..graph import GraphBuilder, Value
from ..printed import functions as printed

Integers = tuple[int, ...]


def get_sizes(layer: Any, x: Value) -> tuple[int | None, ...]:
    """Return the spatial sizes of the input of a layer with a data format."""
    return x.shape[2:] if layer.data_format == "channels_first" else x.shape[1:-1]


def shorten(values: Integers) -> int | Integers:
    """Return one number for a tuple of equal ones, as torch's functions take it."""
    return values[0] if len({*values}) == 1 else values


def pad_input(
    build: GraphBuilder, layer: Any, x: Value, padding: str, window: tuple[Integers, ...]
) -> tuple[Value, Integers]:
    """Return the input padded with zeros, and the padding that is left to the module itself.

    `window` is kernel size, strides and dilation.
    """
    fixed = compute_fixed_padding(padding, *window)
    if fixed is not None:
        return x, fixed
    sizes = get_sizes(layer, x)
    none = (0,) * len(sizes)
    depends = padding == "same" and max(window[1]) > 1
    if depends and (None in sizes or build.is_shared):
        return build.function(printed.pad_same, x, *window), none
    known: Any = tuple(1 if n is None else n for n in sizes)
    sides = padding_per_axis(padding, known, *window)
    if all(before == after for before, after in sides):
        return x, tuple(after for _, after in sides)
    padded = pad_sides(build, x, sides)
    return build.comment(padded, "Keras pads an odd rest at the end"), none


def pad_sides(
    build: GraphBuilder, x: Value, sides: Sequence[tuple[int, int]], **options: Any
) -> Value:
    """Pad the spatial axes of a tensor with channels as axis 1."""
    amounts = to_f_pad_order(list(sides))
    while len(amounts) > 2 and amounts[-2:] == [0, 0]:
        del amounts[-2:]
    return build.function(F.pad, x, tuple(amounts), **options)
