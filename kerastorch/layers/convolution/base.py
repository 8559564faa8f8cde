"""BaseConv: the arguments of a convolution of any rank, and the shapes that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import config, dtype_policies
from ..._core import arguments
from ..._core.arguments import Integers
from ..._core.layout import empty_weight, kernel_view
from ..._ops.window_arithmetic import output_size
from ..base.kernel import Kernel
from ..base.lora import LoRA
from ..base.weights import Shape, declare_weight


class BaseConv(Kernel):
    """The arguments of a convolution over `rank` spatial axes, and the shapes that they allow.

    `Conv2D` documents them. The weight is stored as PyTorch stores it, (filters,
    channels / groups, *kernel_size), in channels_last memory order; `kernel` is Keras's view.
    """

    rank: ClassVar[int]
    roles = (
        declare_weight("weight", "kernel", view=kernel_view, empty=empty_weight),
        declare_weight("bias", "bias", when="use_bias"),
        *LoRA.roles,
    )
    renamed_arguments: ClassVar = {
        **Kernel.renamed_arguments,
        "nb_filter": "filters",
        "border_mode": "padding",
        "subsample": "strides",
    }
    fixed_arguments = (
        *("filters", "kernel_size", "strides", "padding", "data_format"),
        *("dilation_rate", "groups", "use_bias"),
    )
    _written_when_set = ("lora_rank", "lora_alpha")

    def __init__(
        self,
        filters: int,
        kernel_size: Integers,
        strides: Integers = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Integers = 1,
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
        self.filters = arguments.positive_integer(owner, "filters", filters)
        self.kernel_size = arguments.positive_integers(owner, "kernel_size", kernel_size, rank)
        self.strides = arguments.positive_integers(owner, "strides", strides, rank)
        self.padding = arguments.choice(owner, "padding", padding, ("valid", "same"))
        data_format = config.image_data_format() if data_format is None else data_format
        layouts = ("channels_last", "channels_first")
        self.data_format = arguments.choice(owner, "data_format", data_format, layouts)
        self.dilation_rate = arguments.positive_integers(
            owner, "dilation_rate", dilation_rate, rank
        )
        self.groups = arguments.positive_integer(owner, "groups", groups)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint
        self._check_relations()
        self._set_lora(lora_rank, lora_alpha)
        self._set_constants()
        self._register_weights(dtype_policies.torch_dtype(self.dtype), device)
        if input_shape is not None:
            shape = arguments.shape(owner, "input_shape", input_shape, rank + 1, batch=False)
            self.build((None, *shape))

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a config of any Keras as Keras 3 writes it; Keras 1 has two kernel sizes."""
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

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the output's shape for an input's, batch included; None stays None.

        Raises:
            ValueError: the shape has the wrong rank, or the kernel does not fit into it.
        """
        shape = self._checked_shape(input_shape, "input_shape")
        sizes = self._require_room("input_shape", shape)
        if self._channel_axis == -1:
            return (shape[0], *sizes, self.filters)
        return (shape[0], self.filters, *sizes)

    def _require_room(self, argument: str, shape: Sequence[int | None]) -> list[int | None]:
        """Return the output's sizes along the spatial axes, or raise where the kernel is too big.

        With "same" there is room in any shape but, as a real input, an empty one.
        """
        spatial = shape[1:-1] if self._channel_axis == -1 else shape[2:]
        sizes = [
            output_size(n, k, s, d, self.padding)
            for n, k, s, d in zip(
                spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True
            )
        ]
        same = self.padding == "same"
        least = 0 if same and argument == "input_shape" else 1
        if any(size is not None and size < least for size in sizes):
            self._refuse(
                argument,
                "a shape that the kernel fits into",
                tuple(shape),
                "Use a larger input." if same else "Use a larger input, or padding='same'.",
                kernel_size=self.kernel_size,
                dilation_rate=self.dilation_rate,
                data_format=self.data_format,
            )
        return sizes

    def _checked_shape(
        self, input_shape: Sequence[int | None], argument: str
    ) -> tuple[int | None, ...]:
        owner, layout = type(self).__name__, self.data_format
        return arguments.shape(owner, argument, input_shape, self.rank + 2, data_format=layout)

    def _shapes_for(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        shape = self._checked_shape(input_shape, argument)
        channels = shape[self._channel_axis]
        if not channels:
            rule = (
                f"a shape with a known number of channels, 1 at least (axis {self._channel_axis})"
            )
            self._refuse(argument, rule, shape, data_format=self.data_format)
        if channels % self.groups:
            rule = f"a shape whose channels (axis {self._channel_axis}) `groups` divides"
            layout = self.data_format
            self._refuse(argument, rule, shape, groups=self.groups, data_format=layout)
        self._require_room(argument, shape)
        shapes = {"weight": (self.filters, channels // self.groups, *self.kernel_size)}
        if self.use_bias:
            shapes["bias"] = (self.filters,)
        if self.lora_rank:
            kernel_shape = (*self.kernel_size, channels // self.groups, self.filters)
            shapes.update(self._lora_shapes(kernel_shape, self.lora_rank))
        return shapes

    def _input_shape_for(self, shapes: Mapping[str, Shape]) -> list[int | None] | None:
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
        differing = self._differing(
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
