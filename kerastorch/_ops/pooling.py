"""Pooling of (batch, channels, *spatial) tensors of any rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .tracing import any_size
from .window_arithmetic import Integers, flat, padding_of, same_padding

MAX_POOLINGS: dict[int, Callable[..., Tensor]] = {
    1: torch.max_pool1d,
    2: torch.max_pool2d,
    3: torch.max_pool3d,
}
_AVERAGES: dict[int, Callable[..., Tensor]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: F.avg_pool3d,
}


def pool_max(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the largest number of each window; what "same" pads is never the largest.

    Args:
        x: (batch, channels, *spatial).
        size: The window's.
        stride: One integer for each spatial axis.
        same: Whether to pad by TensorFlow's "same".
    """
    op = MAX_POOLINGS[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    if any_size():
        sides = _pool_sides(x, size, stride)
        if x.is_floating_point():
            return op(F.pad(x, sides, value=-math.inf), size, stride)
        padded = F.pad(x, sides, value=torch.iinfo(x.dtype).min)
        return op(padded.contiguous(), size, stride)  # torch refuses bytes in channels_last order
    padding, ahead = _pool_padding(x.shape[2:], size, stride)
    return _without(ahead, op(x, size, stride, padding, ceil_mode=True))


def pool_average(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the mean of each window; what "same" pads is not counted. Args as `pool_max` has."""
    op = _AVERAGES[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    if any_size():
        sides = _pool_sides(x, size, stride)
        inside = F.pad(torch.ones_like(x[:1, :1]), sides)
        return op(F.pad(x, sides), size, stride) / op(inside, size, stride)
    padding, ahead = _pool_padding(x.shape[2:], size, stride)
    return _without(ahead, op(x, size, stride, padding, True, False))


def _pool_sides(x: Tensor, size: Integers, stride: Integers) -> list[int]:
    """Return the padding of a window's "same" in the order of `F.pad`.

    Ceil mode asks the size whether the last window begins inside, and the answer would be that of
    the size traced: another size would then be refused, or in ONNX pooled wrongly.
    """
    return flat(padding_of(x.shape[2:], size, stride, (1,) * len(size)))


@lru_cache(maxsize=1024)
def _pool_padding(
    sizes: Integers, size: Integers, stride: Integers
) -> tuple[list[int], list[bool]]:
    """Return the padding of both sides that gives "same" in torch's ceil mode, without a copy.

    Where the step is above 1, ceil mode reaches one place further at the end, which is what an
    uneven "same" needs. With a step of 1 it does not: there both sides get the larger padding,
    and the first place is one too many.

    Returns:
        The padding of each axis, and for which axes the first place is to be dropped.
    """
    axes = zip(sizes, size, stride, strict=True)
    sides = [(same_padding(n, k, s, 1), s) for n, k, s in axes]
    ahead = [s == 1 and before != after for (before, after), s in sides]
    return [
        max(pad) if more else pad[0] for (pad, _), more in zip(sides, ahead, strict=True)
    ], ahead


def _without(ahead: list[bool], y: Tensor) -> Tensor:
    for axis, more in enumerate(ahead, 2):
        if more:
            y = y.narrow(axis, 1, y.shape[axis] - 1)
    return y
