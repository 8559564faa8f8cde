"""Conv and Conv2D: how a convolution of any rank is computed, and the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ... import activations
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved
from ..._core.registry import keras_layer
from ..._ops import inplace_activations
from ..._ops.convolution import convolve_same
from ..._ops.convolution_cpu import convolution_for, convolve_places
from ..._ops.convolution_dynamic import convolve_any_size
from ..._ops.tracing import is_inferring_one_size, is_training_any_size
from ..._ops.window_arithmetic import fixed_padding
from .base import BaseConv
from .torch_conversion import make_from_torch, make_torch_modules

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Conv2D", "Convolution2D"]

is_compiling = torch.compiler.is_dynamo_compiling


class Conv(BaseConv):
    """A convolution over `rank` spatial axes."""

    compute_layout = "channels_first"
    returns_new_tensor = True

    # Before a call

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

    def _on_argument_change(self, argument: str) -> None:
        super()._on_argument_change(argument)
        if argument in ("activation", "activity_regularizer") and "_constants" in vars(self):
            self._set_constants()

    def _set_activation(self, activation: Callable[[Tensor], Tensor]) -> None:
        """Decide where the activation goes: on the fresh output, or on the user's layout."""
        pointwise: Callable[[Tensor], Tensor] | None = None
        by_layout = not inplace_activations.is_elementwise(activation)
        if not by_layout and activation is not activations.linear:
            pointwise = inplace_activations.in_place(activation) or activation
        self._stages = pointwise, by_layout

    # A call

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
                outputs = self._compute_compiled(x, weight, bias, special, sizes, last)
                if self.activity_regularizer is not None:
                    self._record_activity(outputs)
                return outputs
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

    def _compute_compiled(
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
        if before:
            return y if last is None else axes_moved(y, last)
        if last is None:
            return (
                self._apply_as_given(self.activation, y) if self._stages[1] else self.activation(y)
            )
        return self.activation(axes_moved(y, last))

    @property
    def input_rank(self) -> int:  # type: ignore[override]
        """The rank of the input."""
        return self.rank + 2

    @property
    def _orders(self) -> tuple[Any, Any] | None:  # type: ignore[override]
        orders = self._constants[4:6]
        return None if orders[0] is None else orders

    def _compute(self, x: Tensor, *, padding: tuple[int, ...] | None = None) -> Tensor:
        ndim, convolve, special, sizes, _, _, _ = self._constants
        weight, bias = self._tensor("weight"), self._tensor("bias")
        if ndim == -1:
            x, weight, bias = self._made_to_fit(x, weight, bias)
        if padding is not None:
            sizes = self.strides, padding, self.dilation_rate, self.groups
        if is_compiling():
            return self._compute_compiled(x, weight, bias, special, sizes, None)
        if special is None:
            y, fresh = convolve(x, weight, bias, *sizes), True
        else:
            y, fresh = special(convolve, x, weight, bias, *sizes)
        pointwise, by_layout = self._stages
        if pointwise is not None:
            return pointwise(y) if fresh else self.activation(y)
        if by_layout:
            return self._apply_as_given(self.activation, y)
        return y if fresh else self._apply_as_given(Tensor.contiguous, y)

    def _apply_as_given(self, function: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        """Return what a function makes of an output in the layout of the user."""
        orders = self._orders
        return (
            function(y)
            if orders is None
            else axes_moved(function(axes_moved(y, orders[1])), orders[0])
        )

    def _is_lowerable(self) -> bool:
        # What a function of the user's returns may be anything.
        return self._constants[0] != -1 and not self._stages[1]

    def _gradient_needs_output(self) -> bool:
        # A product's output is a view in training: to overwrite it costs copies.
        return self._stages != (None, False) or self._constants[2] is convolve_places

    def _is_nonnegative(self) -> bool:
        return self.activation is activations.relu or self.activation is activations.relu6

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        return self.padding == "valid" and self._constants[2] is None

    # Plain PyTorch

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer that computes what a plain PyTorch convolution computes.

        Args:
            module: An `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` of this layer's rank.
            copy: Whether the layer gets copies of the parameters; otherwise it shares them, and
                `trainable=False` freezes them for both.
            **arguments: Further arguments of the layer, such as `data_format` or `activation`.

        Raises:
            ValueError: Keras has no such convolution: other padding than "valid" or "same", or
                another padding mode than zeros.
        """
        return make_from_torch(cls, module, copy, arguments)

    def to_torch(
        self, input_size: int | Sequence[int] | None = None, *, copy: bool = False
    ) -> nn.Module:
        """Return the plain PyTorch modules that compute what this layer computes.

        They take and return (batch, channels, *spatial), whatever the layer's data format.

        Args:
            input_size: The sizes of the spatial axes; needed where "same" padding depends on
                them, which is where a stride exceeds 1.
            copy: Whether the modules get copies of the parameters; otherwise they share them.

        Returns:
            An `nn.Conv2d` (of the layer's rank), or an `nn.Sequential` of padding, convolution
            and activation where there is more to do.

        Raises:
            ValueError: the padding depends on the size and none is given, or the layer does what
                no plain module does.
        """
        return make_torch_modules(self, input_size, copy)


@keras_layer(aliases=["Convolution2D"])
class Conv2D(Conv):
    """A 2-D convolution layer: a kernel slides over height and width.

    Same as `keras.layers.Conv2D`, except that

    - it is a `torch.nn.Module`: `weight` and `bias` are parameters in PyTorch's order;
    - integer and boolean inputs are converted to the layer's compute dtype;
    - an initializer without a seed draws from `torch.manual_seed`'s generator.

    Args:
        filters: The number of output channels.
        kernel_size: Height and width of the kernel: an integer for both, or two.
        strides: The step of the window along each axis; not above 1 with a dilation.
        padding: "valid" for none, or "same" for as much as gives `ceil(size / stride)` places,
            evenly on both sides and an odd rest at the end, as TensorFlow pads; in any case.
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        dilation_rate: The distance of the kernel's elements along each axis.
        groups: The number of groups that channels and filters are split into.
        activation: What is applied to the output: a name from `kerastorch.activations`, or any
            callable; it gets the output in the layer's data format.
        use_bias: Whether a bias is added to the output.
        kernel_initializer: How the kernel starts; None means "glorot_uniform".
        bias_initializer: How the bias starts; None means "glorot_uniform", as in Keras.
        kernel_regularizer: What adds a loss term for the kernel.
        bias_regularizer: What adds a loss term for the bias.
        activity_regularizer: What adds a loss term for the output, divided by the batch size.
        kernel_constraint: What projects the kernel after a step of the optimizer; see
            `kerastorch.attach_constraints`.
        bias_constraint: What projects the bias then.
        lora_rank: The rank of a difference to train in the place of the kernel.
        lora_alpha: The scale of that difference, times the rank.
        input_shape: The shape of one input, without the batch; the layer is then built at once.
        device: Where the weights live.
        **kwargs: `name`, `dtype` (a policy: "float32", "float16", "bfloat16", "float64",
            "mixed_float16", "mixed_bfloat16"), `trainable` and `autocast`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: (batch, new_height, new_width, filters), or (batch, filters, new_height,
          new_width), where a new size is `ceil(size / stride)` with "same" and
          `floor((size - (kernel - 1) * dilation - 1) / stride) + 1` with "valid".

    Attributes:
        weight: (filters, channels / groups, kernel height, kernel width), in channels_last
            memory order.
        bias: (filters,), or None.
        kernel: The view (kernel height, kernel width, channels / groups, filters) of `weight`.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> x = np.random.rand(4, 10, 10, 128)
        >>> y = Conv2D(32, 3, activation="relu")(x)
        >>> tuple(y.shape)
        (4, 8, 8, 32)
    """

    rank = 2


Convolution2D = Conv2D


def _shortened(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return one integer for equal sizes."""
    return sizes[0] if len(set(sizes)) == 1 else sizes
