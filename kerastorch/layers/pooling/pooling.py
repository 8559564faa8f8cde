"""Pooling over windows and over all spatial positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.arguments import IntOrInts, as_choice, as_positive_ints
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST
from ..._core.registry import keras_layer
from ..._ops.pooling import MAX_POOLINGS, avg_pool, max_pool
from ..._ops.window_arithmetic import output_size
from ..base.stateless import SpatialLayer
from ..base.weights import Sizes

__all__ = [
    *("AveragePooling2D", "AvgPool2D", "MaxPool2D", "MaxPooling2D"),
    *("GlobalAveragePooling2D", "GlobalAvgPool2D", "GlobalMaxPool2D", "GlobalMaxPooling2D"),
]


class BasePooling(SpatialLayer):
    """A pooling over `rank` spatial axes; `MaxPooling2D` documents the arguments."""

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

    @property
    def _orders(self) -> tuple[Any, Any] | None:  # type: ignore[override]
        rank = self.rank
        return (CHANNELS_FIRST[rank], CHANNELS_LAST[rank]) if self._channel_axis == -1 else None

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


class _MaxPooling(BasePooling):
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
            return MAX_POOLINGS[self.rank](x, self.pool_size, self.strides, padding)
        if x.dtype is torch.bool:
            return max_pool(x.byte(), self.pool_size, self.strides, self._same).bool()
        return max_pool(x, self.pool_size, self.strides, self._same)

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        # Zeros do not change the maximum of inputs >= 0; gradients are 0 there anyway.
        fits = all(2 * pad <= size for pad, size in zip(padding, self.pool_size, strict=True))
        return nonnegative and fits and not self._same


class _AveragePooling(BasePooling):
    _casts_integers = True

    def _compute(self, x: Tensor) -> Tensor:
        return avg_pool(x, self.pool_size, self.strides, self._same)


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


class BaseGlobalPooling(SpatialLayer):
    """A pooling over all of the `rank` spatial axes."""

    is_flat = True
    compute_layout = "any"
    returns_new_tensor = True

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.keepdims = keepdims
        self._axes = tuple(range(self._first_axis, self._first_axis + self.rank))

    @property
    def _output_rank(self) -> int | None:  # type: ignore[override]
        return None if self.keepdims else 2

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"axes": tuple(range(2, rank))}

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        return (1,) * self.rank if self.keepdims else ()


class _GlobalAveragePooling(BaseGlobalPooling):
    def _compute(self, x: Tensor, *, axes: tuple[int, ...] | None = None) -> Tensor:
        keep, axes = bool(self.keepdims), self._axes if axes is None else axes
        if x.dtype in (torch.float32, torch.float64):
            return x.mean(axes, keep)
        y = x.mean(axes, keep, dtype=torch.float32)
        return y.to(x.dtype) if x.is_floating_point() else y


class _GlobalMaxPooling(BaseGlobalPooling):
    def _prepare_input(self, inputs: Any) -> Tensor:
        x = super()._prepare_input(inputs)
        if 0 in self._split(x.shape)[1]:
            self._refuse_shape("inputs", "of sizes of 1 at least", x.shape)
        return x

    def _compute(self, x: Tensor, *, axes: tuple[int, ...] | None = None) -> Tensor:
        return x.amax(self._axes if axes is None else axes, bool(self.keepdims))


@keras_layer(aliases=["GlobalAvgPool2D"])
class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over height and width.

    Same as `keras.layers.GlobalAveragePooling2D`. Half precision is averaged in float32;
    integers and booleans give float32, whatever the layer's dtype is.

    Args:
        data_format, **kwargs: As in `MaxPooling2D`.
        keepdims: Whether height and width stay as axes of size 1.

    Shape:
        - Input: as in `Conv2D`.
        - Output: (batch, channels); with `keepdims` the input's with height and width 1.

    Example:
        >>> import torch
        >>> GlobalAveragePooling2D()(torch.arange(12.0).reshape(1, 2, 3, 2))
        tensor([[5., 6.]])
    """

    rank = 2


@keras_layer(aliases=["GlobalMaxPool2D"])
class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The maximum over height and width.

    Same as `keras.layers.GlobalMaxPooling2D`. See `GlobalAveragePooling2D` for the arguments.

    Example:
        >>> import torch
        >>> GlobalMaxPooling2D()(torch.arange(12.0).reshape(1, 2, 3, 2))
        tensor([[10., 11.]])
    """

    rank = 2


MaxPool2D = MaxPooling2D
AvgPool2D = AveragePooling2D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D
