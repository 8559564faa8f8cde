"""Functions that torch lacks."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def pad_same(x, kernel: list[int], stride: list[int], dilation: list[int], value: float = 0.0):
    """Pad as "same" in Keras does: ceil(size / stride) outputs, an odd rest at the end."""
    amounts: list[int] = []
    for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation):  # noqa: B905
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        amounts = [total // 2, total - total // 2, *amounts]
    return F.pad(x, amounts, value=value)


def auto_contrast(x, least, most):
    """Stretch the values of each channel of images with channels last over the whole range."""
    y = (x - least) / (most - least) * 255.0
    low, high = y.amin((1, 2), keepdim=True), y.amax((1, 2), keepdim=True)
    y = ((y - low) * (255.0 / (high - low))).clamp(0.0, 255.0)
    y = y / 255.0 * (most - least) + least
    return torch.where(y.isnan(), x, y)  # a channel of one value


def hard_sigmoid_keras2(x):
    """The hard_sigmoid of Keras 1 and 2, whose slope is 0.2."""
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


def sparse_sigmoid(x):
    """0 up to -1, 1 from 1 on, linear between."""
    return torch.clamp(0.5 * (x + 1), 0.0, 1.0)


def sparse_plus(x):
    """0 up to -1, (x + 1)^2 / 4 from there to 1, x above."""
    return torch.where(x <= -1, 0.0, torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


def squareplus(x, b=4):
    """(x + sqrt(x^2 + b)) / 2."""
    return (x + torch.sqrt(x**2 + b)) / 2


def sparsemax(x, dim=-1):
    """Sparsemax as Keras computes it."""
    ordered = x.sort(dim=dim, descending=True).values
    totals = ordered.cumsum(dim)
    ranks = torch.ones_like(x).cumsum(dim)
    support = ordered - (totals - 1) / ranks > 0
    total = torch.where(support, totals, 0.0).sum(dim, keepdim=True)
    return (x - (total - 1) / support.sum(dim, keepdim=True)).clamp(min=0.0)
