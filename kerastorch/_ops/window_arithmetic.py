"""The arithmetic of sliding windows, in integers only.

Sources: TensorFlow's "same" rule as its documentation of `tf.nn.convolution` states it, and
relationship 14 of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
(arXiv:1603.07285), for "valid".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return TensorFlow's "same" padding (before, after) of one axis.

    The output has `ceil(size / stride)` places; the padding they need is split evenly, and an
    odd rest goes after. No branch depends on the size, so that symbolic sizes pass through.
    """
    extent = (kernel - 1) * dilation + 1
    if stride == 1:  # whatever the size
        total = extent - 1
    else:
        places = (size + stride - 1) // stride
        total = (places - 1) * stride + extent - size
        if extent < stride:  # only then can the windows leave a gap at the end
            total = (total + abs(total)) // 2  # the larger of it and 0
    return total // 2, total - total // 2


def output_size(
    size: int | None, kernel: int, stride: int, dilation: int, padding: str
) -> int | None:
    """Return the number of places of the window along one axis; an unknown size stays unknown.

    The result is zero or negative where "valid" leaves no room for the window.
    """
    if size is None:
        return None
    if padding == "same":
        return (size + stride - 1) // stride
    return (size - (kernel - 1) * dilation - 1) // stride + 1


def fixed_padding(
    padding: str, kernel_size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...] | None:
    """Return the padding of both sides of each axis, or None where it is not a constant.

    "valid" pads nothing. "same" pads evenly whatever the size when every stride is 1 and every
    dilated kernel is odd; otherwise it is uneven or depends on the size of the input.
    """
    if padding == "valid":
        return (0,) * len(kernel_size)
    totals = tuple((k - 1) * d for k, d in zip(kernel_size, dilation, strict=True))
    if max(strides) > 1 or any(total % 2 for total in totals):
        return None
    return tuple(total // 2 for total in totals)


Integers = tuple[int, ...]


def padding_of(
    sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis."""
    axes = zip(sizes, kernel_size, stride, dilation, strict=True)
    return [same_padding(n, k, s, d) for n, k, s, d in axes]


def flat(padding: list[tuple[int, int]]) -> list[int]:
    """Return a padding in the order of `F.pad`: the last axis first."""
    return [amount for sides in reversed(padding) for amount in sides]


class Plan(NamedTuple):
    """Three ways to pad the spatial axes of one size of input.

    Attributes:
        even: The padding of both sides of each axis, or None where the sides differ.
        sides: The padding of each side, in the order of `F.pad`.
        wide: A padding of both sides that leaves no place out: where the sides differ, that
            before and one stride more.
        parts: Where the places that "same" means are in the output of `wide`: (axis, start,
            length).
    """

    even: Integers | None
    sides: list[int]
    wide: Integers
    parts: list[tuple[int, int, int]]


@lru_cache(maxsize=1024)
def _plan(sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers) -> Plan:
    """Return how to pad inputs of these sizes."""
    padding = padding_of(sizes, kernel_size, stride, dilation)
    uneven = [before != after for before, after in padding]
    wide = zip(padding, stride, uneven, strict=True)
    parts = enumerate(zip(sizes, stride, uneven, strict=True), 2)
    return Plan(
        None if any(uneven) else tuple(after for _, after in padding),
        flat(padding),
        tuple(before + s * differs for (before, _), s, differs in wide),
        [(axis, int(differs), (n + s - 1) // s) for axis, (n, s, differs) in parts],
    )
