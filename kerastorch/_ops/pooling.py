"""Pooling of (batch, channels, *spatial) tensors of any rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from .._core.layout import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    permute_axes,
    to_channels_last,
)
from .tracing import is_tracing
from .window_arithmetic import Integers, same_padding, same_padding_per_axis, to_f_pad_order

Pooling = Callable[..., Tensor]
_AVERAGES: dict[int, Pooling] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MOST_SLICES = 4  # of a window of steps that is faster as the maximum of its slices
_MANY_CHANNELS = 32  # from which on larger windows are faster as one reduction
_FEW = 1024  # elements, up to which one reduction is faster than several operations
_MANY = 4096  # elements, from which on more operations pay if they are faster
_EXACT = (torch.float32, torch.float64)


def max_pool_windows(
    x: Tensor, size: Integers, stride: Integers, padding: Integers = (0,), ceil_mode: bool = False
) -> Tensor:
    """Return the maximum of each window of (batch, channels, *spatial), of 1 to 3 spatial axes."""
    if x.ndim == 3:
        return _max_pool_steps(x, size, stride, padding, ceil_mode)
    if not x.is_floating_point():
        x = x.clone(memory_format=torch.contiguous_format)  # see `_max_pool_steps`
    elif x.ndim == 5 and x.is_cpu and not is_tracing() and x.is_contiguous():
        x = permute_axes(to_channels_last(x).contiguous(), CHANNELS_FIRST[3])  # 3 times as fast
    op = torch.max_pool2d if x.ndim == 4 else torch.max_pool3d
    return op(x, size, stride, padding, ceil_mode=ceil_mode)


def _max_pool_steps(
    x: Tensor, size: Integers, stride: Integers, padding: Integers, ceil_mode: bool
) -> Tensor:
    """Return the maximum of each window of (batch, channels, steps), in the fastest way."""
    if not x.is_floating_point():
        # torch's kernels for channels at the end count the positions in the input's own dtype.
        x = x.clone(memory_format=torch.contiguous_format)
    elif x.is_cpu and not is_tracing():
        if x.is_contiguous():
            return torch.max_pool1d(x, size, stride, padding, ceil_mode=ceil_mode)
        if not (padding[0] or (ceil_mode and (x.shape[2] - size[0]) % stride[0])):
            y = max_pool_rows(to_channels_last(x), size, stride)
            if y is not None:
                return permute_axes(y, CHANNELS_FIRST[1])
        if x.numel() < _MANY:
            return torch.max_pool1d(x, size, stride, padding, ceil_mode=ceil_mode)
    # As one row: torch takes 1.2 to 2.2 times as long for steps before channels, 9 for a column.
    row = ((1, size[0]), (1, stride[0]), (0, padding[0]))
    return torch.max_pool2d(x.unsqueeze(2), *row, ceil_mode=ceil_mode).squeeze(2)


def max_pool_rows(x: Tensor, size: Integers, stride: Integers) -> Tensor | None:
    """Return the maximum of each window of (batch, steps, channels), each step one row of memory.

    None where a pooling operation is faster, and in training: ties would share the gradient.
    """
    k = size[0]
    if k == 1 or (x.requires_grad and torch.is_grad_enabled()) or not x.is_floating_point():
        return None
    if is_tracing() or not (x.is_cpu and x.is_contiguous()):
        return None
    if x.numel() < _FEW or (k > _MOST_SLICES and x.shape[2] >= _MANY_CHANNELS):
        return x.unfold(1, k, stride[0]).amax(3)
    return reduce(torch.maximum, x.unfold(1, k, stride[0]).unbind(3)) if k <= _MOST_SLICES else None


def max_pool(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the maximum of each window of (batch, channels, *spatial), ignoring "same" padding."""
    if not same:
        return max_pool_windows(x, size, stride)
    if is_tracing():
        sides = _pool_sides(x, size, stride)
        least = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        return max_pool_windows(F.pad(x, sides, value=least), size, stride)
    padding, surplus = _pool_padding(x.shape[2:], size, stride)
    return _drop_first(surplus, max_pool_windows(x, size, stride, padding, ceil_mode=True))


def avg_pool(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the mean of each window of (batch, channels, *spatial), ignoring "same" padding."""
    if x.ndim == 5 and (same or _is_slow_in_3d(x)):
        exact = x if x.dtype in _EXACT else x.float()  # for one rounding
        means = _avg_pool_volumes(to_channels_last(exact), size, stride, same)
        return permute_axes(means, CHANNELS_FIRST[3]).to(x.dtype)
    op = _AVERAGES[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    if is_tracing():
        sides = _pool_sides(x, size, stride)
        counts = F.pad(torch.ones_like(x[:1, :1]), sides)
        return op(F.pad(x, sides), size, stride) / op(counts, size, stride)
    padding, surplus = _pool_padding(x.shape[2:], size, stride)
    return _drop_first(surplus, op(x, size, stride, padding, True, False))


def _is_slow_in_3d(x: Tensor) -> bool:
    """Return whether torch's `avg_pool3d` is slow, or lacks the type."""
    if x.device.type != "cpu":
        return False
    return x.dtype not in _EXACT or is_tracing() or not (x.numel() < _MANY or x.is_contiguous())


def avg_pool_rows(x: Tensor, size: Integers, stride: Integers) -> Tensor | None:
    """Return the mean of each window of (batch, depth, height, width, channels).

    None where `avg_pool` decides otherwise.
    """
    if is_tracing() or not (x.is_cpu and x.is_contiguous()) or x.dtype not in _EXACT:
        return None
    if x.numel() < _MANY:
        y = F.avg_pool3d(permute_axes(x, CHANNELS_FIRST[3]), size, stride)
        return permute_axes(y, CHANNELS_LAST[3])
    return _avg_pool_volumes(x, size, stride, same=False)


def _avg_pool_volumes(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Average the height and width of (batch, depth, height, width, channels), then the depth.

    It is a mean of means, since all planes of a window count. torch's `avg_pool3d` takes several
    times as long with the channels at the end in memory, and refuses windows larger than the
    input, which "same" has.
    """
    batch, depth, _, _, channels = x.shape
    planes = permute_axes(x.flatten(0, 1), CHANNELS_FIRST[2])
    y = avg_pool(planes, size[1:], stride[1:], same)
    # The channels come last in each reshape: otherwise a batch of 1 would get a stride by which
    # torch no longer sees that memory has them at the end.
    height, width = y.shape[2:]
    columns = permute_axes(y, CHANNELS_LAST[2]).reshape(batch, depth, height * width, channels)
    z = avg_pool(permute_axes(columns, CHANNELS_FIRST[2]), (size[0], 1), (stride[0], 1), same)
    return permute_axes(z, CHANNELS_LAST[2]).reshape(batch, z.shape[2], height, width, channels)


def adaptive_max_pool(x: Tensor, sizes: Integers) -> Tensor:
    """Return the maximum of windows that make (batch, channels, *spatial) of these sizes."""
    if x.is_floating_point():
        pooled: Tensor = _ADAPTIVE_MAXIMA[len(sizes)](x, sizes)
        return pooled
    for axis, size in enumerate(sizes, 2):  # torch has no integers here
        n = x.shape[axis]
        windows = [(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]
        slices = [x.narrow(axis, start, stop - start) for start, stop in windows]
        x = torch.stack([one.amax(axis) for one in slices], axis)
    return x


_ADAPTIVE_MAXIMA: dict[int, Pooling] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}
ADAPTIVE_AVERAGES: dict[int, Pooling] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def _pool_sides(x: Tensor, size: Integers, stride: Integers) -> list[int]:
    """Return the "same" padding in the order of `F.pad`: ceil mode would branch on traced sizes."""
    return to_f_pad_order(same_padding_per_axis(x.shape[2:], size, stride, (1,) * len(size)))


@lru_cache(maxsize=1024)
def _pool_padding(
    sizes: Integers, size: Integers, stride: Integers
) -> tuple[Integers, tuple[bool, ...]]:
    """Return each axis's padding for "same" in ceil mode, and whether to drop its first output.

    With a stride above 1, ceil mode adds the last window that an asymmetric "same" needs. With a
    stride of 1 both sides get the larger padding, and the first output position is surplus.
    """
    padding, surplus = [], []
    for n, k, s in zip(sizes, size, stride, strict=True):
        before, after = same_padding(n, k, s, 1)
        surplus.append(s == 1 and before != after)
        padding.append(after if surplus[-1] else before)  # `after` is never the smaller
    return tuple(padding), tuple(surplus)


def _drop_first(surplus: tuple[bool, ...], y: Tensor) -> Tensor:
    for axis, drops in enumerate(surplus, 2):
        if drops:
            y = y.narrow(axis, 1, y.shape[axis] - 1)
    return y
