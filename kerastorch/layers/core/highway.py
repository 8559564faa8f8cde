"""Highway: a dense layer that a gate mixes with its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import activations, initializers
from ..._core.layout import weight_to_kernel
from ..._core.registry import keras_layer
from ..._ops.inplace_activations import is_elementwise
from ..base.kernel import KernelLayer
from ..base.layer import Layer
from ..base.weights import Shape, WeightSpec, declare_weight

__all__ = ["Highway"]


@keras_layer(removed=True)
class Highway(Layer):
    """A densely connected highway layer (arXiv:1505.00387).

    `gate * activation(inputs @ kernel + bias) + (1 - gate) * inputs`, where `gate` is
    `sigmoid(inputs @ carry_kernel + carry_bias)`: same as `keras.layers.Highway` of Keras 1;
    Keras 3 has none.

    Args:
        activation: A name from `kerastorch.activations`, or any callable.
        use_bias: Whether to add `bias` and `carry_bias`, which start as zeros and ones.
        kernel_initializer: The initializer of both kernels.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, input_shape, device, **kwargs: As in `Dense`; the weights of the gate
            have neither regularizers nor constraints.

    Shape:
        - Input and output: (batch, channels).
        - `weight` and `carry_weight`: (channels, channels), as in `nn.Linear`.
        - `bias` and `carry_bias`: (channels,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(Highway(activation="relu")(torch.rand(2, 5)).shape)
        (2, 5)
    """

    argument_namespaces: ClassVar[Mapping[str, Any]] = {"activation": activations}
    renamed_arguments = KernelLayer.renamed_arguments
    weight_specs = (
        declare_weight("weight", "kernel", view=weight_to_kernel),
        WeightSpec("carry_weight", "carry_kernel", "kernel_initializer", view=weight_to_kernel),
        declare_weight("bias", "bias", when="use_bias", initializer="_zeros"),
        WeightSpec("carry_bias", "carry_bias", "_ones", when="use_bias"),
    )
    fixed_arguments = ("use_bias",)
    returns_new_tensor = True
    is_flat = True
    _omit_config_if_unset = ()
    _zeros: Any = initializers.Zeros()
    _ones: Any = initializers.Ones()
    weight: Tensor
    activation: Any

    def __init__(
        self,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        self._register_weights(device, input_shape)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of Keras 1, where `transform_bias` was an initial value."""
        upgraded = super().upgrade_config(config)
        upgraded.pop("transform_bias", None)
        return upgraded

    @property
    def _input_rank(self) -> int:
        return 2

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        size = self._check_shape(shape, argument)[-1]
        if not size:
            self._refuse_argument(argument, "a shape with a known last size, 1 at least", shape)
        sizes = {"weight": (size, size), "carry_weight": (size, size)}
        return {**sizes, "bias": (size,), "carry_bias": (size,)} if self.use_bias else {**sizes}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        return next(((None, shape[0]) for shape in shapes.values() if shape), None)

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> tuple[int | None, ...]:
        if self.built and shape[-1] not in (None, self.weight.shape[1]):
            rule = f"of the size {self.weight.shape[1]} along the last axis"
            self._refuse_argument(argument, rule, tuple(shape))
        return tuple(shape)

    def _compute(self, x: Tensor) -> Tensor:
        self._require_rank(x)
        x, compute = self._cast(x, self._tensor("weight").dtype)
        w, carry_w = self._tensor("weight").to(compute), self._tensor("carry_weight").to(compute)
        b, carry_b = (self._tensor(name) for name in ("bias", "carry_bias"))
        if self.use_bias:
            b, carry_b = b.to(compute), carry_b.to(compute)
        gate = torch.sigmoid(F.linear(x, carry_w, carry_b))
        outputs: Tensor = self.activation(F.linear(x, w, b))
        return outputs * gate + (1 - gate) * x

    def _is_lowerable(self) -> bool:
        return is_elementwise(self.activation)  # a user's function may return anything

    def extra_repr(self) -> str:
        """Return the size and the arguments that differ from the defaults."""
        size = self.weight.shape[1] if self.built else None
        return ", ".join([f"{size}", *self._format_non_defaults(use_bias=True)])
