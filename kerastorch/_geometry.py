"""The arithmetic of sliding windows, in integers only.

Sources: TensorFlow's "same" rule as its documentation of `tf.nn.convolution` states it, and
relationship 14 of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
(arXiv:1603.07285), for "valid".
"""

from __future__ import annotations

from collections.abc import Sequence


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
