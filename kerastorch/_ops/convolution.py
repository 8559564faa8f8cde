"""Convolutions of (batch, channels, *spatial) tensors of any rank, and of dynamic sizes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .tracing import is_tracing
from .window_arithmetic import Integers, plan_padding, same_padding_per_axis, to_f_pad_order

Convolution = Callable[..., Tensor]
CONVOLUTIONS: dict[int, Convolution] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


def convolve_same(
    convolution: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Integers,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve with TensorFlow's "same" padding where it depends on the size or is asymmetric.

    `convolution` has the signature of `torch.conv2d`. `kernel_size` is the weight's, as integers:
    while tracing, `weight.shape` holds tensors. The second result is whether the output is a
    complete fresh tensor rather than a slice of one.
    """
    if is_tracing():  # this form does not depend on the size
        sides = to_f_pad_order(same_padding_per_axis(x.shape[2:], kernel_size, stride, dilation))
    else:
        plan = plan_padding(x.shape[2:], kernel_size, stride, dilation)
        if plan.exact is not None:
            return convolution(x, weight, bias, stride, plan.exact, dilation, groups), True
        if groups > 1 and x.is_cpu and not torch.is_grad_enabled():
            # 0.5 to 0.9 of the time of padding in grouped inference: the input is not copied.
            y = convolution(x, weight, bias, stride, plan.symmetric, dilation, groups)
            for axis, start, length in plan.crops:
                y = y.narrow(axis, start, length)
            return y, False
        sides = plan.sides
    return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups), True


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
    output of "valid" is cropped.
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
