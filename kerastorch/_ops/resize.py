"""Images made larger by weighted sums of the pixels near by: bicubic and Lanczos.

The numbers are TensorFlow's, whose operations `ResizeBicubic` and `ScaleAndTranslate` Keras calls
there. Both place a new pixel by the centres of the pixels, leave out the weights of what is
beyond the border, and make the rest add up to 1. The cubic is Keys's with a = -0.5 ("Cubic
convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech
and Signal Processing 29, 1981).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RADII = {"bicubic": 2, "lanczos3": 3, "lanczos5": 5}
_STEPS = 1024  # from pixel to pixel in the table in which TensorFlow looks the cubic up


def resampled(x: Tensor, kind: str, factors: tuple[int, int], first: int) -> Tensor:
    """Return images that are larger by whole factors.

    Each axis is a product with a matrix of its own: for images of up to some hundred pixels a side
    that takes less time than to gather the few pixels that a new one depends on.

    Args:
        x: float32 or float64, with the two axes of the images beside each other.
        kind: One of `RADII`.
        factors: How much longer each axis becomes.
        first: The first of the two axes.
    """
    for axis, factor in zip((first, first + 1), factors, strict=True):
        if factor > 1:
            x = _along(x, axis, weights(kind, x.shape[axis], factor, x))
    return x


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Return the products of a matrix with what lies along an axis."""
    if axis == x.ndim - 1:
        return F.linear(x, matrix)
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    flat = x.flatten(0, axis - 1).flatten(2)  # (before, size, after)
    y = torch.bmm(matrix.expand(flat.shape[0], -1, -1), flat)
    return y.reshape(*before, matrix.shape[0], *after)


def weights(kind: str, size: int, factor: int, like: Tensor) -> Tensor:
    """Return the matrix (size * factor, size) that makes an axis longer.

    It is made anew for each call: that takes a fraction of a millisecond for a small image and a
    few percent of the products for others, and a matrix that is kept would have to tell devices,
    inference mode and traced sizes apart.

    Args:
        kind: One of `RADII`.
        size: The size of the axis.
        factor: How much longer it becomes.
        like: A tensor of the type and on the device that the matrix is for.
    """
    # Positions are float32 and come about in this order, since TensorFlow's are rounded so.
    old = torch.arange(size, dtype=torch.float32, device=like.device)
    new = torch.arange(size * factor, dtype=torch.float32, device=like.device).unsqueeze(1)
    place = (new + 0.5) * (1 / factor)
    if kind == "bicubic":
        place = place - 0.5
        before = place.floor()
        apart = (old - before) - ((place - before) * _STEPS).round() / _STEPS
        found = _cubic(apart.abs().to(like.dtype))
    else:
        found = _lanczos((old + 0.5 - place).to(like.dtype), RADII[kind])
    return found / found.sum(1, keepdim=True)


def _cubic(distance: Tensor) -> Tensor:
    """Return Keys's cubic of distances >= 0."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def _lanczos(distance: Tensor, radius: int) -> Tensor:
    """Return sinc under a window of sinc, which ends it at the radius."""
    inside = distance.sinc() * (distance / radius).sinc()
    return torch.where(distance.abs() < radius, inside, 0)
