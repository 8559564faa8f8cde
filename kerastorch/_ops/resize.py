"""Upsampling of images with bicubic and Lanczos kernels, as TensorFlow computes it.

Keras calls TensorFlow's `ResizeBicubic` and `ScaleAndTranslate`. Both use half-pixel centers, drop
weights beyond the border and normalize the rest to a sum of 1. The cubic is Keys's with a = -0.5
("Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
Speech and Signal Processing 29, 1981).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RADII = {"bicubic": 2, "lanczos3": 3, "lanczos5": 5}
_STEPS = 1024  # per pixel in TensorFlow's lookup table of the cubic


def upsample(x: Tensor, kind: str, factors: tuple[int, int], first: int) -> Tensor:
    """Upsample float32 or float64 images by one factor for each axis from `first` on.

    Each axis is one matrix product: up to some hundred pixels a side, that is faster than gathering
    the few pixels that each new one depends on.
    """
    for axis, factor in enumerate(factors, first):
        if factor > 1:
            x = _multiply_along(x, axis, make_upsampling_matrix(kind, x.shape[axis], factor, x))
    return x


def _multiply_along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Multiply a matrix along one axis."""
    if axis == x.ndim - 1:
        return F.linear(x, matrix)
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    flat = x.flatten(0, axis - 1).flatten(2)  # (before, size, after)
    y = torch.bmm(matrix.expand(flat.shape[0], -1, -1), flat)
    return y.reshape(*before, matrix.shape[0], *after)


def make_upsampling_matrix(kind: str, size: int, factor: int, like: Tensor) -> Tensor:
    """Return the matrix (size * factor, size) that upsamples an axis, like the tensor `like`.

    It is not cached: it takes a few percent of the time of the products, and a cache would need
    keys for devices, inference mode and traced sizes.
    """
    # float32 positions, computed in this order, are rounded as in TensorFlow.
    old = torch.arange(size, dtype=torch.float32, device=like.device)
    new = torch.arange(size * factor, dtype=torch.float32, device=like.device).unsqueeze(1)
    position = (new + 0.5) * (1 / factor)
    if kind == "bicubic":
        position = position - 0.5
        before = position.floor()
        distance = (old - before) - ((position - before) * _STEPS).round() / _STEPS
        matrix = _cubic(distance.abs().to(like.dtype))
    else:
        matrix = _lanczos((old + 0.5 - position).to(like.dtype), RADII[kind])
    return matrix / matrix.sum(1, keepdim=True)


def _cubic(distance: Tensor) -> Tensor:
    """Return Keys's cubic of distances >= 0."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def _lanczos(distance: Tensor, radius: int) -> Tensor:
    """Return the Lanczos kernel of signed distances."""
    inside = distance.sinc() * (distance / radius).sinc()
    return torch.where(distance.abs() < radius, inside, 0)
