"""Pooling to an output of given sizes."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..._core.arguments import IntOrInts, as_positive_ints
from ..._core.registry import keras_layer
from ..._ops.pooling import ADAPTIVE_AVERAGES, adaptive_max_pool
from ..base.stateless import SpatialLayer
from ..base.torch_conversion import TorchCounterpart
from ..base.weights import Sizes

__all__ = [
    *("AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D"),
    *("AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"),
]


class BaseAdaptivePooling(SpatialLayer, TorchCounterpart):
    """A pooling to given sizes; `AdaptiveAveragePooling2D` documents the arguments."""

    compute_layout = "channels_first"
    returns_new_tensor = True
    _gradient_needs_output = False
    torch_arguments: ClassVar = {"output_size": "output_size"}
    torch_only: ClassVar = {"return_indices": False}
    fixed_arguments = (*SpatialLayer.fixed_arguments, "output_size")

    def __init__(
        self, output_size: IntOrInts, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        rank, several = self.rank, isinstance(output_size, (list, tuple))
        wrong_count = several and rank > 1 and len(output_size) != rank  # type: ignore[arg-type]
        if wrong_count or not (several or isinstance(output_size, int)):
            rule = f"a positive integer or {rank} of them"
            self._refuse_argument("output_size", rule, output_size, error=TypeError)
        self.output_size = as_positive_ints(type(self).__name__, "output_size", output_size, rank)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        if argument == "inputs" and 0 in sizes:
            self._refuse_shape(argument, "of sizes of 1 at least", shape)
        return self.output_size


class _AdaptiveAveragePooling(BaseAdaptivePooling):
    torch_name = "AdaptiveAvgPool{}d"
    _casts_integers = True

    def _compute(self, x: Tensor) -> Tensor:
        return ADAPTIVE_AVERAGES[self.rank](x, self.output_size)


class _AdaptiveMaxPooling(BaseAdaptivePooling):
    torch_name = "AdaptiveMaxPool{}d"

    def _compute(self, x: Tensor) -> Tensor:
        return adaptive_max_pool(x, self.output_size)


@keras_layer()
class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """Average pooling of height and width to a given size, whatever the input's is.

    Same as `keras.layers.AdaptiveAveragePooling2D`, except that integers and booleans are cast to
    the layer's compute dtype. The windows are those of `torch.nn.AdaptiveAvgPool2d`: output `i` of
    `n` is the mean of the input from `floor(i * size / n)` to before `ceil((i + 1) * size / n)`.

    Args:
        output_size: Height and width of the output: an integer for both, or two.
        data_format, **kwargs: As in `MaxPooling2D`.

    Shape:
        - Input: as in `Conv2D`.
        - Output: the same with height and width `output_size`.

    Raises:
        TypeError: `output_size` is no integer and no two values.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> AdaptiveAveragePooling2D((1, 2))(x)[0, ..., 0]
        tensor([[4.5000, 6.5000]])
    """

    rank = 2


@keras_layer()
class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """Average pooling of the steps of a sequence to a given size, whatever the input's is.

    Same as `keras.layers.AdaptiveAveragePooling1D`, except that integers and booleans are cast. See
    `AdaptiveAveragePooling2D` for the arguments and windows; the input is that of `MaxPooling1D`.

    Example:
        >>> import torch
        >>> AdaptiveAveragePooling1D(2)(torch.arange(5.0).reshape(1, 5, 1))[0, :, 0]
        tensor([1., 3.])
    """

    rank = 1


@keras_layer()
class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """Average pooling of depth, height and width to a given size, whatever the input's is.

    Same as `keras.layers.AdaptiveAveragePooling3D`, except that integers and booleans are cast. See
    `AdaptiveAveragePooling2D` for the arguments and windows; the input is that of `MaxPooling3D`.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 2, 2, 3, 1)
        >>> AdaptiveAveragePooling3D((1, 1, 2))(x).flatten()
        tensor([5., 6.])
    """

    rank = 3


@keras_layer()
class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """Max pooling of the steps of a sequence to a given size, whatever the input's is.

    Same as `keras.layers.AdaptiveMaxPooling1D`. See
    `AdaptiveAveragePooling2D` for the arguments and windows; the input is that of `MaxPooling1D`.

    Example:
        >>> import torch
        >>> AdaptiveMaxPooling1D(2)(torch.arange(5.0).reshape(1, 5, 1))[0, :, 0]
        tensor([2., 4.])
    """

    rank = 1


@keras_layer()
class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """Max pooling of height and width to a given size, whatever the input's is.

    Same as `keras.layers.AdaptiveMaxPooling2D`. See
    `AdaptiveAveragePooling2D` for the arguments and windows; the input is that of `MaxPooling2D`.

    Example:
        >>> import torch
        >>> AdaptiveMaxPooling2D((1, 2))(torch.arange(12.0).reshape(1, 3, 4, 1))[0, ..., 0]
        tensor([[ 9., 11.]])
    """

    rank = 2


@keras_layer()
class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """Max pooling of depth, height and width to a given size, whatever the input's is.

    Same as `keras.layers.AdaptiveMaxPooling3D`. See
    `AdaptiveAveragePooling2D` for the arguments and windows; the input is that of `MaxPooling3D`.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).reshape(1, 2, 2, 3, 1)
        >>> AdaptiveMaxPooling3D((1, 1, 2))(x).flatten()
        tensor([10., 11.])
    """

    rank = 3
