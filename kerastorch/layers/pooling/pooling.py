"""The pooling layers: what a window holds becomes one number."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core import arguments as arguments_module
from ..._core.arguments import Integers
from ..._core.registry import keras_layer
from ..._ops.pooling import MAX_POOLINGS, pool_average, pool_max
from ..._ops.window_arithmetic import output_size
from ..base.spatial import SpatialChannelsFirst, data_format_of
from ..base.stateless import Sizes

__all__ = ["AveragePooling2D", "AvgPool2D", "MaxPool2D", "MaxPooling2D"]


class BasePooling(SpatialChannelsFirst):
    """A pooling over `rank` spatial axes; `MaxPooling2D` documents the arguments."""

    returns_new_tensor = True
    _written_last = ("strides", "data_format")
    renamed_arguments: ClassVar = {"border_mode": "padding"}

    def __init__(
        self,
        pool_size: Integers,
        strides: Integers | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        owner, rank = type(self).__name__, self.rank
        self.pool_size = arguments_module.positive_integers(owner, "pool_size", pool_size, rank)
        strides = self.pool_size if strides is None else strides
        self.strides = arguments_module.positive_integers(owner, "strides", strides, rank)
        self._same = arguments_module.choice(owner, "padding", padding, ("valid", "same")) == "same"
        self.padding = padding  # as it was written, as in Keras's config
        self.data_format = data_format_of(owner, data_format)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        padding = "same" if self._same else "valid"
        windows = zip(sizes, self.pool_size, self.strides, strict=True)
        places = tuple(output_size(n, k, s, 1, padding) for n, k, s in windows)
        least = 0 if self._same and argument == "input_shape" else 1
        if any(n is not None and n < least for n in places):
            remedy = "Use a larger input." if self._same else "Or use padding='same'."
            rule, layout = "a shape that the window fits into", self.data_format
            window = self.pool_size
            self._refuse(argument, rule, shape, remedy, pool_size=window, data_format=layout)
        return places

    def _require_fit_of(self, x: Tensor) -> None:
        shape = tuple(x.shape)
        self._new_sizes("inputs", shape, self._split(shape)[1])

    def _gradient_needs_output(self) -> bool:
        return False


class _MaxPooling(BasePooling):
    def __init__(
        self,
        pool_size: Integers = 2,
        strides: Integers | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def _compute(self, x: Tensor, *, padding: tuple[int, ...] | None = None) -> Tensor:
        if padding is not None:
            return MAX_POOLINGS[self.rank](x, self.pool_size, self.strides, padding)
        if x.dtype is torch.bool:
            return pool_max(x.byte(), self.pool_size, self.strides, self._same).bool()
        return pool_max(x, self.pool_size, self.strides, self._same)

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        # A border of zeros is not above what is >= 0; so are the gradients, which are 0 there.
        fits = all(2 * pad <= size for pad, size in zip(padding, self.pool_size, strict=True))
        return nonnegative and fits and not self._same


class _AveragePooling(BasePooling):
    _floats = True

    def _compute(self, x: Tensor) -> Tensor:
        return pool_average(x, self.pool_size, self.strides, self._same)


@keras_layer(aliases=["MaxPool2D"])
class MaxPooling2D(_MaxPooling):
    """Max pooling over height and width: the largest number of each window.

    Same as `keras.layers.MaxPooling2D`, except that an unknown `padding` is refused.

    Args:
        pool_size: Height and width of the window: an integer for both, or two.
        strides: The step of the window along each axis; by default `pool_size`.
        padding: "valid" for none, or "same" for as much as gives `ceil(size / stride)` places,
            evenly on both sides and an odd rest at the end; what is padded is never the largest.
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        name: The layer's name.
        **kwargs: `dtype`, `trainable`, `autocast`, `activity_regularizer` and `input_shape`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: the same with the sizes `floor((size - pool_size) / stride) + 1` with "valid"
          and `ceil(size / stride)` with "same".

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> MaxPooling2D(strides=1)(x)[0, ..., 0]
        tensor([[ 5.,  6.,  7.],
                [ 9., 10., 11.]])
    """

    rank = 2


@keras_layer(aliases=["AvgPool2D"])
class AveragePooling2D(_AveragePooling):
    """Average pooling over height and width: the mean of each window.

    Same as `keras.layers.AveragePooling2D`, except that

    - an unknown `padding` is refused;
    - "same" never counts what is padded, as in TensorFlow and JAX; Keras's torch backend repeats
      the border where the padding is uneven, and so gives other numbers there;
    - integer and boolean inputs are converted to the layer's compute dtype.

    `MaxPooling2D` says what shapes and arguments it takes; `pool_size` has no default here.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> AveragePooling2D(2, padding="same")(x)[0, ..., 0]
        tensor([[ 2.5000,  4.5000],
                [ 8.5000, 10.5000]])
    """

    rank = 2


MaxPool2D = MaxPooling2D
AvgPool2D = AveragePooling2D
