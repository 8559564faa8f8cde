"""Conversions between the axis orders of Keras and PyTorch, always as views.

Inputs and outputs are (batch, *spatial, channels) in Keras and (batch, channels, *spatial) in
PyTorch; kernels are (*spatial, in, out) in Keras and (out, in, *spatial) in PyTorch. No other file
moves axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

CHANNELS_FIRST = {1: (0, 2, 1), 2: (0, 3, 1, 2), 3: (0, 4, 1, 2, 3)}
CHANNELS_LAST = {1: (0, 2, 1), 2: (0, 2, 3, 1), 3: (0, 2, 3, 4, 1)}
_KERNEL = {0: (1, 0), 1: (2, 1, 0), 2: (2, 3, 1, 0), 3: (2, 3, 4, 1, 0)}
_WEIGHT = {0: (1, 0), 1: (2, 1, 0), 2: (3, 2, 0, 1), 3: (4, 3, 0, 1, 2)}

# With a tuple, `Tensor.permute` takes 1.5 times as long as this function.
permute_axes = torch.permute


def to_channels_last(inputs: Tensor) -> Tensor:
    """Return the view (batch, *spatial, channels) of (batch, channels, *spatial) of any rank."""
    return inputs if inputs.ndim < 3 else inputs.permute(0, *range(2, inputs.ndim), 1)


def to_channels_second(x: Tensor, axis: int) -> Tensor:
    """Return the view of a tensor with axis `axis` moved to position 1."""
    if x.ndim == 4 and axis in (-1, 3):  # the usual case, faster than `movedim`
        return permute_axes(x, CHANNELS_FIRST[2])
    return x.movedim(axis, 1)


def from_channels_second(x: Tensor, axis: int) -> Tensor:
    """Return the view of a tensor with axis 1 moved to position `axis`."""
    if x.ndim == 4 and axis in (-1, 3):
        return permute_axes(x, CHANNELS_LAST[2])
    return x.movedim(1, axis)


def to_last_axes(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the view of a tensor with some axes, nonnegative and in order, moved to the end."""
    return x.movedim(tuple(axes), tuple(range(x.ndim - len(axes), x.ndim)))


def from_last_axes(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the view of a tensor with its last axes moved back to `axes`."""
    return x.movedim(tuple(range(x.ndim - len(axes), x.ndim)), tuple(axes))


def weight_to_kernel(weight: Tensor) -> Tensor:
    """Return the Keras-ordered view (*spatial, in, out) of a weight (out, in, *spatial)."""
    return weight.permute(_KERNEL[weight.ndim - 2])


def kernel_to_weight(kernel: Tensor) -> Tensor:
    """Return the PyTorch-ordered view (out, in, *spatial) of a kernel (*spatial, in, out)."""
    return kernel.permute(_WEIGHT[kernel.ndim - 2])


def depthwise_weight_to_kernel(weight: Tensor, channels: int) -> Tensor:
    """Return the view (*spatial, in, multiplier) of a depthwise weight (out, 1, *spatial)."""
    split = weight.view(channels, -1, *weight.shape[2:])  # (in, multiplier, *spatial)
    return split.permute(*range(2, split.ndim), 0, 1)


def heads_weight_to_kernel(weight: Tensor, heads: int) -> Tensor:
    """Return the view (in, heads, size) of a weight (heads * size, in)."""
    return torch.unflatten(weight, 0, (heads, -1)).permute(2, 0, 1)


def output_weight_to_kernel(weight: Tensor, heads: int, sizes: Sequence[int]) -> Tensor:
    """Return the view (heads, size, *sizes) of a weight (out, heads * size)."""
    return torch.unflatten(torch.unflatten(weight.t(), 0, (heads, -1)), -1, tuple(sizes))


def swap_batch_and_time(x: Tensor) -> Tensor:
    """Return the view of a tensor with axes 0 and 1 swapped."""
    return x.transpose(0, 1)


def swap_steps_and_heads(x: Tensor) -> Tensor:
    """Return the view of a tensor with axes 1 and 2 swapped."""
    return x.transpose(1, 2)


def empty_weight(
    shape: tuple[int, ...], *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Tensor:
    """Return an uninitialized weight (out, in, *spatial) in channels_last memory order.

    The strides are explicit, because `memory_format=torch.channels_last` leaves those of 1x1 and
    depthwise kernels ambiguous, and torch's fused CPU optimizers compute wrong updates where the
    strides of a gradient differ from its parameter's.
    """
    inputs, *spatial = shape[1:]
    steps = [inputs * prod(spatial[axis + 1 :]) for axis in range(len(spatial))]
    strides = (inputs * prod(spatial), 1, *steps)
    return torch.empty_strided(shape, strides, dtype=dtype, device=device)


def memory_order(tensor: Tensor) -> Tensor:
    """Return the view of a tensor with its axes in memory order."""
    return tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
