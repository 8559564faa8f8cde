"""A convolution in the form that inductor compiles at any size."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .convolution import CONVOLUTIONS
from .window_arithmetic import Integers, flat, padding_of


def convolve_any_size(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
    same: bool,
) -> Tensor:
    """Convolve a permuted view in a form that inductor compiles, training included, at any size.

    Inductor of torch 2.13 cannot order the strides of a permuted view that it keeps for the
    gradient ("cannot determine truth value of Relational"), nor those of the gradient where a size
    is a difference ("Invalid ranges"). A padded input is no view, and what the padding adds to
    "valid" is cut off afterwards. It costs a copy of the input, and for "valid" one of the output.

    Args:
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        stride: One integer for each spatial axis.
        dilation: One integer for each spatial axis.
        groups: The number of groups of channels.
        same: Whether to pad by TensorFlow's "same".

    Returns:
        (batch, out, *spatial).
    """
    convolution = CONVOLUTIONS[x.ndim - 2]
    sizes, kernel_size = x.shape[2:], weight.shape[2:]
    if same and max(kernel_size) > 1:
        sides = flat(padding_of(sizes, kernel_size, stride, dilation))
        return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups)
    axes = zip(sizes, kernel_size, dilation, strict=True)
    if any(n <= (k - 1) * d for n, k, d in axes):  # no room, as the operation itself says
        return convolution(x, weight, bias, stride, 0, dilation, groups)
    # One step more in any case: one place more then, whatever the size, and never no padding,
    # which would be left out of the graph.
    more = flat([(0, step) for step in stride])
    y = convolution(F.pad(x, more), weight, bias, stride, 0, dilation, groups)
    return _without_last(y)


def _without_last(y: Tensor) -> Tensor:
    for axis in range(2, y.ndim):
        y = y.narrow(axis, 0, y.shape[axis] - 1)
    return y
