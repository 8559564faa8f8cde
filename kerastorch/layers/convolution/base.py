"""BaseConv: the arguments and shapes of a convolution of any rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import dtype_policies
from ..._core import arguments
from ..._core.arguments import IntOrInts
from ..._core.layout import empty_weight, weight_to_kernel
from ..._ops.window_arithmetic import output_size
from ..base.kernel import KernelLayer
from ..base.lora import LoRAMixin
from ..base.stateless import resolve_data_format
from ..base.weights import Shape, Sizes, declare_weight


class BaseConv(KernelLayer):
    """The arguments, documented in `Conv2D`, and shapes of a convolution over `rank` axes.

    The weight is stored as PyTorch stores it, (filters, channels / groups, *kernel_size), in
    channels_last memory order; `kernel` is Keras's view.
    """

    rank: ClassVar[int]
    weight_specs = (
        declare_weight("weight", "kernel", view=weight_to_kernel, empty=empty_weight),
        declare_weight("bias", "bias", when="use_bias"),
        *LoRAMixin.weight_specs,
    )
    renamed_arguments: ClassVar = {
        **KernelLayer.renamed_arguments,
        "nb_filter": "filters",
        "border_mode": "padding",
        "subsample": "strides",
    }
    fixed_arguments = (
        *("filters", "kernel_size", "strides", "padding", "data_format"),
        *("dilation_rate", "groups", "use_bias"),
    )
    _omit_config_if_unset = ("lora_rank", "lora_alpha")

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
        owner, rank = type(self).__name__, self.rank
        self.filters = arguments.as_positive_int(owner, "filters", filters)
        self.kernel_size = arguments.as_positive_ints(owner, "kernel_size", kernel_size, rank)
        self.strides = arguments.as_positive_ints(owner, "strides", strides, rank)
        self.padding = arguments.as_choice(owner, "padding", padding, ("valid", "same"))
        self.data_format = resolve_data_format(owner, data_format)
        dilations = arguments.as_positive_ints(owner, "dilation_rate", dilation_rate, rank)
        self.dilation_rate = dilations
        self.groups = arguments.as_positive_int(owner, "groups", groups)
        self.activation = activation
        self.use_bias = use_bias
        self._assign_weight_arguments(locals())
        self._check_relations()
        self._set_lora(lora_rank, lora_alpha)
        self._cache_call_constants()
        self._register_weights(dtype_policies.to_torch_dtype(self.dtype), device)
        if input_shape is not None:
            shape = arguments.as_shape(owner, "input_shape", input_shape, rank + 1, batch=False)
            self.build((None, *shape))

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; Keras 1 has two kernel sizes."""
        upgraded = super().upgrade_config(config)
        if "nb_row" in upgraded:
            upgraded["kernel_size"] = (upgraded.pop("nb_row"), upgraded.pop("nb_col", None))
        return upgraded

    def _check_relations(self) -> None:
        if self.filters % self.groups:
            self._refuse("filters", "divisible by `groups`", self.filters, groups=self.groups)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            remedy = "No layer of Keras has both above 1."
            rule = "1 where `dilation_rate` exceeds 1"
            dilation = self.dilation_rate
            self._refuse("strides", rule, self.strides, remedy, dilation_rate=dilation)

    # Shapes

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None.

        Raises:
            ValueError: The shape has the wrong rank or is smaller than the kernel.
        """
        shape = self._check_shape(input_shape, "input_shape")
        sizes = self._require_room("input_shape", shape)
        if self._channel_axis == -1:
            return (shape[0], *sizes, self.filters)
        return (shape[0], self.filters, *sizes)

    def _require_room(self, argument: str, shape: Sequence[int | None]) -> list[int | None]:
        """Return the output's spatial sizes, or raise if the kernel is larger than the input.

        With "same" only an empty input is too small.
        """
        spatial = shape[1:-1] if self._channel_axis == -1 else shape[2:]
        window = self.kernel_size, self.strides, self.dilation_rate
        axes = zip(spatial, *window, strict=True)
        sizes = [output_size(n, k, s, d, self.padding) for n, k, s, d in axes]
        same = self.padding == "same"
        least = 0 if same and argument == "input_shape" else 1
        if any(size is not None and size < least for size in sizes):
            self._refuse(
                argument,
                "a shape at least as large as the kernel",
                tuple(shape),
                "Use a larger input." if same else "Use a larger input, or padding='same'.",
                kernel_size=self.kernel_size,
                dilation_rate=self.dilation_rate,
                data_format=self.data_format,
            )
        return sizes

    def _check_shape(self, input_shape: Sequence[int | None], argument: str) -> Sizes:
        owner, layout = type(self).__name__, self.data_format
        return arguments.as_shape(owner, argument, input_shape, self.rank + 2, data_format=layout)

    def _weight_shapes(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        shape, axis, layout = (
            self._check_shape(input_shape, argument),
            self._channel_axis,
            self.data_format,
        )
        channels = shape[axis]
        if not channels:
            rule = f"a shape with a known number of channels, 1 at least (axis {axis})"
            self._refuse(argument, rule, shape, data_format=layout)
        if channels % self.groups:
            rule = f"a shape whose channels (axis {axis}) `groups` divides"
            self._refuse(argument, rule, shape, groups=self.groups, data_format=layout)
        self._require_room(argument, shape)
        shapes = {"weight": (self.filters, channels // self.groups, *self.kernel_size)}
        if self.use_bias:
            shapes["bias"] = (self.filters,)
        if self.lora_rank:
            kernel_shape = (*self.kernel_size, channels // self.groups, self.filters)
            shapes.update(self._lora_shapes(kernel_shape, self.lora_rank))
        return shapes

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> list[int | None] | None:
        weight = shapes.get("weight", ())
        if len(weight) != self.rank + 2:
            return None
        shape: list[int | None] = [None] * (self.rank + 2)
        shape[self._channel_axis] = weight[1] * self.groups
        return shape

    def _require_rank(self, shape: tuple[int, ...]) -> None:
        if len(shape) != self.rank + 2:
            rule = f"of {self.rank + 2} dimensions"
            self._refuse("inputs", rule, shape, data_format=self.data_format)

    def _require_fit(self, shape: tuple[int, ...], weight: Tensor) -> None:
        self._require_rank(shape)
        channels = weight.shape[1] * self.groups
        if shape[self._channel_axis] != channels:
            rule = f"of {channels} channels along axis {self._channel_axis}"
            self._refuse("inputs", rule, shape, data_format=self.data_format)
        self._require_room("inputs", shape)

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        channels = self.weight.shape[1] * self.groups if self.built else None
        sizes = f"{channels}, {self.filters}, kernel_size={self.kernel_size}"
        differing = self._format_non_defaults(
            strides=(1,) * self.rank,
            padding="valid",
            data_format="channels_last",
            dilation_rate=(1,) * self.rank,
            groups=1,
            use_bias=True,
            lora_rank=None,
            trainable=True,
        )
        return ", ".join([sizes, *differing])
