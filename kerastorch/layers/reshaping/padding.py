"""Layers that add rows and columns, or take some away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..._core import arguments
from ..._core.registry import keras_layer
from ..base.spatial import Spatial, data_format_of
from ..base.stateless import Sizes

__all__ = ["ZeroPadding2D"]


class BaseZeroPadding(Spatial):
    """Zeros around `rank` spatial axes; `ZeroPadding2D` documents the arguments."""

    compute_layout = "any"
    returns_new_tensor = True

    def __init__(
        self,
        padding: Any = 1,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(type(self).__name__, data_format)
        self.padding = arguments.pairs(type(self).__name__, "padding", padding, self.rank)
        self._amounts = [n for sides in reversed(self.padding) for n in sides]

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.padding, strict=True)
        return tuple(None if n is None else n + sum(sides) for n, sides in axes)

    def _compute(self, x: Tensor, *, amounts: Sequence[int] | None = None) -> Tensor:
        if amounts is None:
            amounts = self._amounts if self._first_axis == 2 else [0, 0, *self._amounts]
        return F.pad(x, amounts)

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"amounts": self._amounts}

    def _gradient_needs_output(self) -> bool:
        return False

    def _symmetric_padding(self) -> tuple[int, ...] | None:
        same = all(before == after for before, after in self.padding)
        return tuple(before for before, _ in self.padding) if same else None


@keras_layer()
class ZeroPadding2D(BaseZeroPadding):
    """Zeros above, below, left and right of an image.

    Same as `keras.layers.ZeroPadding2D`, except that a negative integer is refused.

    Args:
        padding: An integer for all four sides, two of them for (height, width), or
            ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: the same with the sizes `size + before + after`.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> ZeroPadding2D(((1, 0), (0, 2)))(torch.ones(1, 1, 2, 1))[0, ..., 0]
        tensor([[0., 0., 0., 0.],
                [1., 1., 0., 0.]])
    """

    rank = 2
