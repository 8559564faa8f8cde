"""How fast are pooling in 1-D and 3-D, global pooling in 1-D, and upsampling?

    python compat/bench/pooling.py                          # some 3 minutes
    python compat/bench/pooling.py --only MaxPooling1D --seconds 3

Layers beside the best hand-written torch that was found (see `layers.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from layers import Hands, cases, compare, first, last
from torch import Tensor, nn
from torch.nn import functional as F

Form = Callable[[Tensor], Tensor]
KERAS_BARS = {f"{kind}Pooling{rank}D": (5.0, 4.0) for kind in ("Max", "Average") for rank in (1, 3)}


class Hand(nn.Module):
    """A hand-written module around a function of the input as (batch, channels, ...)."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        y = self.form(first(x))
        return last(y)


class Direct(Hand):
    """One whose function takes the input as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x)


def slices(size: int) -> Form:
    """Return max pooling of windows of steps that do not overlap."""
    return lambda x: reduce(torch.maximum, x.unfold(1, size, size).unbind(3))


def reduction(size: int) -> Form:
    return lambda x: x.unfold(1, size, size).amax(3)


def row(size: int) -> Form:
    return lambda x: F.max_pool2d(x.unsqueeze(2), (1, size)).squeeze(2)


def planes(size: int) -> Form:
    """Return average pooling of volumes as two of images."""

    def form(x: Tensor) -> Tensor:
        b, d, h, w, c = x.shape
        y = last(F.avg_pool2d(first(x.reshape(b * d, h, w, c)), size))
        h, w = y.shape[1:3]
        z = last(F.avg_pool2d(first(y.reshape(b, d, h * w, c)), (size, 1)))
        return z.reshape(b, -1, h, w, c)

    return form


def repeat(x: Tensor) -> Tensor:
    b, n, c = x.shape
    return x.unsqueeze(2).expand(b, n, 2, c).reshape(b, 2 * n, c)


def stack(x: Tensor) -> Tensor:
    return torch.stack((x, x), 2).flatten(1, 2)


def interpolate(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def by_hand(**modules: nn.Module) -> Hands:
    """Return what makes these modules for any layer."""
    return lambda layer, shape: modules


def pooled(rank: int, **arguments: Any) -> list[tuple[tuple[int, ...], dict[str, Any]]]:
    """Return a row for each input of a rank."""
    return [(shape, arguments) for shape in SHAPES[rank]]


SHAPES: dict[int, list[tuple[int, ...]]] = {
    1: [(1, 16, 8), (8, 128, 64), (32, 100, 32), (8, 1000, 32), (16, 1000, 64)],
    2: [(1, 4, 4, 8), (8, 16, 16, 64), (1, 64, 64, 64), (4, 28, 28, 256)],
    3: [(1, 4, 4, 4, 8), (2, 8, 16, 16, 64), (1, 16, 28, 28, 32)],
}
CASES = [
    *(
        case
        for size in (2, 3, 5)
        for case in cases(
            *("MaxPooling1D", "MaxPooling1D"),
            by_hand(
                slices=Direct(slices(size)),
                reduction=Direct(reduction(size)),
                row=Hand(row(size)),
                plain=Hand(lambda x, size=size: F.max_pool1d(x, size)),
            ),
            *pooled(1, pool_size=size),
        )
    ),
    *cases(
        *("AveragePooling1D", "AveragePooling1D"),
        by_hand(plain=Hand(lambda x: F.avg_pool1d(x, 2))),
        *pooled(1, pool_size=2),
    ),
    *cases(
        *("MaxPooling3D", "MaxPooling3D"),
        by_hand(plain=Hand(lambda x: F.max_pool3d(x, 2))),
        *pooled(3, pool_size=2),
    ),
    *cases(
        *("AveragePooling3D", "AveragePooling3D"),
        by_hand(planes=Direct(planes(2)), plain=Hand(lambda x: F.avg_pool3d(x, 2))),
        *pooled(3, pool_size=2),
    ),
    *cases(
        *("GlobalPooling1D", "GlobalAveragePooling1D"),
        by_hand(mean=Direct(lambda x: x.mean(1))),
        *pooled(1),
    ),
    *cases(
        *("GlobalPooling1D", "GlobalMaxPooling1D"),
        by_hand(amax=Direct(lambda x: x.amax(1))),
        *pooled(1),
    ),
    *cases(
        *("UpSampling", "UpSampling1D"),
        by_hand(repeat=Direct(repeat), stack=Direct(stack)),
        *pooled(1, size=2),
    ),
    *(
        case
        for rank in (2, 3)
        for case in cases(
            *("UpSampling", f"UpSampling{rank}D"),
            by_hand(plain=Hand(interpolate)),
            *pooled(rank, size=2),
        )
    ),
]

if __name__ == "__main__":
    compare(CASES, KERAS_BARS, "Time the pooling layers of kerastorch.layers.")
