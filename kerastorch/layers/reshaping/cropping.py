"""Layers that crop spatial axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..._core import arguments
from ..._core.registry import keras_layer
from ..base.spatial import Spatial, data_format_of
from ..base.stateless import Sizes

__all__ = ["Cropping2D"]


class BaseCropping(Spatial):
    """Cuts at the ends of `rank` spatial axes; `Cropping2D` documents the arguments."""

    def __init__(
        self,
        cropping: Any = 0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(type(self).__name__, data_format)
        self.cropping = arguments.pairs(type(self).__name__, "cropping", cropping, self.rank)
        cuts = [slice(before, -after or None) for before, after in self.cropping]
        self._cuts = (slice(None),) * self._first_axis + tuple(cuts)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.cropping, strict=True)
        left = tuple(None if n is None else n - sum(sides) for n, sides in axes)
        if any(n is not None and n < 1 for n in left):
            rule, layout = "a shape of more than is cut off", self.data_format
            self._refuse(argument, rule, shape, cropping=self.cropping, data_format=layout)
        return left

    def _compute(self, x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        self._new_sizes("inputs", shape, self._split(shape)[1])
        return x[self._cuts]


@keras_layer()
class Cropping2D(BaseCropping):
    """What is left of an image without some rows and columns at its sides.

    Same as `keras.layers.Cropping2D`. The output is a view of the input.

    Args:
        cropping: An integer for all four sides, two of them for (height, width), or
            ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: the same with the sizes `size - before - after`, 1 at least.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> Cropping2D(((1, 0), (0, 2)))(torch.arange(8.0).reshape(1, 2, 4, 1))[0, ..., 0]
        tensor([[4., 5.]])
    """

    rank = 2
