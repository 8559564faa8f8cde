"""Convolutions of (batch, channels, *spatial) tensors of any rank, and of dynamic sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .tracing import is_tracing
from .window_arithmetic import (
    Integers,
    padding_per_axis,
    plan_padding,
    same_padding_per_axis,
    to_f_pad_order,
)

Convolution = Callable[..., Tensor]
Special = Callable[..., tuple[Tensor, bool]]  # calls a convolution: `convolve_same` and the like
CONVOLUTIONS: dict[int, Convolution] = {1: torch.conv2d, 2: torch.conv2d, 3: torch.conv3d}


def convolve_steps(
    convolution: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    special: Special | None,
    *sizes: Any,
) -> tuple[Tensor, bool]:
    """Convolve (batch, channels, steps) as images of height 1, which the outputs still are.

    `torch.conv1d` copies a permuted input. The height remains for the activation: in training, to
    overwrite a view of the output costs copies of its gradient. `sizes` are those of images, after
    the arguments before them for `special`, or for the convolution if that is None.
    """
    x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    if special is None:
        return convolution(x, weight, bias, *sizes), True
    return special(convolution, x, weight, bias, *sizes)


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


def convolve_causal(
    convolution: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Integers,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve images with zeros before the last axis, so that nothing depends on later positions.

    The arguments and results are those of `convolve_same`.
    """
    before, size = (kernel_size[-1] - 1) * dilation[-1], x.shape[-1]
    if groups > 1 and x.is_cpu and not (is_tracing() or torch.is_grad_enabled()):
        if 0 < before <= size:  # as in `convolve_same`
            y = convolution(x, weight, bias, stride, (0, before), dilation, groups)
            return y.narrow(-1, 0, (size - 1) // stride[-1] + 1), False
    return convolution(F.pad(x, [before, 0]), weight, bias, stride, 0, dilation, groups), True


def _pad(x: Tensor, sides: list[int]) -> Tensor:
    """Pad with zeros and keep the memory order, which `F.pad` loses for one spatial axis."""
    return F.pad(x, sides) if x.ndim > 3 else F.pad(x.unsqueeze(2), sides).squeeze(2)


def _convolve_steps(x: Tensor, weight: Tensor, bias: Tensor | None, *sizes: Any) -> Tensor:
    return convolve_steps(torch.conv2d, x, weight, bias, None, *sizes)[0].squeeze(2)


def convolve_dynamic(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
    padding: str,
) -> Tensor:
    """Convolve a permuted view in a form that inductor compiles for dynamic sizes and training.

    Inductor of torch 2.13 cannot order the strides of a permuted view saved for the backward pass
    ("cannot determine truth value of Relational"), nor those of a gradient whose size is a
    difference ("Invalid ranges"). Hence the input is padded, which copies it, and the surplus
    output of "valid" is cropped.
    """
    convolution = _convolve_steps if x.ndim == 3 else CONVOLUTIONS[x.ndim - 2]
    sizes, kernel_size = x.shape[2:], weight.shape[2:]
    if padding != "valid" and max(kernel_size) > 1:
        sides = to_f_pad_order(padding_per_axis(padding, sizes, kernel_size, stride, dilation))
        return convolution(_pad(x, sides), weight, bias, stride, 0, dilation, groups)
    axes = zip(sizes, kernel_size, dilation, strict=True)
    if any(n <= (k - 1) * d for n, k, d in axes):  # does not fit: the operation raises
        return convolution(x, weight, bias, stride, 0, dilation, groups)
    # One stride more gives one output position more at any size. A padding of zero would be
    # removed from the graph.
    surplus = to_f_pad_order([(0, step) for step in stride])
    y = convolution(_pad(x, surplus), weight, bias, stride, 0, dilation, groups)
    for axis in range(2, y.ndim):
        y = y.narrow(axis, 0, y.shape[axis] - 1)
    return y
