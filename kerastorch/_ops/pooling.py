"""Pooling of (batch, channels, *spatial) tensors of any rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .tracing import is_tracing
from .window_arithmetic import Integers, same_padding, same_padding_per_axis, to_f_pad_order

Pooling = Callable[..., Tensor]
MAX_POOLINGS: dict[int, Pooling] = {1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d}
_AVERAGES: dict[int, Pooling] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def max_pool(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the maximum of each window of (batch, channels, *spatial), ignoring "same" padding."""
    op = MAX_POOLINGS[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    if is_tracing():
        sides = _pool_sides(x, size, stride)
        if x.is_floating_point():
            return op(F.pad(x, sides, value=-math.inf), size, stride)
        padded = F.pad(x, sides, value=torch.iinfo(x.dtype).min)
        return op(padded.contiguous(), size, stride)  # torch refuses uint8 in channels_last
    padding, surplus = _pool_padding(x.shape[2:], size, stride)
    return _drop_first(surplus, op(x, size, stride, padding, ceil_mode=True))


def avg_pool(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the mean of each window of (batch, channels, *spatial), ignoring "same" padding."""
    op = _AVERAGES[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    if is_tracing():
        sides = _pool_sides(x, size, stride)
        counts = F.pad(torch.ones_like(x[:1, :1]), sides)
        return op(F.pad(x, sides), size, stride) / op(counts, size, stride)
    padding, surplus = _pool_padding(x.shape[2:], size, stride)
    return _drop_first(surplus, op(x, size, stride, padding, True, False))


def _pool_sides(x: Tensor, size: Integers, stride: Integers) -> list[int]:
    """Return the "same" padding in the order of `F.pad`: ceil mode would branch on traced sizes."""
    return to_f_pad_order(same_padding_per_axis(x.shape[2:], size, stride, (1,) * len(size)))


@lru_cache(maxsize=1024)
def _pool_padding(
    sizes: Integers, size: Integers, stride: Integers
) -> tuple[list[int], list[bool]]:
    """Return each axis's padding for "same" in ceil mode, and whether to drop its first output.

    With a stride above 1, ceil mode adds the last window that an asymmetric "same" needs. With a
    stride of 1 both sides get the larger padding, and the first output position is surplus.
    """
    padding, surplus = [], []
    for n, k, s in zip(sizes, size, stride, strict=True):
        before, after = same_padding(n, k, s, 1)
        surplus.append(s == 1 and before != after)
        padding.append(after if surplus[-1] else before)  # `after` is never the smaller
    return padding, surplus


def _drop_first(surplus: list[bool], y: Tensor) -> Tensor:
    for axis, drops in enumerate(surplus, 2):
        if drops:
            y = y.narrow(axis, 1, y.shape[axis] - 1)
    return y
