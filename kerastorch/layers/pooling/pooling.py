"""Pooling over windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from ..._core.arguments import IntOrInts, as_choice, as_positive_ints
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST, permute_axes
from ..._core.registry import keras_layer
from ..._ops.pooling import (
    avg_pool,
    avg_pool_rows,
    max_pool,
    max_pool_rows,
    max_pool_windows,
)
from ..._ops.window_arithmetic import output_size
from ..base.computation import Computation
from ..base.stateless import SpatialLayer
from ..base.weights import Sizes
from .torch_conversion import PoolingCounterpart

if TYPE_CHECKING:
    from ..base.functional import Pooling

__all__ = [
    *("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
    *("AvgPool1D", "AvgPool2D", "AvgPool3D"),
    *("MaxPool1D", "MaxPool2D", "MaxPool3D"),
    *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"),
]

_KERAS_1 = {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}  # in 1-D


class BasePooling(SpatialLayer, PoolingCounterpart):
    """A pooling over `rank` spatial axes; `MaxPooling2D` documents the arguments."""

    _kind: ClassVar[Literal["max", "average"]]
    fixed_arguments = (*SpatialLayer.fixed_arguments, "pool_size", "strides", "padding")
    compute_layout = "channels_first"
    returns_new_tensor = True
    _gradient_needs_output = False
    _config_keys_last = ("strides", "data_format")
    renamed_arguments: ClassVar = {"border_mode": "padding"}

    def __init__(
        self,
        pool_size: IntOrInts,
        strides: IntOrInts | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, name=name, **kwargs)
        owner, rank = type(self).__name__, self.rank
        self.pool_size = as_positive_ints(owner, "pool_size", pool_size, rank)
        strides = self.pool_size if strides is None else strides
        self.strides = as_positive_ints(owner, "strides", strides, rank)
        self._same = as_choice(owner, "padding", padding, ("valid", "same")) == "same"
        self.padding = padding  # as it was written, as in Keras's config

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        padding = "same" if self._same else "valid"
        windows = zip(sizes, self.pool_size, self.strides, strict=True)
        outputs = tuple(output_size(n, k, s, 1, padding) for n, k, s in windows)
        least = 0 if self._same and argument == "input_shape" else 1
        if any(n is not None and n < least for n in outputs):
            remedy = "Use a larger input." if self._same else "Or use padding='same'."
            rule = "a shape at least as large as the window"
            self._refuse_shape(argument, rule, shape, remedy, pool_size=self.pool_size)
        return outputs

    def _as_function(self) -> Pooling:
        from ..base.functional import SAME, Pooling

        padding: Any = SAME if self._same else (0,) * self.rank
        return Pooling(self._kind, self.pool_size, self.strides, padding)


class _MaxPooling(BasePooling):
    torch_name = "MaxPool{}d"
    _kind = "max"

    def __init__(
        self,
        pool_size: IntOrInts = 2,
        strides: IntOrInts | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def _compute(self, x: Tensor, *, padding: tuple[int, ...] | None = None) -> Tensor:
        if padding is not None:
            return max_pool_windows(x, self.pool_size, self.strides, padding)
        if x.dtype is torch.bool:
            return max_pool(x.byte(), self.pool_size, self.strides, self._same).bool()
        return max_pool(x, self.pool_size, self.strides, self._same)

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        # Zeros do not change the maximum of inputs >= 0; gradients are 0 there anyway.
        fits = all(2 * pad <= size for pad, size in zip(padding, self.pool_size, strict=True))
        return nonnegative and fits and not self._same


class _AveragePooling(BasePooling):
    torch_name = "AvgPool{}d"
    _kind = "average"
    _casts_integers = True

    def _compute(self, x: Tensor) -> Tensor:
        return avg_pool(x, self.pool_size, self.strides, self._same)


class _PoolingOfRows(Computation):
    """A pooling that has a faster way for data with the channels at the end."""

    compute_layout = "any"
    rank: ClassVar[int]
    data_format: str
    pool_size: tuple[int, ...]
    strides: tuple[int, ...]
    _same: bool
    _pool_rows: ClassVar[Callable[..., Tensor | None]]  # None where it is not faster

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"channels_first": True}

    def _compute(self, x: Tensor, **options: Any) -> Tensor:
        last = self.data_format == "channels_last"
        if last and not (options or self._same):
            y = self._pool_rows(x, self.pool_size, self.strides)
            if y is not None:
                return y
        if options.pop("channels_first", not last):
            return super()._compute(x, **options)
        y = super()._compute(permute_axes(x, CHANNELS_FIRST[self.rank]), **options)
        return permute_axes(y, CHANNELS_LAST[self.rank])


@keras_layer(aliases=["MaxPool2D"])
class MaxPooling2D(_MaxPooling):
    """Max pooling over height and width.

    Same as `keras.layers.MaxPooling2D`, except that an unknown `padding` is refused.

    Args:
        pool_size: Height and width of the window: an integer for both, or two.
        strides: The strides; by default `pool_size`.
        padding: "valid" for none, or "same" for an output size of `ceil(size / stride)`, padded
            evenly, an odd rest at the end; padded elements are never the maximum.
        data_format: "channels_last" or "channels_first"; by default that of `kerastorch.config`.
        name: The layer's name.
        **kwargs: `dtype`, `trainable`, `autocast`, `activity_regularizer` and `input_shape`.

    Shape:
        - Input: as in `Conv2D`.
        - Output: the same with the sizes `floor((size - pool_size) / stride) + 1` with "valid"
          and `ceil(size / stride)` with "same".

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> MaxPooling2D(strides=1)(x)[0, ..., 0]
        tensor([[ 5.,  6.,  7.],
                [ 9., 10., 11.]])
    """

    rank = 2


@keras_layer(aliases=["MaxPool1D"])
class MaxPooling1D(_PoolingOfRows, _MaxPooling):
    """Max pooling over the steps of a sequence.

    Same as `keras.layers.MaxPooling1D`, except that an unknown `padding` is refused. See
    `MaxPooling2D` for the arguments; `pool_size` and `strides` are one integer each.

    Shape:
        - Input: (batch, steps, channels), or (batch, channels, steps) with "channels_first".
        - Output: the same with the size as in `MaxPooling2D`.

    Example:
        >>> import torch
        >>> MaxPooling1D(3, strides=2)(torch.arange(5.0).reshape(1, 5, 1))[0, :, 0]
        tensor([2., 4.])
    """

    rank = 1
    renamed_arguments: ClassVar = _KERAS_1
    _pool_rows = staticmethod(max_pool_rows)


@keras_layer(aliases=["MaxPool3D"])
class MaxPooling3D(_MaxPooling):
    """Max pooling over depth, height and width.

    Same as `keras.layers.MaxPooling3D`, except that an unknown `padding` is refused. See
    `MaxPooling2D` for the arguments; `pool_size` and `strides` are one integer or three.

    Shape:
        - Input: (batch, depth, height, width, channels), or the channels as axis 1 with
          "channels_first".
        - Output: the same with the sizes as in `MaxPooling2D`.

    Example:
        >>> import torch
        >>> MaxPooling3D((2, 1, 2))(torch.arange(8.0).reshape(1, 2, 2, 2, 1))[0, 0, :, 0, 0]
        tensor([5., 7.])
    """

    rank = 3


@keras_layer(aliases=["AvgPool2D"])
class AveragePooling2D(_AveragePooling):
    """Average pooling over height and width: the mean of each window.

    Same as `keras.layers.AveragePooling2D`, except that an unknown `padding` is refused, and that
    integers and booleans are cast to the layer's compute dtype. "same" never counts padded
    elements, as in TensorFlow and JAX; Keras's torch backend repeats the border if the padding is
    asymmetric, which gives other values. See `MaxPooling2D` for the arguments; `pool_size` has no
    default here.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> AveragePooling2D(2, padding="same")(x)[0, ..., 0]
        tensor([[ 2.5000,  4.5000],
                [ 8.5000, 10.5000]])
    """

    rank = 2


@keras_layer(aliases=["AvgPool1D"])
class AveragePooling1D(_AveragePooling):
    """Average pooling over the steps of a sequence.

    Same as `keras.layers.AveragePooling1D`, with the exceptions of `AveragePooling2D`. See
    `MaxPooling1D` for the arguments and shapes; `pool_size` has no default here.

    Example:
        >>> import torch
        >>> AveragePooling1D(2, padding="same")(torch.arange(5.0).reshape(1, 5, 1))[0, :, 0]
        tensor([0.5000, 2.5000, 4.0000])
    """

    rank = 1
    renamed_arguments: ClassVar = _KERAS_1


@keras_layer(aliases=["AvgPool3D"])
class AveragePooling3D(_PoolingOfRows, _AveragePooling):
    """Average pooling over depth, height and width.

    Same as `keras.layers.AveragePooling3D`, with the exceptions of `AveragePooling2D`. See
    `MaxPooling3D` for the arguments and shapes; `pool_size` has no default here.

    Example:
        >>> import torch
        >>> AveragePooling3D((2, 1, 2))(torch.arange(8.0).reshape(1, 2, 2, 2, 1))[0, 0, :, 0, 0]
        tensor([2.5000, 4.5000])
    """

    rank = 3
    _pool_rows = staticmethod(avg_pool_rows)


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
