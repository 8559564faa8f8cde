"""Convolution in a form that inductor compiles for dynamic sizes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .convolution import CONVOLUTIONS
from .window_arithmetic import Integers, same_padding_per_axis, to_f_pad_order


def convolve_dynamic(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
    same: bool,
) -> Tensor:
    """Convolve a permuted view in a form that inductor compiles for dynamic sizes and training.

    Inductor of torch 2.13 cannot order the strides of a permuted view saved for the backward pass
    ("cannot determine truth value of Relational"), nor those of a gradient whose size is a
    difference ("Invalid ranges"). Hence the input is padded, which copies it, and the surplus
    output of "valid" is cropped. Args as in `convolve_same`, with `same` for the padding.
    """
    convolution = CONVOLUTIONS[x.ndim - 2]
    sizes, kernel_size = x.shape[2:], weight.shape[2:]
    if same and max(kernel_size) > 1:
        sides = to_f_pad_order(same_padding_per_axis(sizes, kernel_size, stride, dilation))
        return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups)
    axes = zip(sizes, kernel_size, dilation, strict=True)
    if any(n <= (k - 1) * d for n, k, d in axes):  # does not fit: the operation raises
        return convolution(x, weight, bias, stride, 0, dilation, groups)
    # One stride more gives one output position more at any size. A padding of zero would be
    # removed from the graph.
    surplus = to_f_pad_order([(0, step) for step in stride])
    y = convolution(F.pad(x, surplus), weight, bias, stride, 0, dilation, groups)
    for axis in range(2, y.ndim):
        y = y.narrow(axis, 0, y.shape[axis] - 1)
    return y
