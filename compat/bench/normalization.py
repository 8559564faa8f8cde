"""How fast are the normalizations of single samples?

    python compat/bench/normalization.py                    # some 2 minutes
    python compat/bench/normalization.py --only Group --seconds 3

Layers beside the best hand-written torch that was found (see `layers.py`). The forms of the group
normalization are as accurate as Keras; torch's own kernel, in rows of its own, is not where the
mean is large.
"""

from __future__ import annotations

from typing import Any

import torch
from layers import cases, compare, first, last
from torch import Tensor, nn
from torch.nn import functional as F

KERAS_BARS: dict[str, tuple[float, float]] = {}
SEQUENCES: list[tuple[int, ...]] = [(1, 16, 8), (8, 128, 64), (32, 100, 32), (8, 256, 256)]
IMAGES: list[tuple[int, ...]] = [
    *[(1, 4, 4, 32), (2, 16, 16, 32), (8, 14, 14, 256)],
    *[(8, 28, 28, 64), (2, 56, 56, 128)],
]


class LayerNorm(nn.LayerNorm):
    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__(shape[-1], layer.epsilon)


class RMSNorm(nn.RMSNorm):
    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__(shape[-1], layer.epsilon)


class UnitNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class GroupNorm(nn.GroupNorm):
    """Torch's own kernel, on a view."""

    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__(layer.groups, shape[-1], layer.epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return last(self.normalize(first(x)))

    def normalize(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Copied(GroupNorm):
    """On a copy in channels-first memory."""

    def normalize(self, x: Tensor) -> Tensor:
        y = super().normalize(x.contiguous())
        return y.contiguous(memory_format=torch.channels_last)


class Centered(GroupNorm):
    """Of values that have no large mean."""

    def normalize(self, x: Tensor) -> Tensor:
        mean = x.detach().mean((2, 3)).view(x.shape[0], self.num_groups, -1).mean(2, keepdim=True)
        mean = mean.expand(-1, -1, x.shape[1] // self.num_groups).flatten(1)
        return super().normalize(x - mean[:, :, None, None])


CASES = [
    *cases(
        *("LayerNormalization", "LayerNormalization"),
        lambda layer, shape: {"nn.LayerNorm": LayerNorm(layer, shape)},
        *((shape, {}) for shape in SEQUENCES),
    ),
    *cases(
        *("RMSNormalization", "RMSNormalization"),
        lambda layer, shape: {"nn.RMSNorm": RMSNorm(layer, shape)},
        *((shape, {}) for shape in SEQUENCES),
    ),
    *cases(
        *("UnitNormalization", "UnitNormalization"),
        lambda layer, shape: {"normalize": UnitNorm()},
        *((shape, {}) for shape in SEQUENCES),
    ),
    *(
        case
        for groups in (8, 32)
        for case in (
            *cases(
                *("GroupNormalization", "GroupNormalization"),
                lambda layer, shape: {
                    "copied": Copied(layer, shape),
                    "centered": Centered(layer, shape),
                },
                *((shape, {"groups": groups}) for shape in IMAGES),
            ),
            *cases(
                *("beside nn.GroupNorm", "GroupNormalization"),
                lambda layer, shape: {"nn.GroupNorm": GroupNorm(layer, shape)},
                *((shape, {"groups": groups}) for shape in IMAGES),
            ),
        )
    ),
]

if __name__ == "__main__":
    compare(CASES, KERAS_BARS, "Time the normalizations of kerastorch.layers.")
