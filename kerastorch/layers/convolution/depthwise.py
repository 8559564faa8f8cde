"""DepthwiseConv1D and DepthwiseConv2D: filters of one channel each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.arguments import IntOrInts, as_positive_int
from ..._core.errors import argument_error
from ..._core.layout import depthwise_weight_to_kernel, empty_weight
from ..._core.registry import keras_layer
from ..._ops.convolution_cpu import select_depthwise_convolution
from ..base.weights import Shape, WeightSpec, declare_weight
from .base import BaseConv
from .conv import Conv

__all__ = ["DepthwiseConv1D", "DepthwiseConv2D"]


def declare_depthwise_kernel(parameter: str, name: str) -> WeightSpec:
    """Declare a kernel of Keras's arguments `depthwise_initializer` and the like."""
    kinds = ("initializer", "regularizer", "constraint")
    arguments = {kind: f"depthwise_{kind}" for kind in kinds}
    return declare_weight(parameter, name, empty=empty_weight, **arguments)


class DepthwiseConv(Conv):
    """A convolution over `rank` axes of each channel with filters of its own."""

    weight_specs: ClassVar[tuple[WeightSpec, ...]] = (
        declare_depthwise_kernel("weight", "kernel"),
        declare_weight("bias", "bias", when="use_bias"),
    )
    renamed_arguments: ClassVar = {}
    removed_arguments: ClassVar[tuple[str, ...]] = (
        *("filters", "groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
        *("lora_rank", "lora_alpha"),
    )
    fixed_arguments: ClassVar[tuple[str, ...]] = (
        *("kernel_size", "strides", "padding", "depth_multiplier", "data_format"),
        *("dilation_rate", "use_bias"),
    )
    strides_dilate = True
    _config_keys_first = ("depth_multiplier",)
    _channel_arguments = ("depth_multiplier",)
    groups = 1  # until the number of channels is known

    def __init__(
        self,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: IntOrInts = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super(BaseConv, self).__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._set_geometry(1, kernel_size, strides, padding, data_format, dilation_rate)
        self._set_multiplier(depth_multiplier)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        self._cache_call_constants()
        self._register_weights(device, input_shape)

    def _set_multiplier(self, given: Any) -> None:
        argument = "depth_multiplier"
        self._require(argument, "a positive integer", given, lambda n: n > 0)
        self.depth_multiplier = as_positive_int(type(self).__name__, argument, given)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; Keras 2 has `groups`, always 1."""
        upgraded = super().upgrade_config(config)
        groups = upgraded.pop("groups", 1)
        if groups != 1:
            rule = "1, since each channel is a group of its own"
            raise ValueError(argument_error(cls.__name__, "groups", rule, groups))
        return upgraded

    def _on_build(self) -> None:
        self.filters = self._kernel_shape[0]
        self._set_groups()

    def _set_groups(self) -> None:
        self.groups = self._count_channels(self._kernel_shape)
        self._cache_call_constants()

    def _get_geometry(self) -> dict[str, Any]:
        """Return the arguments that a separable convolution's depthwise step shares with it."""
        names = ("kernel_size", "strides", "padding", "data_format", "dilation_rate")
        shared = {name: getattr(self, name) for name in (*names, "depth_multiplier")}
        return {**shared, "dtype": self.dtype_policy}

    def _count_filters(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier

    def _weight_shape(self, channels: int) -> Shape:
        return (channels * self.depth_multiplier, 1, *self.kernel_size)

    def _count_channels(self, weight: Shape) -> int:
        return weight[0] // self.depth_multiplier

    def _select_convolution(self) -> Callable[..., Tensor]:
        window = self.kernel_size, self.strides
        return select_depthwise_convolution(*window, self.groups, self.depth_multiplier)

    def _view_in_keras_order(self, spec: WeightSpec, tensor: Tensor, *also: Tensor) -> Tensor:
        if spec.name != self.weight_specs[0].name:
            return super()._view_in_keras_order(spec, tensor)
        return depthwise_weight_to_kernel(tensor, tensor.shape[0] // self.depth_multiplier)

    def _to_torch_shape(self, spec: WeightSpec, shape: Shape) -> Shape:
        if spec.name != self.weight_specs[0].name:
            return super()._to_torch_shape(spec, shape)
        if len(shape) != self.rank + 2 or shape[-1] != self.depth_multiplier:
            raise KeyError(shape)
        *sizes, channels, multiplier = shape
        return (channels * multiplier, 1, *sizes)

    @classmethod
    def _find_channel_arguments(cls, owner: str, module: Any) -> dict[str, int]:
        if module.groups != module.in_channels:
            rule, remedy = f"in_channels={module.in_channels}", "Use a Conv layer with groups."
            raise ValueError(argument_error(owner, "module.groups", rule, module.groups, remedy))
        return {"depth_multiplier": module.out_channels // module.in_channels}


@keras_layer()
class DepthwiseConv1D(DepthwiseConv):
    """A 1-D depthwise convolution layer: each channel has filters of its own.

    Same as `keras.layers.DepthwiseConv1D`, except for what `DepthwiseConv2D` says. Its arguments
    are those of `DepthwiseConv2D`, along one axis.

    Shape:
        - Input: (batch, steps, channels), or (batch, channels, steps) with "channels_first".
        - Output: the same with `channels * depth_multiplier` channels and the sizes of `Conv2D`.
        - `weight`: (channels * depth_multiplier, 1, kernel size).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> y = DepthwiseConv1D(3, depth_multiplier=2)(np.random.rand(4, 10, 12))
        >>> tuple(y.shape)
        (4, 8, 24)
    """

    rank = 1


@keras_layer()
class DepthwiseConv2D(DepthwiseConv):
    """A 2-D depthwise convolution layer: each channel has filters of its own.

    Same as `keras.layers.DepthwiseConv2D`, except that it is a `torch.nn.Module`, as `Conv2D` is.
    The weight is that of an `nn.Conv2d` with as many groups as channels.

    Args:
        kernel_size: Height and width of the kernel: an integer for both, or two.
        strides: The strides; unlike those of `Conv2D`, they may exceed 1 together with a dilation.
        depth_multiplier: The number of filters of each channel. Their outputs lie side by side.
        depthwise_initializer: As `kernel_initializer` of `Conv2D`; None means "glorot_uniform".
        depthwise_regularizer: Regularizer of the kernel.
        depthwise_constraint: See `kerastorch.attach_constraints`.
        padding, data_format, dilation_rate, activation, use_bias: As of `Conv2D`.
        bias_initializer, bias_regularizer, bias_constraint, activity_regularizer: The same.
        input_shape, device, **kwargs: The same.

    Shape:
        - Input: (batch, height, width, channels), or (batch, channels, height, width) with
          "channels_first".
        - Output: the same with `channels * depth_multiplier` channels and the sizes of `Conv2D`.
        - `weight`: (channels * depth_multiplier, 1, kernel height, kernel width); `kernel` is its
          view (kernel height, kernel width, channels, depth_multiplier).
        - `bias`: (channels * depth_multiplier,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> y = DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(np.zeros((4, 9, 8, 12)))
        >>> tuple(y.shape)
        (4, 7, 6, 24)
    """

    rank = 2
