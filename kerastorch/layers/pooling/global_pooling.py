"""Layers that pool all spatial positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._core.registry import keras_layer
from ..base.spatial import Spatial, data_format_of
from ..base.stateless import Sizes

__all__ = ["GlobalAveragePooling2D", "GlobalAvgPool2D", "GlobalMaxPool2D", "GlobalMaxPooling2D"]


class BaseGlobalPooling(Spatial):
    """A pooling over all of the `rank` spatial axes."""

    is_flat = True
    compute_layout = "any"
    returns_new_tensor = True

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(type(self).__name__, data_format)
        self.keepdims = keepdims
        self._axes = tuple(range(self._first_axis, self._first_axis + self.rank))

    @property
    def _output_rank(self) -> int | None:
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
        if 0 in x.shape[self._first_axis : self._first_axis + self.rank]:
            rule, layout = "of sizes of 1 at least", self.data_format
            self._refuse("inputs", rule, tuple(x.shape), data_format=layout)
        return x

    def _compute(self, x: Tensor, *, axes: tuple[int, ...] | None = None) -> Tensor:
        return x.amax(self._axes if axes is None else axes, bool(self.keepdims))


@keras_layer(aliases=["GlobalAvgPool2D"])
class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over height and width.

    Same as `keras.layers.GlobalAveragePooling2D`. Half precision is averaged in float32;
    integers and booleans give float32, whatever the layer's dtype is.

    Args:
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        keepdims: Whether height and width stay as axes of size 1.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: (batch, channels); with `keepdims` (batch, 1, 1, channels) or
          (batch, channels, 1, 1).

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> GlobalAveragePooling2D()(torch.arange(12.0).reshape(1, 2, 3, 2))
        tensor([[5., 6.]])
    """

    rank = 2


@keras_layer(aliases=["GlobalMaxPool2D"])
class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The largest number over height and width.

    Same as `keras.layers.GlobalMaxPooling2D`. `GlobalAveragePooling2D` says what shapes and
    arguments it takes.

    Example:
        >>> import torch
        >>> GlobalMaxPooling2D()(torch.arange(12.0).reshape(1, 2, 3, 2))
        tensor([[10., 11.]])
    """

    rank = 2


GlobalAvgPool2D = GlobalAveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D
