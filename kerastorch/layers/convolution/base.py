"""BaseConv: the arguments and shapes of a convolution of any rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..._core.arguments import IntOrInts, as_positive_int
from ..base.kernel import (
    OLD_GEOMETRY,
    KernelLayer,
    require_room,
    set_geometry,
    upgrade_geometry,
)
from ..base.weights import Shape, Sizes

if TYPE_CHECKING:
    from ..base.functional import Convolution


class BaseConv(KernelLayer):
    """The arguments, documented in `Conv2D`, and shapes of a convolution over `rank` axes."""

    rank: ClassVar[int]
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")
    is_transposed: ClassVar[bool] = False
    renamed_arguments: ClassVar = {**KernelLayer.renamed_arguments, **OLD_GEOMETRY}
    fixed_arguments: ClassVar[tuple[str, ...]] = (
        *("filters", "kernel_size", "strides", "padding", "data_format"),
        *("dilation_rate", "groups", "use_bias"),
    )
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    data_format: str
    dilation_rate: tuple[int, ...]
    strides_dilate: ClassVar[bool] = False  # whether strides and dilation may both exceed 1
    _omit_config_if_unset = ("lora_rank", "lora_alpha")
    _shape_arguments = ("data_format",)
    _channel_arguments: ClassVar[tuple[str, ...]] = ("groups",)  # 1 by default

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: IntOrInts = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._set_geometry(filters, kernel_size, strides, padding, data_format, dilation_rate)
        self.groups = as_positive_int(type(self).__name__, "groups", groups)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        if self.filters % self.groups:
            self._refuse_argument(
                "filters", "divisible by `groups`", self.filters, groups=self.groups
            )
        self._set_lora(lora_rank, lora_alpha)
        self._register_weights(device, input_shape)

    _set_geometry = set_geometry

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; Keras 1 has a size for each axis."""
        return upgrade_geometry(cls.rank, super().upgrade_config(config))

    def _require_room(self, argument: str, shape: Sequence[int | None]) -> list[int | None]:
        """Return the output's spatial sizes, or raise if the input is smaller than the kernel."""
        spatial = shape[1:-1] if self._channel_axis == -1 else shape[2:]
        return require_room(self, argument, shape, spatial)

    @classmethod
    def _find_channel_arguments(cls, owner: str, module: Any) -> dict[str, int]:
        """Return the arguments for the channels of a plain PyTorch convolution, or raise."""
        return {"filters": module.out_channels, "groups": module.groups}

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        sizes, axis = self._require_room(argument, shape), self._channel_axis
        filters = self._count_filters(shape[axis])
        return (shape[0], *sizes, filters) if axis == -1 else (shape[0], filters, *sizes)

    def _count_filters(self, channels: int | None) -> int | None:
        """Return the number of output channels for that of the input."""
        return self.filters

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape, axis = self._check_shape(shape, argument), self._channel_axis
        channels = shape[axis]
        if not channels:
            rule = f"a shape with a known number of channels, 1 at least (axis {axis})"
            self._refuse_shape(argument, rule, shape)
        if channels % self.groups:
            rule = f"a shape whose channels (axis {axis}) `groups` divides"
            self._refuse_shape(argument, rule, shape, groups=self.groups)
        self._require_room(argument, shape)
        return self._parameter_shapes(self._weight_shape(channels))

    def _weight_shape(self, channels: int) -> Shape:
        return (self.filters, channels // self.groups, *self.kernel_size)

    def _count_channels(self, weight: Shape) -> int:
        """Return the number of input channels for the shape of the weight."""
        return weight[1] * self.groups

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> list[int | None] | None:
        weight = shapes.get(self.weight_specs[0].parameter, ())
        if len(weight) != self.rank + 2:
            return None
        shape: list[int | None] = [None] * (self.rank + 2)
        shape[self._channel_axis] = self._count_channels(weight)
        return shape

    @property
    def _kernel_shape(self) -> Shape:
        """The shape of the weight that is the sliding kernel, in PyTorch's order."""
        return tuple(self._tensor(self.weight_specs[0].parameter).shape)

    def _require_fit(self, x: Tensor) -> None:
        self._require_rank(x)
        channels, axis = self._count_channels(self._kernel_shape), self._channel_axis
        if x.shape[axis] != channels:
            self._refuse_shape("inputs", f"of {channels} channels along axis {axis}", x.shape)
        self._require_room("inputs", x.shape)

    def _as_convolution(self, weight: Tensor, bias: Tensor | None) -> Convolution:
        """Return the convolution by these weights, for `_as_function`."""
        from ..base.functional import Convolution

        padding: Any = (0,) * self.rank if self.padding == "valid" else self.padding
        return Convolution(weight, bias, self.strides, padding, self.dilation_rate, self.groups)

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        channels = self._count_channels(self._kernel_shape) if self.built else None
        sizes = f"{channels}, {self._count_filters(channels)}, kernel_size={self.kernel_size}"
        ones, last = (1,) * self.rank, "channels_last"
        differing = self._format_non_defaults(
            strides=ones,
            padding="valid",
            data_format=last,
            dilation_rate=ones,
            **dict.fromkeys(self._channel_arguments, 1),
        )
        return ", ".join([sizes, *differing])
