"""Output sizes and padding of sliding windows, as integer arithmetic.

Sources: for "same", TensorFlow's documentation of `tf.nn.convolution`; for "valid", relationship 14
of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (arXiv:1603.07285).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

Integers = tuple[int, ...]


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return TensorFlow's "same" padding (before, after) of one axis.

    An odd total has one more after. No branch depends on the size, so that it may be symbolic.
    """
    extent = (kernel - 1) * dilation + 1
    if stride == 1:
        total = extent - 1
    else:
        output = (size + stride - 1) // stride
        total = (output - 1) * stride + extent - size
        if extent < stride:  # only then can it be negative
            total = (total + abs(total)) // 2  # max(total, 0)
    return total // 2, total - total // 2


def larger(left: int, right: int) -> int:
    """Return the larger of two sizes, without a branch: they may be symbolic."""
    return (left + right + abs(left - right)) // 2


def smaller(left: int, right: int) -> int:
    """Return the smaller of two sizes, without a branch: they may be symbolic."""
    return (left + right - abs(left - right)) // 2


def output_size(
    size: int | None, kernel: int, stride: int, dilation: int, padding: str
) -> int | None:
    """Return the output size along one axis, or None if the input size is None.

    It is zero or negative where a "valid" window does not fit into the input.
    """
    if size is None:
        return None
    if padding == "valid":
        return (size - (kernel - 1) * dilation - 1) // stride + 1
    return (size + stride - 1) // stride


class TransposedPadding(NamedTuple):
    """Keras's padding of a transposed convolution, for each axis."""

    padding: Integers  # that of torch, which crops both ends
    output_padding: Integers  # that of torch
    cropped: Integers  # the positions that are still to be cropped at the end: 0 or 1


def plan_transposed_padding(
    kernel_size: Integers,
    strides: Integers,
    dilation: Integers,
    padding: str,
    output_padding: Integers | None,
) -> TransposedPadding:
    """Return TensorFlow's and Keras 3.15's padding of a transposed convolution.

    An odd crop takes one position more at the end, so that a strided "same" is the gradient of
    a convolution.
    """
    extents = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    if padding == "valid":
        least = [max(s - k, 0) for k, s in zip(extents, strides, strict=True)]
        excess = [-more for more in output_padding or least]
    elif output_padding is None:
        excess = [k - s for k, s in zip(extents, strides, strict=True)]
    else:
        excess = [k - k % 2 - more for k, more in zip(extents, output_padding, strict=True)]

    return TransposedPadding(
        tuple(max(crop, 0) // 2 for crop in excess),
        tuple(max(-crop, 0) for crop in excess),
        tuple(max(crop, 0) % 2 for crop in excess),
    )


def transposed_output_sizes(
    sizes: Sequence[int | None],
    kernel_size: Integers,
    strides: Integers,
    dilation: Integers,
    plan: TransposedPadding,
) -> list[int | None]:
    """Return the output sizes of a transposed convolution, None where the input's is None."""
    extents = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    axes = zip(sizes, strides, extents, *plan, strict=True)
    return [
        None if n is None else (n - 1) * s + k - 2 * both + more - last
        for n, s, k, both, more, last in axes
    ]


def find_transposed_padding(
    kernel_size: Integers,
    strides: Integers,
    dilation: Integers,
    padding: Integers,
    output_padding: Integers,
) -> tuple[str, Integers | None] | None:
    """Return Keras's `padding` and `output_padding` for torch's; None if Keras has no such ones."""
    axes = list(zip(kernel_size, dilation, padding, output_padding, strict=True))
    extents = [((k - 1) * d + 1, 2 * crop - more) for k, d, crop, more in axes]
    extra = tuple(k - k % 2 - excess for k, excess in extents)
    choices = ("valid", None), ("same", None), ("valid", output_padding), ("same", extra)
    for choice in choices:
        plan = plan_transposed_padding(kernel_size, strides, dilation, *choice)
        own = all(0 <= n < s for n, s in zip(choice[1] or (), strides, strict=False))
        if own and plan == (padding, output_padding, (0,) * len(padding)):
            return choice
    return None


def compute_fixed_padding(
    padding: str, kernel_size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...] | None:
    """Return the symmetric padding of each axis, or None if it is asymmetric or size-dependent.

    "same" is symmetric for every size if all strides are 1 and all dilated kernel sizes are odd.
    """
    totals = tuple((k - 1) * d for k, d in zip(kernel_size, dilation, strict=True))
    if padding == "valid" or (padding == "causal" and max(totals) == 0):
        return (0,) * len(kernel_size)
    if padding == "causal" or max(strides) > 1 or any(total % 2 for total in totals):
        return None
    return tuple(total // 2 for total in totals)


def padding_per_axis(
    padding: str, sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis; "causal" is all before."""
    if padding == "same":
        return same_padding_per_axis(sizes, kernel_size, stride, dilation)
    causal = padding == "causal"
    return [((k - 1) * d * causal, 0) for k, d in zip(kernel_size, dilation, strict=True)]


def same_padding_per_axis(
    sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis."""
    axes = zip(sizes, kernel_size, stride, dilation, strict=True)
    return [same_padding(n, k, s, d) for n, k, s, d in axes]


def to_f_pad_order(padding: list[tuple[int, int]]) -> list[int]:
    """Return a padding in the order of `F.pad`, the last axis first."""
    return [amount for sides in reversed(padding) for amount in sides]


class PaddingPlan(NamedTuple):
    """Three ways to pad an input of one size."""

    exact: Integers | None  # the symmetric padding that equals "same", if there is one
    sides: list[int]  # the "same" padding in the order of `F.pad`
    symmetric: Integers  # symmetric padding that covers "same", with a surplus of output
    crops: list[tuple[int, int, int]]  # (axis, start, length) of the output without the surplus


@lru_cache(maxsize=1024)
def plan_padding(
    sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers
) -> PaddingPlan:
    """Return the ways to pad an input of these spatial sizes for "same"."""
    padding = same_padding_per_axis(sizes, kernel_size, stride, dilation)
    uneven = [before != after for before, after in padding]
    axes = list(zip(sizes, stride, padding, uneven, strict=True))
    return PaddingPlan(
        None if any(uneven) else tuple(after for _, after in padding),
        to_f_pad_order(padding),
        tuple(before + s * differs for _, s, (before, _), differs in axes),
        [(axis, int(d), (n + s - 1) // s) for axis, (n, s, _, d) in enumerate(axes, 2)],
    )
