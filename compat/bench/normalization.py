"""Normalization of single samples beside hand-written PyTorch, and Keras on torch.

    KERAS_BACKEND=torch python compat/bench/normalization.py

The lines are those of `pooling.py`. The hand-written forms of the group normalization are as
accurate as Keras's; torch's own kernel, in lines of its own, is not where the mean is large.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from pooling import Case, Form, Hand, report
from torch import Tensor, nn
from torch.nn import functional as F

SEQUENCES = [(1, 16, 8), (8, 128, 64), (32, 100, 32), (8, 256, 256)]
IMAGES = [(1, 4, 4, 8), (2, 16, 16, 32), (8, 14, 14, 256), (8, 28, 28, 64), (2, 56, 56, 128)]


@lru_cache
def affine(channels: int) -> tuple[Tensor, Tensor]:
    """Return a gamma and a beta."""
    return nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))


def layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], *affine(x.shape[-1]), 1e-3)


def rms_norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], affine(x.shape[-1])[0], 1e-6)


def group_norm(groups: int) -> Form:
    return lambda x: F.group_norm(x, groups, *affine(x.shape[1]), 1e-3)


def copied(groups: int) -> Form:
    """Return the normalization of a copy in channels-first memory."""
    normalize = group_norm(groups)
    return lambda x: normalize(x.contiguous()).contiguous(memory_format=torch.channels_last)


def centered(groups: int) -> Form:
    """Return torch's normalization of what has no large mean."""
    normalize = group_norm(groups)

    def form(x: Tensor) -> Tensor:
        mean = x.detach().mean((2, 3)).view(x.shape[0], groups, -1).mean(2, keepdim=True)
        mean = mean.expand(-1, -1, x.shape[1] // groups).flatten(1)
        return normalize(x - mean[:, :, None, None])

    return form


CASES: list[Case] = [
    ("LayerNormalization", (), SEQUENCES, [Hand(layer_norm, False)]),
    ("RMSNormalization", (), SEQUENCES, [Hand(rms_norm, False)]),
    ("UnitNormalization", (), SEQUENCES, [Hand(lambda x: F.normalize(x, dim=-1), False)]),
    ("GroupNormalization", (8,), IMAGES, [Hand(copied(8)), Hand(centered(8))]),
    ("GroupNormalization", (32,), IMAGES[1:], [Hand(copied(32)), Hand(centered(32))]),
    ("GroupNormalization beside F.group_norm", (8,), IMAGES, [Hand(group_norm(8))]),
    ("GroupNormalization beside F.group_norm", (32,), IMAGES[1:], [Hand(group_norm(32))]),
]


if __name__ == "__main__":
    report(CASES)
