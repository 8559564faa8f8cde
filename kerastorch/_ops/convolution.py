"""Convolution and pooling on (batch, channels, *spatial) tensors of any rank.

"same" is padded here only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .tracing import any_size
from .window_arithmetic import Integers, _plan, flat, padding_of

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: torch.conv1d,
    2: torch.conv2d,
    3: torch.conv3d,
}


def convolve_same(
    convolution: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Integers,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve with TensorFlow's "same" padding where it depends on the size or is uneven.

    Args:
        convolution: What convolves, as `torch.conv2d` does.
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        kernel_size: That of the weight, in integers: while tracing, a shape has tensors.
        stride: One integer for each spatial axis.
        dilation: One integer for each spatial axis.
        groups: The number of groups of channels.

    Returns:
        (batch, out, *ceil(spatial / stride)), and whether that is all of a fresh tensor; it may
        be a part of one.
    """
    if any_size():  # the padded form asks the size no question
        sides = flat(padding_of(x.shape[2:], kernel_size, stride, dilation))
    else:
        plan = _plan(x.shape[2:], kernel_size, stride, dilation)
        if plan.even is not None:
            return convolution(x, weight, bias, stride, plan.even, dilation, groups), True
        if groups > 1 and x.is_cpu and not torch.is_grad_enabled():
            # Copies no input: 0.5 to 0.9 of the time of padding it, in grouped inference on a CPU.
            y = convolution(x, weight, bias, stride, plan.wide, dilation, groups)
            for axis, start, length in plan.parts:
                y = y.narrow(axis, start, length)
            return y, False
        sides = plan.sides
    return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups), True
