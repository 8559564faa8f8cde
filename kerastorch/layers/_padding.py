"""Layers that add rows and columns, or take some away."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from .. import _check
from .._layout import data_format_of
from .._registry import keras_layer
from ._spatial import Spatial
from ._weightless import Sizes


class BaseZeroPadding(Spatial):
    """Zeros around `rank` spatial axes; `ZeroPadding2D` documents the arguments."""

    def __init__(
        self,
        padding: Any = 1,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(type(self).__name__, data_format)
        self.padding = _check.pairs(type(self).__name__, "padding", padding, self.rank)
        self._amounts = [n for sides in reversed(self.padding) for n in sides]

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.padding, strict=True)
        return tuple(None if n is None else n + sum(sides) for n, sides in axes)

    def _computed(self, x: Tensor) -> Tensor:
        return F.pad(x, self._amounts if self._first_axis == 2 else [0, 0, *self._amounts])

    def _inside(self, x: Any, spare: Any) -> Tensor | None:
        return F.pad(x, self._amounts) if x.ndim == 4 and x.dtype is self._compute else None


@keras_layer
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
        self.cropping = _check.pairs(type(self).__name__, "cropping", cropping, self.rank)
        cuts = [slice(before, -after or None) for before, after in self.cropping]
        self._cuts = (slice(None),) * self._first_axis + tuple(cuts)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.cropping, strict=True)
        left = tuple(None if n is None else n - sum(sides) for n, sides in axes)
        if any(n is not None and n < 1 for n in left):
            rule, layout = "a shape of more than is cut off", self.data_format
            self._refuse(argument, rule, shape, cropping=self.cropping, data_format=layout)
        return left

    def _computed(self, x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        self._new_sizes("inputs", shape, self._split(shape)[1])
        return x[self._cuts]


@keras_layer
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
