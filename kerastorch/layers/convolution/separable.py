"""SeparableConv1D and SeparableConv2D: a depthwise convolution, then a pointwise one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..._core.arguments import IntOrInts
from ..._core.layout import empty_weight, weight_to_kernel
from ..._core.registry import keras_layer
from ..._ops.convolution import CONVOLUTIONS, convolve_dynamic
from ..._ops.convolution_cpu import conv1x1_as_matmul
from ..._ops.tracing import is_compiling_dynamic_training
from ..base.layer import Layer
from ..base.weights import Shape, declare_weight
from . import separable_conversion
from .base import BaseConv
from .conv import is_compiling
from .depthwise import DepthwiseConv, declare_depthwise_kernel

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..base.functional import Chain

__all__ = [
    *("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D"),
]


class SeparableConv(DepthwiseConv):
    """A depthwise convolution over `rank` axes, then a 1x1 one over all channels."""

    weight_specs = (
        declare_depthwise_kernel("depthwise_weight", "depthwise_kernel"),
        declare_weight(
            "pointwise_weight",
            "pointwise_kernel",
            initializer="pointwise_initializer",
            regularizer="pointwise_regularizer",
            constraint="pointwise_constraint",
            view=weight_to_kernel,
            empty=empty_weight,
        ),
        declare_weight("bias", "bias", when="use_bias"),
    )
    renamed_arguments: ClassVar = {
        "nb_filter": "filters",
        "border_mode": "padding",
        "subsample": "strides",
        "bias": "use_bias",
        "b_regularizer": "bias_regularizer",
        "b_constraint": "bias_constraint",
    }
    removed_arguments = DepthwiseConv.removed_arguments[1:]  # it has filters
    fixed_arguments = ("filters", *DepthwiseConv.fixed_arguments)
    depthwise_weight: Tensor
    pointwise_weight: Tensor

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: IntOrInts = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super(BaseConv, self).__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._set_geometry(filters, kernel_size, strides, padding, data_format, dilation_rate)
        self._set_multiplier(depth_multiplier)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        self._cache_call_constants()
        self._register_weights(device, input_shape)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3.

        Keras 2 wrote the arguments of its base class, which meant nothing. Keras 1 had one
        initializer for both kernels.
        """
        upgraded = super().upgrade_config(config)
        for argument in ("initializer", "regularizer", "constraint"):
            upgraded.pop(f"kernel_{argument}", None)
        if "init" in upgraded:
            init = upgraded.pop("init")
            upgraded |= {"depthwise_initializer": init, "pointwise_initializer": init}
        return upgraded

    def _on_build(self) -> None:
        self._set_groups()

    def _count_filters(self, channels: int | None) -> int | None:
        return self.filters

    def _parameter_shapes(self, weight: Shape) -> dict[str, Shape]:
        pointwise = (self.filters, weight[0], *(1,) * self.rank)
        shapes = {"depthwise_weight": weight, "pointwise_weight": pointwise}
        return {**shapes, "bias": (self.filters,)} if self.use_bias else shapes

    @property
    def depthwise_kernel(self) -> Tensor:
        """The view (*kernel_size, channels, depth_multiplier) of `depthwise_weight`."""
        self._require_built("depthwise_kernel")
        return self._view_in_keras_order(self.weight_specs[0], self.depthwise_weight)

    @property
    def pointwise_kernel(self) -> Tensor:
        """The view (1, ..., channels * depth_multiplier, filters) of `pointwise_weight`."""
        self._require_built("pointwise_kernel")
        return weight_to_kernel(self.pointwise_weight)

    # The computation

    forward = Layer.forward

    def _prepare_input(self, inputs: Any) -> Tensor:
        weight = self._tensor("depthwise_weight")
        if isinstance(inputs, Tensor) and inputs.dtype is weight.dtype and not self._always_casts:
            x = inputs
        else:
            x, _ = self._cast(self._as_tensor(inputs), weight.dtype)
        self._require_rank(x)
        return x

    def _as_function(self) -> Chain:
        from ..base.functional import Chain, Convolution

        one, none = (1,) * self.rank, (0,) * self.rank
        depthwise = self._as_convolution(self.depthwise_weight, None)
        return Chain((depthwise, Convolution(self.pointwise_weight, self.bias, one, none, one, 1)))

    def _compute(self, x: Tensor, *, padding: tuple[int, ...] | None = None) -> Tensor:
        _, convolve, special, sizes, _, _, _ = self._constants
        names = ("depthwise_weight", "pointwise_weight", "bias")
        depthwise, pointwise, bias = map(self._tensor, names)
        if self._always_casts:
            x, dtype = self._cast(x, depthwise.dtype)
            depthwise, pointwise = depthwise.to(dtype), pointwise.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        if padding is not None:
            sizes = self._sizes_with(padding)
        if self._orders is not None and is_compiling_dynamic_training(x):
            options = self.strides, self.dilation_rate, self.groups
            y = convolve_dynamic(x, depthwise, None, *options, self.padding)
        elif special is None:
            y = convolve(x, depthwise, None, *sizes)
        else:
            y, _ = special(convolve, x, depthwise, None, *sizes)
        if self.rank == 1:  # an image of height 1
            y, pointwise = y if y.ndim > x.ndim else y.unsqueeze(2), pointwise.unsqueeze(2)
        if self._is_product:
            ones = (1, 1)
            y, fresh = conv1x1_as_matmul(torch.conv2d, y, pointwise, bias, ones, ones, 1)
        else:
            y, fresh = CONVOLUTIONS[self.rank](y, pointwise, bias), True
        return self._activate(y, fresh and not is_compiling())

    @property
    def _is_product(self) -> bool:
        """Whether the last step may be a matrix product."""
        return self.rank == 2 and self._stages[0] is None

    @property
    def _gradient_needs_output(self) -> bool:  # type: ignore[override]
        return self._stages != (None, False) or self._is_product

    # From and to plain PyTorch

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from two plain convolutions.

        Args:
            module: An `nn.Sequential` of a convolution with as many groups as channels and no
                bias, and a 1x1 one, as `to_torch` returns it.
            copy: Whether the parameters are copied; otherwise they are shared.
            **arguments: Further arguments of the layer, such as `data_format` or `activation`.

        Raises:
            ValueError: It is no such module, or Keras has no such convolution.
        """
        layer: Self = separable_conversion.from_torch(cls, module, copy, arguments)
        return layer

    to_torch = separable_conversion.to_torch


@keras_layer(aliases=["SeparableConvolution1D"])
class SeparableConv1D(SeparableConv):
    """A 1-D depthwise separable convolution layer.

    Same as `keras.layers.SeparableConv1D`, except for what `SeparableConv2D` says. Its arguments
    are those of `SeparableConv2D`, along one axis; `padding` may also be "causal", which Keras 2
    had: zeros before the sequence only, so that no output depends on later steps.

    Shape:
        - Input: (batch, steps, channels), or (batch, channels, steps) with "channels_first".
        - Output: the same with `filters` channels and the sizes of `Conv2D`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> y = SeparableConv1D(5, 3, depth_multiplier=2)(np.random.rand(4, 10, 12))
        >>> tuple(y.shape)
        (4, 8, 5)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


@keras_layer(aliases=["SeparableConvolution2D"])
class SeparableConv2D(SeparableConv):
    """A 2-D depthwise separable convolution layer: a depthwise one, then one over all channels.

    Same as `keras.layers.SeparableConv2D`, except that it is a `torch.nn.Module`, as `Conv2D` is.

    Args:
        filters: The number of output channels.
        kernel_size, strides, padding, data_format: Those of the depthwise step, as of `Conv2D`.
        dilation_rate: The same; strides and dilation may both exceed 1.
        depth_multiplier: The number of filters of each channel in the depthwise step.
        activation, use_bias: Of the output, as of `Conv2D`; nothing is between the two steps.
        depthwise_initializer, pointwise_initializer: None means "glorot_uniform".
        depthwise_regularizer, pointwise_regularizer: Regularizers of the two kernels.
        depthwise_constraint, pointwise_constraint: See `kerastorch.attach_constraints`.
        bias_initializer, bias_regularizer, bias_constraint: As of `Conv2D`.
        activity_regularizer, input_shape, device, **kwargs: The same.

    Shape:
        - Input: (batch, height, width, channels), or (batch, channels, height, width) with
          "channels_first".
        - Output: the same with `filters` channels and the sizes of `Conv2D`.
        - `depthwise_weight`: (channels * depth_multiplier, 1, kernel height, kernel width);
          `depthwise_kernel` is its view in Keras's order.
        - `pointwise_weight`: (filters, channels * depth_multiplier, 1, 1), and `pointwise_kernel`.
        - `bias`: (filters,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> y = SeparableConv2D(5, 3, activation="relu")(np.random.rand(4, 9, 8, 12))
        >>> tuple(y.shape)
        (4, 7, 6, 5)
    """

    rank = 2


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
