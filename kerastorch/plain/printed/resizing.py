"""Interpolation with the kernels of TensorFlow, which torch lacks."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def resize_bicubic(x, size):
    """Resize height and width with TensorFlow's cubic, a = -0.5, in steps of 1/1024 pixel."""
    for axis, new in ((2, size[0]), (3, size[1])):
        old = torch.arange(x.shape[axis], device=x.device, dtype=torch.float32)
        scale = torch.tensor(x.shape[axis], device=x.device, dtype=torch.float32) / new
        position = (torch.arange(new, device=x.device).unsqueeze(1) + 0.5) * scale - 0.5
        before = position.floor()
        distance = (old - before) - ((position - before) * 1024).round() / 1024
        d = distance.abs().to(x.dtype)
        near = (1.5 * d - 2.5) * d * d + 1
        far = ((2.5 - 0.5 * d) * d - 4) * d + 2
        weights = torch.where(d < 1, near, torch.where(d < 2, far, 0))
        weights = weights / weights.sum(1, keepdim=True)
        x = (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return x


def resize_lanczos(x, size, radius, antialias=False):
    """Resize height and width with the Lanczos kernel; `antialias` widens it to shrink."""
    for axis, new in ((2, size[0]), (3, size[1])):
        old = torch.arange(x.shape[axis], device=x.device, dtype=torch.float32)
        factor = torch.tensor(new, device=x.device, dtype=torch.float32) / x.shape[axis]
        scale = 1 / factor
        center = (torch.arange(new, device=x.device).unsqueeze(1) + 0.5) * scale
        distance = old + 0.5 - center
        if antialias:
            distance = distance / scale.clamp(min=1)
        d = distance.to(x.dtype)
        weights = torch.where(d.abs() < radius, d.sinc() * (d / radius).sinc(), 0)
        weights = weights / weights.sum(1, keepdim=True)
        x = (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return x


def resize_area(x, size):
    """Resize height and width: each new pixel is the mean of the old ones that it covers."""
    for axis, new in ((2, size[0]), (3, size[1])):
        n = x.shape[axis]
        old = torch.arange(n, device=x.device, dtype=torch.float32)
        scale = torch.tensor(n, device=x.device, dtype=torch.float32) / new
        index = torch.arange(new, device=x.device).unsqueeze(1)
        start, end = index * scale, (index + 1) * scale
        covered = torch.minimum(old + 1, end) - torch.maximum(old, start)
        inside = (old < start) & (old + 1 > end)
        covered = torch.where(inside, scale, covered.clamp(min=0))
        beyond = (end - n).clamp(min=0)  # by rounding: it counts for the last pixel
        covered = torch.where(old + 1 == n, covered + beyond, covered)
        weights = (covered / scale).to(x.dtype)
        x = (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return x


def crop_to_aspect(x, size):
    """Cut out the largest window in the middle that has the aspect ratio of `size`."""
    height, width = x.shape[2:]
    new_height = max(min(height, width * size[0] // size[1]), 1)
    new_width = max(min(width, height * size[1] // size[0]), 1)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return x[:, :, top : top + new_height, left : left + new_width]


def pad_to_aspect(x, size, value=0.0):
    """Pad all sides, so that the image has about the aspect ratio of `size`."""
    height, width = x.shape[2:]
    top = (max(height, width * size[0] // size[1]) - height) // 2
    left = (max(width, height * size[1] // size[0]) - width) // 2
    return F.pad(x, (left, left, top, top), value=value)
