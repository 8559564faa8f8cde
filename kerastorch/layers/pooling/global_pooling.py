"""Pooling over all spatial positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._core.registry import keras_layer
from ..base.masks import to_mask
from ..base.stateless import SpatialLayer
from ..base.weights import Sizes
from .torch_conversion import GlobalPoolingCounterpart

__all__ = [
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
    *("GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D"),
    *("GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPool3D"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
]


_EXACT = (torch.float32, torch.float64)


class BaseGlobalPooling(SpatialLayer, GlobalPoolingCounterpart):
    """A pooling over all of the `rank` spatial axes."""

    is_flat = True
    compute_layout = "any"
    returns_new_tensor = True

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.keepdims = keepdims
        axes = tuple(range(self._first_axis, self._first_axis + self.rank))
        self._axes: Any = axes[0] if self.rank == 1 else axes  # torch takes longer for a tuple

    @property
    def _output_rank(self) -> int | None:  # type: ignore[override]
        return None if self.keepdims else 2

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"axes": tuple(range(2, rank))}

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        return (1,) * self.rank if self.keepdims else ()


class _GlobalAveragePooling(BaseGlobalPooling):
    torch_name = "AdaptiveAvgPool{}d"

    def _compute(self, x: Tensor, *, axes: tuple[int, ...] | None = None) -> Tensor:
        keep, axes = bool(self.keepdims), self._axes if axes is None else axes
        if x.dtype in _EXACT:
            return x.mean(axes, keep)
        y = x.mean(axes, keep, dtype=torch.float32)
        return y.to(x.dtype) if x.is_floating_point() else y


class _GlobalMaxPooling(BaseGlobalPooling):
    torch_name = "AdaptiveMaxPool{}d"

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        if argument == "inputs" and 0 in sizes:
            self._refuse_shape(argument, "of sizes of 1 at least", shape)
        return super()._new_sizes(argument, shape, sizes)

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


@keras_layer(aliases=["GlobalAvgPool1D"])
class GlobalAveragePooling1D(_GlobalAveragePooling):
    """The mean over the steps of a sequence.

    Same as `keras.layers.GlobalAveragePooling1D`. See `GlobalAveragePooling2D` for the arguments
    and shapes; the input is that of `MaxPooling1D`.

    Example:
        >>> import torch
        >>> GlobalAveragePooling1D()(torch.arange(6.0).reshape(1, 3, 2))
        tensor([[2., 3.]])
    """

    rank = 1
    supports_masking = True
    call_arguments = ("mask",)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: the output has no steps."""

    def forward(self, inputs: Any, mask: Any = None) -> Tensor:
        """Average the steps.

        Args:
            inputs: The sequences.
            mask: Which steps count (batch, steps); where none does, the mean is NaN.

        Raises:
            ValueError: The layer does not accept such an input or mask.
        """
        if mask is None:
            return super().forward(inputs)
        x, axis = self._prepare_input(inputs), self._first_axis
        valid = to_mask(self, mask, (x.shape[0], x.shape[axis]), x.device).unsqueeze(3 - axis)
        dtype = x.dtype if x.dtype is torch.float64 else torch.float32
        total = torch.where(valid, x, 0).sum(axis, bool(self.keepdims), dtype=dtype)
        outputs = total / valid.sum(axis, bool(self.keepdims), dtype=dtype)
        outputs = outputs.to(x.dtype) if x.is_floating_point() else outputs
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs


@keras_layer(aliases=["GlobalAvgPool3D"])
class GlobalAveragePooling3D(_GlobalAveragePooling):
    """The mean over depth, height and width.

    Same as `keras.layers.GlobalAveragePooling3D`. See `GlobalAveragePooling2D` for the arguments
    and shapes; the input is that of `MaxPooling3D`.

    Example:
        >>> import torch
        >>> GlobalAveragePooling3D()(torch.arange(24.0).reshape(1, 2, 3, 2, 2))
        tensor([[11., 12.]])
    """

    rank = 3


@keras_layer(aliases=["GlobalMaxPool1D"])
class GlobalMaxPooling1D(_GlobalMaxPooling):
    """The maximum over the steps of a sequence.

    Same as `keras.layers.GlobalMaxPooling1D`. See `GlobalAveragePooling2D` for the arguments
    and shapes; the input is that of `MaxPooling1D`.

    Example:
        >>> import torch
        >>> GlobalMaxPooling1D()(torch.arange(6.0).reshape(1, 3, 2))
        tensor([[4., 5.]])
    """

    rank = 1


@keras_layer(aliases=["GlobalMaxPool3D"])
class GlobalMaxPooling3D(_GlobalMaxPooling):
    """The maximum over depth, height and width.

    Same as `keras.layers.GlobalMaxPooling3D`. See `GlobalAveragePooling2D` for the arguments
    and shapes; the input is that of `MaxPooling3D`.

    Example:
        >>> import torch
        >>> GlobalMaxPooling3D()(torch.arange(24.0).reshape(1, 2, 3, 2, 2))
        tensor([[22., 23.]])
    """

    rank = 3


GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
