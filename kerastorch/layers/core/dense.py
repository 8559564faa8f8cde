"""Dense: a matrix product along the last axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import activations
from ..._core.arguments import as_positive_int
from ..._core.registry import keras_layer
from ..._ops import inplace_activations
from ..base.kernel import KernelLayer
from ..base.torch_conversion import TorchCounterpart, find_torch_activation
from ..base.weights import Shape, Sizes

if TYPE_CHECKING:
    from ..base.functional import MatrixProduct

__all__ = ["Dense"]


@keras_layer(old_names=["TimeDistributedDense"])
class Dense(KernelLayer, TorchCounterpart):
    """A densely connected layer: `activation(inputs @ kernel + bias)` along the last axis.

    Same as `keras.layers.Dense`, with the exceptions of `Conv2D`; moreover, "float64" is computed
    in float64, where Keras on torch loses half of the digits, and quantized layers are refused.

    Args:
        units: The size of the output's last axis.
        activation: A name from `kerastorch.activations`, or any callable.
        use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, lora_rank, input_shape,
            device, **kwargs: As in `Conv2D`.
        lora_alpha: As in `Conv2D`, but building the layer sets it to the rank, as in Keras's
            Dense; only `enable_lora` keeps another one.
        quantization_config: None; accepted since Keras writes it.

    Shape:
        - Input: (batch, ..., channels).
        - Output: (batch, ..., units).
        - `weight`: (units, channels), as in `nn.Linear`; `kernel` is its view (channels, units).
        - `bias`: (units,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> layer = Dense(3, activation="softmax")
        >>> tuple(layer(np.random.rand(4, 10)).shape), tuple(layer.kernel.shape)
        ((4, 3), (10, 3))
    """

    supports_masking = True
    _omit_config_if_unset = ("activity_regularizer", "lora_rank", "lora_alpha")
    _config_keys_last = ("lora_rank", "lora_alpha")
    fixed_arguments = ("units", "use_bias")
    is_flat = True
    torch_name = "Linear"
    _least_rank = 2
    renamed_arguments: ClassVar = {**KernelLayer.renamed_arguments, "output_dim": "units"}

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = as_positive_int(type(self).__name__, "units", units)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        if quantization_config is not None:
            remedy = "Quantized layers are not supported."
            self._refuse_argument("quantization_config", "None", quantization_config, remedy)
        self.quantization_config = quantization_config
        self._set_lora(lora_rank, lora_alpha)
        self._register_weights(device, input_shape)

    def _on_argument_change(self, argument: str) -> None:
        super()._on_argument_change(argument)
        if argument == "activation":
            self._in_place = inplace_activations.get_inplace_activation(self.activation)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        return (*shape[:-1], self.units)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        if not shape[-1]:
            self._refuse_argument(argument, "a shape with a known last size, 1 at least", shape)
        return self._parameter_shapes((self.units, shape[-1]))

    def _as_function(self) -> MatrixProduct:
        from ..base.functional import MatrixProduct

        return MatrixProduct(self._merged_weight(), self.bias)

    def _on_build(self) -> None:
        if self.lora_enabled:
            self.lora_alpha = self.lora_rank  # `Dense.build` of Keras loses the constructor's

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        weight = shapes.get("weight", ())
        return [None, weight[1]] if len(weight) == 2 else None

    def forward(self, inputs: Any) -> Tensor:
        """Multiply a tensor or array by the kernel, add the bias and apply the activation.

        Raises:
            ValueError: The input has less than two dimensions or another last size.
        """
        parameters: dict[str, Any] = self._parameters
        try:  # faster than nn.Module's attributes
            weight, bias = parameters["weight"], parameters["bias"]
        except KeyError:  # one of them is computed from others
            weight, bias = self.weight, self.bias
        if (
            self._always_casts
            or not isinstance(inputs, Tensor)
            or inputs.dtype is not weight.dtype
            or inputs.ndim < 2
        ):
            inputs, weight, bias = self._cast_inputs_and_weights(inputs, weight, bias)
        try:
            outputs = F.linear(inputs, weight, bias)
        except RuntimeError as error:
            raise self._translate_error(error, inputs, weight) from error
        if self._in_place is None or torch.compiler.is_compiling():
            outputs = self.activation(outputs)
        else:
            outputs = self._in_place(outputs)
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _compute(self, x: Tensor) -> Tensor:
        weight, bias = self._tensor("weight"), self._tensor("bias")
        if self._always_casts:
            x, weight, bias = self._cast_inputs_and_weights(x, weight, bias)
        outputs = F.linear(x, weight, bias)
        if self._in_place is None or torch.compiler.is_compiling():
            return self.activation(outputs)
        return self._in_place(outputs)

    def _is_lowerable(self) -> bool:
        # A user's own function may return anything.
        return not self._always_casts and inplace_activations.is_elementwise(self.activation)

    @property
    def _gradient_needs_output(self) -> bool:  # type: ignore[override]
        return self.activation is not activations.linear

    def _require_fit(self, x: Tensor) -> None:
        size = self.weight.shape[1]
        if x.shape[-1] != size:
            self._refuse_argument(
                "inputs", f"of the size {size} along the last axis", tuple(x.shape)
            )

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        super()._read_module(owner, module)
        return {"units": module.out_features, "use_bias": module.bias is not None}

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        activation = find_torch_activation(owner, self)
        units, channels = self.weight.shape
        linear = nn.Linear(channels, units, bias=self.use_bias, device="meta")
        return [linear] if activation is None else [linear, activation]

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        sizes = f"{self.weight.shape[1] if self.built else None}, {self.units}"
        return ", ".join([sizes, *self._format_non_defaults()])
