"""Layers that add rows and columns, take some away, or repeat them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import _check
from .._layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved
from ._base_conv import Integers
from ._spatial import Spatial
from ._weightless import Sizes

_INTERPOLATIONS = ("nearest", "bilinear")


class BaseZeroPadding(Spatial):
    """Zeros around `rank` spatial axes; `ZeroPadding2D` documents the arguments."""

    def __init__(
        self,
        padding: Any = 1,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set_data_format(data_format)
        self.padding = _check.pairs(type(self).__name__, "padding", padding, self.rank)
        behind = [] if self._first_axis == 2 else [0, 0]
        self._amounts = behind + [n for sides in reversed(self.padding) for n in sides]

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.padding, strict=True)
        return tuple(None if n is None else n + sum(sides) for n, sides in axes)

    def forward(self, inputs: Any) -> Tensor:
        """Pad a batch.

        Args:
            inputs: A tensor or array in the layer's data format.

        Returns:
            The output in the same data format.

        Raises:
            ValueError: the input has the wrong rank.
        """
        return self._returned(F.pad(self._received(inputs), self._amounts))


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
        self._set_data_format(data_format)
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

    def forward(self, inputs: Any) -> Tensor:
        """Crop a batch.

        Args:
            inputs: A tensor or array in the layer's data format.

        Returns:
            The output in the same data format, a view of the input.

        Raises:
            ValueError: the input has the wrong rank, or nothing would be left of it.
        """
        x = self._received(inputs)
        shape = tuple(x.shape)
        self._new_sizes("inputs", shape, self._split(shape)[1])
        return self._returned(x[self._cuts])


class Cropping2D(BaseCropping):
    """What is left of an image without some rows and columns at its sides.

    Same as `keras.layers.Cropping2D`.

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


class UpSampling2D(Spatial):
    """An image made larger by repeating or interpolating its rows and columns.

    Same as `keras.layers.UpSampling2D`, except that only the interpolations whose numbers are
    the same on all backends of Keras are taken.

    Args:
        size: The factors for height and width: an integer for both, or two.
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        interpolation: "nearest", which repeats, or "bilinear"; in any case.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: the same with height and width times their factors.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> UpSampling2D((1, 2))(torch.arange(4).reshape(1, 2, 2, 1))[0, ..., 0]
        tensor([[0, 0, 1, 1],
                [2, 2, 3, 3]])
    """

    rank = 2

    def __init__(
        self,
        size: Integers = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self._set_data_format(data_format)
        self.size = _check.positive_integers(owner, "size", size, self.rank)
        self.interpolation = _check.choice(owner, "interpolation", interpolation, _INTERPOLATIONS)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.size, strict=True)
        return tuple(None if n is None else n * factor for n, factor in axes)

    def forward(self, inputs: Any) -> Tensor:
        """Enlarge a batch.

        Args:
            inputs: A tensor or array in the layer's data format.

        Returns:
            The output in the same data format.

        Raises:
            ValueError: the input has the wrong rank.
        """
        x = self._received(inputs)
        outputs = self._repeated(x) if self.interpolation == "nearest" else self._bilinear(x)
        return self._returned(outputs)

    def _repeated(self, x: Tensor) -> Tensor:
        """Repeat each row and column, with one copy and for any type of numbers."""
        before, sizes, after = self._split(x.shape)
        apart = [n for size in sizes for n in (size, 1)]
        many = [n for pair in zip(sizes, self.size, strict=True) for n in pair]
        new = self._new_sizes("inputs", (), sizes)
        wide: Any = x.reshape(*before, *apart, *after).expand(*before, *many, *after)  # type: ignore[arg-type]
        repeated: Tensor = wide.reshape(*before, *new, *after)
        return repeated

    def _bilinear(self, x: Tensor) -> Tensor:
        """Interpolate between the centres of the pixels; integers are rounded, as in Keras."""
        sizes: Any = self._new_sizes("inputs", (), self._split(x.shape)[1])
        exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
        last = self.data_format == "channels_last"
        exact = axes_moved(exact, CHANNELS_FIRST[2]) if last else exact
        y = F.interpolate(exact, sizes, mode="bilinear", align_corners=False)
        y = axes_moved(y, CHANNELS_LAST[2]) if last else y
        if not x.is_floating_point() and x.dtype is not torch.bool:
            y = y.round()
        return y.to(x.dtype)
