"""Convolution with "same" padding of (batch, channels, *spatial) tensors of any rank."""

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

    Args:
        convolution: A function with the signature of `torch.conv2d`.
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        kernel_size: The weight's, as integers: while tracing, `weight.shape` holds tensors.
        stride: One integer per spatial axis.
        dilation: One integer per spatial axis.
        groups: The number of groups.

    Returns:
        (batch, out, *ceil(spatial / stride)), and whether that is a complete fresh tensor rather
        than a slice of one.
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
