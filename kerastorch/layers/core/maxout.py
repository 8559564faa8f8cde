"""MaxoutDense: the largest of several dense layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import initializers
from ..._core.arguments import as_positive_int
from ..._core.layout import permute_axes
from ..._core.registry import keras_layer
from ..base.kernel import KernelLayer
from ..base.layer import Layer
from ..base.weights import Shape, declare_weight

__all__ = ["MaxoutDense"]


def _view_in_keras_order(weight: Tensor) -> Tensor:
    return permute_axes(weight, (0, 2, 1))


@keras_layer(removed=True)
class MaxoutDense(Layer):
    """The elementwise maximum of `nb_feature` dense layers without activation (arXiv:1302.4389).

    Same as `keras.layers.MaxoutDense` of Keras 1; Keras 3 has none.

    Args:
        units: The size of the output's last axis.
        nb_feature: The number of dense layers.
        use_bias: Whether to add a bias, which starts as zeros.
        kernel_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, input_shape, device, **kwargs: As in `Dense`.

    Shape:
        - Input: (batch, channels).
        - Output: (batch, units).
        - `weight`: (nb_feature, units, channels), those of `nn.Linear` along the first axis.
        - `bias`: (nb_feature, units), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(MaxoutDense(3, nb_feature=2)(torch.rand(2, 5)).shape)
        (2, 3)
    """

    renamed_arguments: ClassVar = {**KernelLayer.renamed_arguments, "output_dim": "units"}
    weight_specs = (
        declare_weight("weight", "kernel", view=_view_in_keras_order),
        declare_weight("bias", "bias", when="use_bias", initializer="_zeros"),
    )
    fixed_arguments = ("units", "nb_feature", "use_bias")
    returns_new_tensor = True
    is_flat = True
    _omit_config_if_unset = ()
    _zeros: Any = initializers.Zeros()
    weight: Tensor

    def __init__(
        self,
        units: int,
        nb_feature: int = 4,
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
        self.units = as_positive_int(type(self).__name__, "units", units)
        self.nb_feature = as_positive_int(type(self).__name__, "nb_feature", nb_feature)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        self._register_weights(device, input_shape)

    @property
    def _input_rank(self) -> int:
        return 2

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        size = self._check_shape(shape, argument)[-1]
        if not size:
            self._refuse_argument(argument, "a shape with a known last size, 1 at least", shape)
        sizes: dict[str, Shape] = {"weight": (self.nb_feature, self.units, size)}
        return {**sizes, "bias": (self.nb_feature, self.units)} if self.use_bias else sizes

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        weight = shapes.get("weight", ())
        return (None, weight[2]) if len(weight) == 3 else None

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> tuple[int | None, ...]:
        if self.built and shape[-1] not in (None, self.weight.shape[2]):
            rule = f"of the size {self.weight.shape[2]} along the last axis"
            self._refuse_argument(argument, rule, tuple(shape))
        return (shape[0], self.units)

    def _compute(self, x: Tensor) -> Tensor:
        self._require_rank(x)
        weight, bias = self._tensor("weight"), self._tensor("bias")
        x, compute = self._cast(x, weight.dtype)
        bias = None if bias is None else bias.to(compute).flatten()
        outputs = F.linear(x, weight.to(compute).flatten(0, 1), bias)
        return outputs.view(-1, self.nb_feature, self.units).amax(1)

    def extra_repr(self) -> str:
        """Return the sizes and the arguments that differ from the defaults."""
        size = self.weight.shape[2] if self.built else None
        shown = self._format_non_defaults(nb_feature=4, use_bias=True)
        return ", ".join([f"{size}, {self.units}", *shown])
