"""BaseConv: a convolution of any rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from .. import _check, _dtype, _pointwise, activations, config
from .._any_size import convolve_any_size, is_inferring_one_size, is_training_any_size
from .._cpu_convolutions import convolution_for, convolve_places
from .._functional import convolve_same
from .._geometry import fixed_padding, output_size
from .._layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved, empty_weight, kernel_view
from ._building import Role, Shape
from ._kernel import Kernel
from ._lora import LoRA

Integers: TypeAlias = int | Sequence[int]
is_compiling = torch.compiler.is_dynamo_compiling


class BaseConv(Kernel):
    """A convolution over `rank` spatial axes; `Conv2D` documents the arguments.

    The weight is stored as PyTorch stores it, (filters, channels / groups, *kernel_size), in
    channels_last memory order; `kernel` is Keras's view of it.
    """

    rank: ClassVar[int]
    roles = (
        Role(
            "weight",
            "kernel",
            "kernel_initializer",
            "kernel_regularizer",
            "kernel_constraint",
            view=kernel_view,
            empty=empty_weight,
        ),
        Role("bias", "bias", "bias_initializer", "bias_regularizer", "bias_constraint"),
        *LoRA.roles,
    )
    _settled = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "groups",
        "use_bias",
    )

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
        self.filters = _check.positive_integer(owner, "filters", filters)
        self.kernel_size = _check.positive_integers(owner, "kernel_size", kernel_size, rank)
        self.strides = _check.positive_integers(owner, "strides", strides, rank)
        self.padding = _check.choice(owner, "padding", padding, ("valid", "same"))
        data_format = config.image_data_format() if data_format is None else data_format
        layouts = ("channels_last", "channels_first")
        self.data_format = _check.choice(owner, "data_format", data_format, layouts)
        self.dilation_rate = _check.positive_integers(owner, "dilation_rate", dilation_rate, rank)
        self.groups = _check.positive_integer(owner, "groups", groups)
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
        self._register_weights(_dtype.torch_dtype(self.dtype), device)
        if input_shape is not None:
            shape = _check.shape(owner, "input_shape", input_shape, rank + 1, batch=False)
            self.build((None, *shape))

    def _check_relations(self) -> None:
        if self.filters % self.groups:
            self._refuse("filters", "divisible by `groups`", self.filters, groups=self.groups)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            remedy = "No layer of Keras has both above 1."
            rule = "1 where `dilation_rate` exceeds 1"
            dilation = self.dilation_rate
            self._refuse("strides", rule, self.strides, remedy, dilation_rate=dilation)

    def _set_constants(self) -> None:
        """Keep together what `forward` needs at every call: one look-up is quicker than seven."""
        last = self.data_format == "channels_last"
        mixed = self._policy.compute_dtype != self._policy.variable_dtype
        special, sizes = self._geometry()
        # None: to move the axes checks it. -1: no input fits as it is.
        ndim = -1 if mixed or self.lora_enabled else None if last else self.rank + 2
        self._constants = (
            ndim,
            convolution_for(self.kernel_size, self.strides, self.groups),
            special,
            sizes,
            CHANNELS_FIRST[self.rank] if last else None,
            CHANNELS_LAST[self.rank] if last else None,
            self._stages != (None, False) or self.activity_regularizer is not None,
        )

    def _geometry(self) -> tuple[Callable[..., tuple[Tensor, bool]] | None, tuple[Any, ...]]:
        """Return what wraps the convolution, None for nothing, and the last arguments to call.

        PyTorch takes one integer for equal sizes, and no argument for its default, in less time.
        """
        kernel_size, stride, dilation = self.kernel_size, self.strides, self.dilation_rate
        places = (self.rank, self.groups, set(kernel_size)) == (2, 1, {1})
        # An activation takes more memory on a product's output, which is a view, in training.
        if places and (max(stride) > 1 or self._stages[0] is None):
            return convolve_places, (stride, dilation, self.groups)
        padding = fixed_padding(self.padding, kernel_size, stride, dilation)
        if padding is None:
            return convolve_same, (kernel_size, stride, dilation, self.groups)
        if max(*dilation, self.groups) == 1:
            return None, (_shortened(stride), _shortened(padding))
        return None, (stride, padding, dilation, self.groups)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("activation", "activity_regularizer") and "_constants" in self.__dict__:
            self._set_constants()

    def _settle_activation(self, activation: Callable[[Tensor], Tensor]) -> None:
        """Decide where the activation goes: on the fresh output, or on the user's layout."""
        pointwise: Callable[[Tensor], Tensor] | None = None
        by_layout = not _pointwise.is_elementwise(activation)
        if not by_layout and activation is not activations.linear:
            pointwise = _pointwise.in_place(activation) or activation
        self._stages = pointwise, by_layout

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
        return _check.shape(owner, argument, input_shape, self.rank + 2, data_format=layout)

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

    # The computation

    def forward(self, inputs: Any) -> Tensor:
        """Convolve a batch, add the bias and apply the activation.

        Args:
            inputs: A tensor or array in the layer's data format.

        Returns:
            The output in the same data format.

        Raises:
            ValueError: the input has the wrong rank, number of channels or size.
        """
        ndim, convolve, special, sizes, first, last, more = self._constants
        parameters: dict[str, Any] = self._parameters
        try:  # one look-up for both: nn.Module's attributes cost more
            weight, bias = parameters["weight"], parameters["bias"]
        except KeyError:  # one of them is computed from others
            weight, bias = self.weight, self.bias
        if (
            not isinstance(inputs, Tensor)
            or inputs.dtype is not weight.dtype
            or (ndim is not None and inputs.ndim != ndim)
        ):
            inputs, weight, bias = self._made_to_fit(inputs, weight, bias)
        fresh = True
        try:
            x = inputs if first is None else axes_moved(inputs, first)
            if is_compiling():
                return self._compiled(x, weight, bias, special, sizes, last)
            if special is None:
                y = convolve(x, weight, bias, *sizes)
            else:
                y, fresh = special(convolve, x, weight, bias, *sizes)
        except RuntimeError as error:
            raise self._explained(error, inputs, weight) from error
        if more or not fresh:
            return self._finished(y, last, fresh)
        return y if last is None else axes_moved(y, last)

    def _finished(self, y: Tensor, last: tuple[int, ...] | None, fresh: bool) -> Tensor:
        """Return the output of a convolution: activated, in the user's layout, as whole memory.

        Args:
            y: (batch, filters, *spatial).
            last: The order of axes of the user's layout; None where it is that of `y`.
            fresh: Whether `y` is all of a tensor that nothing else reads, and no view of it.
        """
        pointwise, by_layout = self._stages
        if pointwise is not None:  # out of place it makes a whole tensor of a part
            y = pointwise(y) if fresh else self.activation(y)
        outputs = y if last is None else axes_moved(y, last)
        if by_layout:
            outputs = self.activation(outputs)
        elif not fresh and pointwise is None:
            outputs = outputs.contiguous()
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _compiled(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        special: Callable[..., tuple[Tensor, bool]] | None,
        sizes: tuple[Any, ...],
        last: tuple[int, ...] | None,
    ) -> Tensor:
        """Return the output in the form that `torch.compile` and `torch.export` take best.

        The activation is out of place: before the axes go back it trains faster, and inductor
        joins it with the convolution; after it any size compiles.
        """
        convolve = self._constants[1]
        any_size = last is not None and is_training_any_size(x)
        if any_size:
            options = self.strides, self.dilation_rate, self.groups
            y = convolve_any_size(x, weight, bias, *options, same=self.padding == "same")
        elif special is None:
            y = convolve(x, weight, bias, *sizes)
        else:
            y, _ = special(convolve, x, weight, bias, *sizes)
        elementwise = self._stages[0] is not None
        early = torch.is_grad_enabled() or is_inferring_one_size(x)
        before = elementwise and early and not any_size
        y = self.activation(y) if before else y
        outputs = y if last is None else axes_moved(y, last)
        outputs = outputs if before else self.activation(outputs)
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    @property
    def _moved_inside(self) -> bool:
        return self.data_format == "channels_last"

    def _inside(self, x: Any, spare: Any, geometry: Any = None) -> Tensor | None:
        ndim, convolve, special, sizes, _, _, more = self._constants
        weight: Any = self._parameters.get("weight")
        if weight is None or ndim == -1 or x.dtype is not weight.dtype or x.ndim != 4:
            return None
        if more and self._stages[1]:
            return None
        if geometry is not None:
            special, sizes = None, geometry
        bias, fresh = self._tensor("bias"), True
        if is_compiling():
            return self._compiled(x, weight, bias, special, sizes, None)
        if special is None:
            y = convolve(x, weight, bias, *sizes)
        else:
            y, fresh = special(convolve, x, weight, bias, *sizes)
        pointwise = self._stages[0]
        if pointwise is not None:
            return pointwise(y) if fresh else self.activation(y)
        return y if fresh else y.contiguous(memory_format=torch.channels_last)

    def _inside_padded(self, x: Tensor, padding: tuple[int, ...]) -> Tensor | None:
        """Do as `_inside` with zeros around the image.

        Args:
            x: (batch, channels, height, width).
            padding: How many on both sides of the height, and of the width.
        """
        if self.padding != "valid" or self._constants[2] is not None:
            return None
        return self._inside(x, False, (self.strides, padding, self.dilation_rate, self.groups))

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


def _shortened(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return one integer for equal sizes."""
    return sizes[0] if len(set(sizes)) == 1 else sizes
