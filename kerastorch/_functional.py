"""Convolution on (batch, channels, *spatial) tensors of any rank. "same" is padded here only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ._geometry import same_padding

Integers = tuple[int, ...]
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: torch.conv1d,
    2: torch.conv2d,
    3: torch.conv3d,
}


def convolve_same(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve with TensorFlow's "same" padding where it depends on the size or is uneven.

    Args:
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        stride: One integer for each spatial axis.
        dilation: One integer for each spatial axis.
        groups: The number of groups of channels.

    Returns:
        (batch, out, *ceil(spatial / stride)), and whether that is all of a fresh tensor; it may
        be a part of one.
    """
    convolution = CONVOLUTIONS[x.ndim - 2]
    padding = [
        same_padding(n, k, s, d)
        for n, k, s, d in zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True)
    ]
    if not torch.compiler.is_compiling():  # the padded form is the one that compiles at any size
        if all(before == after for before, after in padding):
            even = tuple(after for _, after in padding)
            return convolution(x, weight, bias, stride, even, dilation, groups), True
        if groups > 1 and x.is_cpu and not torch.is_grad_enabled():
            return _cut_out(convolution, x, weight, bias, stride, padding, dilation, groups), False
    padded = F.pad(x, [n for sides in reversed(padding) for n in sides])
    return convolution(padded, weight, bias, stride, 0, dilation, groups), True


def _cut_out(
    convolution: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    padding: list[tuple[int, int]],
    dilation: Integers,
    groups: int,
) -> Tensor:
    """Pad both sides by one stride more than is needed before, and drop the places too many.

    For a grouped convolution on a CPU without gradients this takes 0.5 to 0.9 of the time of
    padding the input, since no copy of the input is made.
    """
    uneven = [before != after for before, after in padding]
    even = tuple(
        before + s * more for (before, _), s, more in zip(padding, stride, uneven, strict=True)
    )
    y = convolution(x, weight, bias, stride, even, dilation, groups)
    for axis, (size, s, more) in enumerate(zip(x.shape[2:], stride, uneven, strict=True), 2):
        y = y.narrow(axis, int(more), (size + s - 1) // s)
    return y
