"""Conv, the computation of a convolution of any rank, and Conv1D, Conv2D and Conv3D."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ... import activations
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST, permute_axes
from ..._core.registry import keras_layer
from ..._ops.convolution import Special, convolve_dynamic
from ..._ops.convolution_cpu import conv1x1_as_matmul, plan_convolution, select_convolution
from ..._ops.inplace_activations import get_inplace_activation, is_elementwise
from ..._ops.tracing import is_compiling_dynamic_training, is_compiling_static_inference
from . import torch_conversion
from .base import BaseConv

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..base.functional import Function

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D"]

is_compiling = torch.compiler.is_dynamo_compiling


class Conv(BaseConv):
    """A convolution over `rank` spatial axes."""

    compute_layout = "channels_first"

    def _cache_call_constants(self) -> None:
        """Cache what `forward` needs in one tuple: one lookup is faster than seven."""
        super()._cache_call_constants()
        last = self.data_format == "channels_last"
        special, sizes = self._geometry()
        self._special = sizes[0] if self.rank == 1 else special  # that of images or volumes
        first, back = CHANNELS_FIRST[self.rank], CHANNELS_LAST[self.rank]
        self._orders = (first, back) if last else None
        # None: permuting the axes checks it. -1: every input must be cast.
        ndim = -1 if self._always_casts else None if last else self.rank + 2
        self._constants = (
            ndim,
            self._select_convolution(),
            special,
            sizes,
            *(self._orders or (None, None)),
            # Sequences become images of height 1 in `special`, which `_finalize_output` undoes.
            self.rank == 1
            or self._stages != (None, False)
            or self.activity_regularizer is not None,
        )

    def _select_convolution(self) -> Callable[..., Tensor]:
        return select_convolution(self.kernel_size, self.strides, self.groups)

    def _geometry(self) -> tuple[Special | None, tuple[Any, ...]]:
        """Return the wrapper of the convolution, None for none, and the last call arguments."""
        window = self.kernel_size, self.strides, self.dilation_rate
        return plan_convolution(self.padding, *window, self.groups, self._stages[0] is not None)

    def _on_argument_change(self, argument: str) -> None:
        super()._on_argument_change(argument)
        if argument == "activation":  # applied to the fresh output, or in the user's layout
            activation, by_layout = self.activation, not is_elementwise(self.activation)
            pointwise: Callable[[Tensor], Tensor] | None = None
            if not by_layout and activation is not activations.linear:
                pointwise = get_inplace_activation(activation) or activation
            self._stages = pointwise, by_layout
        if argument in ("activation", "activity_regularizer") and "_constants" in vars(self):
            self._cache_call_constants()

    def forward(self, inputs: Any) -> Tensor:
        """Convolve a tensor or array, add the bias and apply the activation.

        Raises:
            ValueError: The input has the wrong rank, number of channels or size.
        """
        ndim, convolve, special, sizes, first, last, more = self._constants
        parameters: dict[str, Any] = self._parameters
        try:  # faster than nn.Module's attributes
            weight, bias = parameters["weight"], parameters["bias"]
        except KeyError:  # one of them is computed from others
            weight, bias = self.weight, self.bias
        if (
            not isinstance(inputs, Tensor)
            or inputs.dtype is not weight.dtype
            or (ndim is not None and inputs.ndim != ndim)
        ):
            inputs, weight, bias = self._cast_inputs_and_weights(inputs, weight, bias)
        fresh = True
        try:
            x = inputs if first is None else permute_axes(inputs, first)
            if is_compiling():
                outputs = self._compute_compiled(x, weight, bias, sizes, last)
                if self.activity_regularizer is not None:
                    self._record_activity(outputs)
                return outputs
            if special is None:
                y = convolve(x, weight, bias, *sizes)
            else:
                y, fresh = special(convolve, x, weight, bias, *sizes)
        except RuntimeError as error:
            raise self._translate_error(error, inputs, weight) from error
        if more or not fresh:
            return self._finalize_output(y, last, fresh)
        return y if last is None else permute_axes(y, last)

    def _finalize_output(self, y: Tensor, last: tuple[int, ...] | None, fresh: bool) -> Tensor:
        """Activate the output, new if `fresh`, and return it contiguous in the user's layout."""
        pointwise, by_layout = self._stages
        if pointwise is not None:  # out of place it makes the output contiguous
            y = pointwise(y) if fresh else self.activation(y)
        if self.rank == 1:
            y = y.squeeze(2)
        outputs = y if last is None else permute_axes(y, last)
        if by_layout:
            outputs = self.activation(outputs)
        elif not fresh and pointwise is None:
            outputs = outputs.contiguous()
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _compute_compiled(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, sizes: Any, last: Any
    ) -> Tensor:
        """Compute the output in the form that suits `torch.compile` and `torch.export` best."""
        convolve, special = self._constants[1:3]
        # Inductor fails on padding before a 3-D convolution of dynamic sizes.
        any_size = last is not None and self.rank < 3 and is_compiling_dynamic_training(x)
        if any_size:
            y = self._convolve_dynamic(x, weight, bias)
        elif special is None:
            y = convolve(x, weight, bias, *sizes)
        else:
            y, _ = special(convolve, x, weight, bias, *sizes)
        pointwise, by_layout = self._stages
        # An early activation trains faster and is fused; after the permutation any size compiles.
        early = torch.is_grad_enabled() or is_compiling_static_inference(x)
        early = early and pointwise is not None and not any_size
        if early:
            y = self.activation(y)
        if y.ndim > x.ndim:
            y = y.squeeze(2)
        if early:
            return y if last is None else permute_axes(y, last)
        if last is not None:
            return self.activation(permute_axes(y, last))
        return self._apply_as_given(self.activation, y) if by_layout else self.activation(y)

    def _convolve_dynamic(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        options = self.strides, self.dilation_rate, self.groups
        return convolve_dynamic(x, weight, bias, *options, self.padding)

    def _compute(self, x: Tensor, *, padding: tuple[int, ...] | None = None) -> Tensor:
        _, convolve, special, sizes, _, _, _ = self._constants
        weight, bias = self._tensor("weight"), self._tensor("bias")
        if self._always_casts:
            x, weight, bias = self._cast_inputs_and_weights(x, weight, bias)
        if padding is not None:
            sizes = self._sizes_with(padding)
        if is_compiling():
            return self._compute_compiled(x, weight, bias, sizes, None)
        if special is None:
            y, fresh = convolve(x, weight, bias, *sizes), True
        else:
            y, fresh = special(convolve, x, weight, bias, *sizes)
        return self._activate(y, fresh)

    def _sizes_with(self, padding: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the last call arguments with this padding in the place of "valid"."""
        if self.rank == 1:  # one number is that of both axes of an image
            return None, self.strides[0], (0, *padding), self.dilation_rate[0], self.groups
        return self.strides, padding, self.dilation_rate, self.groups

    def _activate(self, y: Tensor, fresh: bool) -> Tensor:
        """Activate an output, new if `fresh`, in `compute_layout`."""
        pointwise, by_layout = self._stages
        if pointwise is not None:
            y = pointwise(y) if fresh else self.activation(y)
        if self.rank == 1:
            y = y.squeeze(2)
        if pointwise is not None:
            return y
        if by_layout:
            return self._apply_as_given(self.activation, y)
        return y if fresh else self._apply_as_given(Tensor.contiguous, y)

    def _apply_as_given(self, function: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        """Apply a function to an output in the layout of the user."""
        orders = self._orders
        if orders is None:
            return function(y)
        return permute_axes(function(permute_axes(y, orders[1])), orders[0])

    def _is_lowerable(self) -> bool:
        return not (self._always_casts or self._stages[1])  # a user's function may return anything

    @property
    def _gradient_needs_output(self) -> bool:  # type: ignore[override]
        # In training, a matrix product's output is a view: overwriting it costs copies.
        return self._stages != (None, False) or self._special is conv1x1_as_matmul

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        return self.padding == "valid" and self._special is None

    def _as_function(self) -> Function:
        return self._as_convolution(self._merged_weight(), self.bias)

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from a plain PyTorch convolution.

        Args:
            module: An `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` of this layer's rank.
            copy: Whether the parameters are copied; otherwise they are shared, and
                `trainable=False` freezes them for both.
            **arguments: Further arguments of the layer, such as `data_format` or `activation`.

        Raises:
            ValueError: Keras has no such convolution: the padding is neither "valid" nor "same",
                or the padding mode is not zeros.
        """
        return torch_conversion.from_torch(cls, module, copy, arguments)

    to_torch = torch_conversion.to_torch


@keras_layer(aliases=["Convolution2D"], old_names=["AtrousConvolution2D", "AtrousConv2D"])
class Conv2D(Conv):
    """A 2-D convolution layer: a kernel slides over height and width.

    Same as `keras.layers.Conv2D`, except that it is a `torch.nn.Module` whose parameters `weight`
    and `bias` are in PyTorch's order, that integers and booleans are cast to the layer's compute
    dtype, and that an initializer without a seed uses `torch.manual_seed`'s generator.

    Args:
        filters: The number of output channels.
        kernel_size: Height and width of the kernel: an integer for both, or two.
        strides: The strides; they cannot exceed 1 together with a dilation.
        padding: "valid" for none, or "same" for an output size of `ceil(size / stride)`, padded as
            in TensorFlow: evenly, an odd rest at the end. Upper case is accepted.
        data_format: "channels_last" or "channels_first"; by default that of `kerastorch.config`.
        dilation_rate: The dilation along each axis.
        groups: The number of groups of channels and filters.
        activation: A name from `kerastorch.activations`, or any callable; it receives the output
            in the layer's data format.
        use_bias: Whether a bias is added.
        kernel_initializer, bias_initializer: None means "glorot_uniform", as in Keras.
        kernel_regularizer, bias_regularizer: Regularizers of the weights.
        activity_regularizer: Regularizer of the output; its loss is divided by the batch size.
        kernel_constraint, bias_constraint: See `kerastorch.attach_constraints`.
        lora_rank: The rank of a low-rank update to train in place of the kernel.
        lora_alpha: The scale of that update, times the rank.
        input_shape: The shape of one sample; the layer is then built at once.
        device: The device of the weights.
        **kwargs: `name`, `dtype` (a policy: "float32", "float16", "bfloat16", "float64",
            "mixed_float16", "mixed_bfloat16"), `trainable` and `autocast`.

    Shape:
        - Input: (batch, height, width, channels), or (batch, channels, height, width) with
          "channels_first".
        - Output: the same with `filters` channels and the sizes `ceil(size / stride)` with "same",
          `floor((size - (kernel - 1) * dilation - 1) / stride) + 1` with "valid".
        - `weight`: (filters, channels / groups, kernel height, kernel width), in channels_last
          memory order; `kernel` is its view in Keras's order.
        - `bias`: (filters,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> y = Conv2D(32, 3, activation="relu")(np.random.rand(4, 10, 10, 128))
        >>> tuple(y.shape)
        (4, 8, 8, 32)
    """

    rank = 2


@keras_layer(aliases=["Convolution1D"], old_names=["AtrousConvolution1D", "AtrousConv1D"])
class Conv1D(Conv):
    """A 1-D convolution layer: a kernel slides over the steps of a sequence.

    Same as `keras.layers.Conv1D`, with the exceptions of `Conv2D`.

    Args:
        kernel_size: The length of the kernel.
        padding: "valid" or "same" as in `Conv2D`, or "causal" for zeros before the sequence only,
            so that no output depends on later steps; the output size is that of "same".
        filters, strides, data_format, dilation_rate, groups, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, lora_rank, lora_alpha,
            input_shape, device, **kwargs: As in `Conv2D`.

    Shape:
        - Input: (batch, steps, channels), or (batch, channels, steps) with "channels_first".
        - Output: the same with `filters` channels, and the sizes of `Conv2D`.
        - `weight`: (filters, channels / groups, kernel size).
        - `bias`: (filters,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> layer = Conv1D(32, 3, padding="causal", dilation_rate=2)
        >>> tuple(layer(torch.rand(4, 10, 128)).shape)
        (4, 10, 32)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


@keras_layer(aliases=["Convolution3D"])
class Conv3D(Conv):
    """A 3-D convolution layer: a kernel slides over depth, height and width.

    Same as `keras.layers.Conv3D`, with the exceptions of `Conv2D`, and its arguments, with three
    sizes in the place of two.

    Shape:
        - Input: (batch, depth, height, width, channels), or (batch, channels, depth, height, width)
          with "channels_first".
        - Output: the same with `filters` channels, and the sizes of `Conv2D`.
        - `weight`: (filters, channels / groups, kernel depth, kernel height, kernel width).
        - `bias`: (filters,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> y = Conv3D(2, (3, 3, 2), activation="relu")(torch.rand(4, 10, 12, 8, 1))
        >>> tuple(y.shape)
        (4, 8, 10, 7, 2)
    """

    rank = 3


Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
