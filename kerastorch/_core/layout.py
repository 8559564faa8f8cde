"""The only file that moves axes: between Keras's order and PyTorch's, always as views.

Inputs and outputs are (batch, *spatial, channels) in Keras and (batch, channels, *spatial) in
PyTorch; kernels are (*spatial, in, out) in Keras and (out, in, *spatial) in PyTorch, also those
without a spatial axis: (in, out) and (out, in).
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

CHANNELS_FIRST = {1: (0, 2, 1), 2: (0, 3, 1, 2), 3: (0, 4, 1, 2, 3)}
CHANNELS_LAST = {1: (0, 2, 1), 2: (0, 2, 3, 1), 3: (0, 2, 3, 4, 1)}
_KERNEL = {0: (1, 0), 1: (2, 1, 0), 2: (2, 3, 1, 0), 3: (2, 3, 4, 1, 0)}
_WEIGHT = {0: (1, 0), 1: (2, 1, 0), 2: (3, 2, 0, 1), 3: (4, 3, 0, 1, 2)}


# The view of a tensor whose axes come in one of these orders. Given a tuple, the tensor's own
# method takes half as long again.
axes_moved = torch.permute


def channels_last(inputs: Tensor) -> Tensor:
    """Return the view (batch, *spatial, channels) of (batch, channels, *spatial) of any rank."""
    return inputs if inputs.ndim < 3 else inputs.permute(0, *range(2, inputs.ndim), 1)


def channels_second(x: Tensor, axis: int) -> Tensor:
    """Return the view of a tensor whose axis `axis` comes as axis 1."""
    if x.ndim == 4 and axis in (-1, 3):  # the usual case, in less time
        return axes_moved(x, CHANNELS_FIRST[2])
    return x.movedim(axis, 1)


def channels_back(x: Tensor, axis: int) -> Tensor:
    """Return the view of a tensor whose axis 1 comes as axis `axis`."""
    if x.ndim == 4 and axis in (-1, 3):
        return axes_moved(x, CHANNELS_LAST[2])
    return x.movedim(1, axis)


def kernel_view(weight: Tensor) -> Tensor:
    """Return the Keras-ordered view (*spatial, in, out) of a weight (out, in, *spatial)."""
    return weight.permute(_KERNEL[weight.ndim - 2])


def weight_view(kernel: Tensor) -> Tensor:
    """Return the PyTorch-ordered view (out, in, *spatial) of a kernel (*spatial, in, out)."""
    return kernel.permute(_WEIGHT[kernel.ndim - 2])


def depthwise_view(weight: Tensor, channels: int) -> Tensor:
    """Return the view (*spatial, in, multiplier) of a depthwise weight (out, 1, *spatial)."""
    split = weight.view(channels, -1, *weight.shape[2:])  # (in, multiplier, *spatial)
    return split.permute(*range(2, split.ndim), 0, 1)


def empty_weight(
    shape: tuple[int, ...], *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Tensor:
    """Return an unfilled weight (out, in, *spatial) whose memory order is channels_last.

    The strides are given outright, since for 1x1 and depthwise kernels
    `memory_format=torch.channels_last` leaves them ambiguous, and a gradient with other strides
    than its parameter makes torch's fused CPU optimizers compute wrong updates.
    """
    inputs, *spatial = shape[1:]
    steps = [inputs * prod(spatial[axis + 1 :]) for axis in range(len(spatial))]
    strides = (inputs * prod(spatial), 1, *steps)
    return torch.empty_strided(shape, strides, dtype=dtype, device=device)


def memory_order(tensor: Tensor) -> Tensor:
    """Return the view of a tensor whose axes come in the order of its memory."""
    return tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
