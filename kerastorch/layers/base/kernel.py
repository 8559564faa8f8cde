"""KernelLayer: the base of the layers with a kernel, a bias and an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from ... import activations
from ..._core.errors import argument_error
from .lora import LoRAMixin


class KernelLayer(LoRAMixin):
    """A layer that applies a kernel to its input, adds a bias and applies an activation."""

    argument_namespaces: ClassVar = {"activation": activations}
    renamed_arguments: ClassVar = {
        "bias": "use_bias",
        "init": "kernel_initializer",
        "W_regularizer": "kernel_regularizer",
        "b_regularizer": "bias_regularizer",
        "W_constraint": "kernel_constraint",
        "b_constraint": "bias_constraint",
    }
    use_bias: bool
    weight: Tensor
    bias: Tensor | None
    activation: Callable[[Tensor], Tensor]

    def _on_argument_change(self, argument: str) -> None:
        super()._on_argument_change(argument)
        if argument == "activation":
            self._on_activation_change(self.activation)
            if isinstance(self.activation, nn.Module) and not self.trainable:
                self.activation.requires_grad_(False)  # it is frozen with the layer

    def _on_activation_change(self, activation: Callable[[Tensor], Tensor]) -> None:
        """Choose how `forward` applies a new activation."""
        raise NotImplementedError

    def _prepare_input(self, inputs: Any) -> Tensor:
        return self._cast_inputs_and_weights(inputs, self.weight, self.bias)[0]

    def _cast_inputs_and_weights(
        self, inputs: Any, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Cast the input, weight and bias to the compute dtype."""
        x = self._as_tensor(inputs)
        self._require_rank(tuple(x.shape))
        if self.lora_enabled:
            weight = self._weight_with_lora(weight)
        x, compute = self._cast(x, weight.dtype)
        if compute is not weight.dtype:
            weight = weight.to(compute)
            bias = None if bias is None else bias.to(compute)
        return x, weight, bias

    def _translate_error(self, error: RuntimeError, inputs: Tensor, weight: Tensor) -> Exception:
        """Return the layer's own error for one of torch's, or torch's if the layer has none."""
        try:
            self._require_fit(tuple(inputs.shape), weight)
        except ValueError as refused:
            return refused
        for what in ("device", "dtype"):
            actual, expected = getattr(inputs, what), getattr(weight, what)
            if actual != expected:
                owner, rule = type(self).__name__, f"the weights' {what}, {expected}"
                remedy = "Convert them with `inputs.to(...)`, or the layer with `layer.to(...)`."
                return RuntimeError(argument_error(owner, f"inputs.{what}", rule, actual, remedy))
        return error

    def _require_rank(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError for an input of the wrong rank."""
        raise NotImplementedError

    def _require_fit(self, shape: tuple[int, ...], weight: Tensor) -> None:
        """Raise a ValueError for an input shape that does not match the weight."""
        raise NotImplementedError

    def _format_non_defaults(self, **defaults: Any) -> list[str]:
        shown = super()._format_non_defaults(**defaults)
        if not isinstance(self.activation, nn.Module) and self.activation is not activations.linear:
            shown.append(f"activation={getattr(self.activation, '__name__', self.activation)}")
        return shown
