"""Resizing of images, with kernels and by areas as TensorFlow computes it.

Keras calls TensorFlow's `ResizeBicubic`, `ScaleAndTranslate` and `ResizeArea`. The first two use
half-pixel centers, drop weights beyond the border and normalize the rest to a sum of 1. The cubic
is Keys's with a = -0.5 ("Cubic convolution interpolation for digital image processing", IEEE
Transactions on Acoustics, Speech and Signal Processing 29, 1981); "mitchellcubic" is Mitchell and
Netravali's ("Reconstruction filters in computer graphics", SIGGRAPH 1988).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST, permute_axes
from .tracing import is_autocast_enabled, is_tracing

RADII = {"bicubic": 2, "lanczos3": 3, "lanczos5": 5}
IN_KERAS_2 = ("gaussian", "mitchellcubic")  # kinds that Keras 3 lacks
_STEPS = 1024  # per pixel in TensorFlow's lookup table of the cubic


def resize(
    x: Tensor, sizes: tuple[int, int], kind: str, first: int, antialias: bool = False
) -> Tensor:
    """Resize images to the sizes of the axes from `first` on.

    Args:
        x: A batch of images; of float32 or float64 but for "nearest", which takes any dtype.
        sizes: The new height and width.
        kind: "nearest", "bilinear", "area", a key of `RADII`, or one `IN_KERAS_2`.
        first: The axis of the height: 1 or 2.
        antialias: Whether the kernel is widened where an axis shrinks; not of "nearest".
    """
    if kind == "nearest":
        for axis, size in enumerate(sizes, first):
            x = x.index_select(axis, _find_nearest(x.shape[axis], size, x))
        return x
    if kind == "bilinear" or (kind == "bicubic" and antialias):
        x = permute_axes(x, CHANNELS_FIRST[2]) if first == 1 else x
        y = F.interpolate(x, sizes, mode=kind, align_corners=False, antialias=antialias)
        return permute_axes(y, CHANNELS_LAST[2]) if first == 1 else y
    return resample(x, kind, sizes, first, antialias)


def round_to(y: Tensor, dtype: torch.dtype, clamp: bool = True) -> Tensor:
    """Round interpolated values to a dtype, and clamp them to its range."""
    if dtype is torch.bool:
        return y.bool()
    if dtype.is_floating_point:
        y = y.clamp(torch.finfo(dtype).min, torch.finfo(dtype).max) if clamp else y
        return y.to(dtype)
    least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    rounded = y.round().clamp(min=least).to(dtype)
    return torch.where(y >= most, most, rounded)  # a float `most` may exceed the dtype


def resample(
    x: Tensor, kind: str, sizes: tuple[int, int], first: int, antialias: bool = False
) -> Tensor:
    """Resize float32 or float64 images by one matrix an axis; see `resize`.

    Each axis is one matrix product: up to some hundred pixels a side, that is faster than gathering
    the few pixels that each new one depends on.
    """
    device = x.device.type  # autocast does not apply to torch's own interpolation either
    enabled = is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if enabled else nullcontext():
        for axis, size in enumerate(sizes, first):
            # These blur an axis of the same size; a graph is for any size.
            if kind in IN_KERAS_2 or is_tracing() or x.shape[axis] != size:
                matrix = make_resampling_matrix(kind, x.shape[axis], size, x, antialias)
                x = _multiply_along(x, axis, matrix)
    return x


def _find_nearest(size: int, new_size: int, like: Tensor) -> Tensor:
    """Return the indices of the pixels whose centers are nearest to those of the new ones."""
    new = torch.arange(new_size, dtype=torch.float32, device=like.device)
    scale = torch.full((), size, dtype=torch.float32, device=like.device) / new_size
    return ((new + 0.5) * scale).floor().long().clamp(max=size - 1)


def _multiply_along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Multiply a matrix along one axis."""
    if axis == x.ndim - 1:
        return F.linear(x, matrix)
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    flat = x.flatten(0, axis - 1).flatten(2)  # (before, size, after)
    y = torch.bmm(matrix.expand(flat.shape[0], -1, -1), flat)
    return y.reshape(*before, matrix.shape[0], *after)


def make_resampling_matrix(
    kind: str, size: int, new_size: int, like: Tensor, antialias: bool = False
) -> Tensor:
    """Return the matrix (new_size, size) that resizes an axis, like the tensor `like`.

    It is not cached: it takes a few percent of the time of the products, and a cache would need
    keys for devices, inference mode and traced sizes.
    """
    # float32 positions, computed in this order, are rounded as in TensorFlow.
    old = torch.arange(size, dtype=torch.float32, device=like.device)
    new = torch.arange(new_size, dtype=torch.float32, device=like.device).unsqueeze(1)
    scale = torch.full((), size, dtype=torch.float32, device=like.device) / new_size
    if kind == "area":
        overlaps = _measure_overlaps(old, new * scale, (new + 1) * scale, scale)
        return (overlaps / scale).to(like.dtype)
    if kind == "bicubic":
        position = (new + 0.5) * scale - 0.5
        before = position.floor()
        distance = (old - before) - ((position - before) * _STEPS).round() / _STEPS
        matrix = _cubic(distance.abs().to(like.dtype))
    else:
        scale = 1 / (torch.full_like(scale, new_size) / size)  # rounded twice, as it is there
        distance = old + 0.5 - (new + 0.5) * scale
        distance = distance / scale.clamp(min=1) if antialias else distance
        matrix = _weigh(kind, distance.to(like.dtype))
    return matrix / matrix.sum(1, keepdim=True)


def _measure_overlaps(old: Tensor, start: Tensor, end: Tensor, scale: Tensor) -> Tensor:
    """Return how much of each old pixel lies in the new ones from `start` to `end`."""
    overlaps = torch.minimum(old + 1, end) - torch.maximum(old, start)
    overlaps = torch.where((old < start) & (old + 1 > end), scale, overlaps.clamp(min=0))
    beyond = (end - old.shape[0]).clamp(min=0)  # by rounding: it counts for the last pixel
    return torch.where(old + 1 == old.shape[0], overlaps + beyond, overlaps)


def _weigh(kind: str, distance: Tensor) -> Tensor:
    """Return the kernel of a kind of signed distances."""
    if kind == "gaussian":
        return torch.where(distance.abs() < 1.5, (-2 * distance.square()).exp(), 0)
    if kind == "mitchellcubic":
        return _mitchell(distance.abs())
    return _lanczos(distance, RADII[kind])


def _cubic(distance: Tensor) -> Tensor:
    """Return Keys's cubic of distances >= 0."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def _mitchell(distance: Tensor) -> Tensor:
    """Return Mitchell and Netravali's cubic, B = C = 1/3, of distances >= 0."""
    near = (7 * distance - 12) * distance * distance / 6 + 8 / 9
    far = ((2 - 7 / 18 * distance) * distance - 10 / 3) * distance + 16 / 9
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def _lanczos(distance: Tensor, radius: int) -> Tensor:
    """Return the Lanczos kernel of signed distances."""
    inside = distance.sinc() * (distance / radius).sinc()
    return torch.where(distance.abs() < radius, inside, 0)
