"""The layers of ConvNeXt: LayerScale and StochasticDepth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..._core.arguments import as_positive_int
from ..._core.registry import APPLICATIONS, keras_layer
from ...initializers import Constant
from ..base.layer import Layer
from ..base.stateless import StatelessLayer
from ..base.weights import Shape, Sizes, WeightSpec

__all__: list[str] = []


@keras_layer(package=APPLICATIONS)
class LayerScale(Layer):
    """Multiplies the last axis by a trained factor each.

    Same as the class of that name in `keras.applications.convnext`; integers and booleans are cast
    to the layer's compute dtype.

    Args:
        init_values: The initial factor.
        projection_dim: The size of the last axis.
        input_shape, device, **kwargs: As in `PReLU`.

    Shape:
        - Input and output: (..., projection_dim).
        - `gamma`: (projection_dim,).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> LayerScale(0.5, 2)(torch.tensor([[2.0, 4.0]])).tolist()
        [[1.0, 2.0]]
    """

    weight_specs = (WeightSpec("gamma", "variable", "_initializer"),)
    overwrites_input = True
    returns_new_tensor = True
    _least_rank = 1
    _shape_arguments = ("projection_dim",)
    gamma: Tensor

    def __init__(
        self,
        init_values: float,
        projection_dim: int,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(init_values, (int, float)):
            self._refuse_argument("init_values", "a number", init_values)
        self.init_values = init_values
        self.projection_dim = as_positive_int("LayerScale", "projection_dim", projection_dim)
        self._register_weights(device, input_shape)

    def _initializer(self, shape: Shape, dtype: Any = None) -> Any:
        return Constant(self.init_values)(shape, dtype=dtype)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        if len(shape) < 1 or shape[-1] not in (self.projection_dim, None):
            self._refuse_shape(argument, "of `projection_dim` sizes along the last axis", shape)
        return tuple(shape)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        self._output_shape(self._check_shape(shape, argument), argument)
        return {"gamma": (self.projection_dim,)}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None]:
        return (None, self.projection_dim)

    def _compute(self, x: Tensor, *, inplace: bool = False) -> Tensor:
        if x.shape[-1:] != (self.projection_dim,):
            self._output_shape(tuple(x.shape), "inputs")
        gamma: Tensor = self._tensor("gamma")
        if inplace and not torch.is_grad_enabled():
            return x.mul_(gamma)
        return x * (gamma if gamma.dtype is x.dtype else gamma.to(x.dtype))

    def extra_repr(self) -> str:
        """Return the arguments."""
        size = self.projection_dim if self.built else None
        shown = f"{size}, init_values={self.init_values}, projection_dim={self.projection_dim}"
        return ", ".join([shown, *self._format_non_defaults()])


@keras_layer(package=APPLICATIONS)
class StochasticDepth(StatelessLayer):
    """In training, drops whole samples at random and scales up the others.

    Same as the class of that name in `keras.applications.convnext`, but that torch's global
    generator is used, and that `layer.train()` and `layer.eval()` turn it on and off.

    Args:
        drop_path_rate: The fraction of samples to drop, from 0 to 1.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: (batch, ...).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> StochasticDepth(0.3).eval()(torch.ones(1, 2)).tolist()
        [[1.0, 1.0]]
    """

    depends_on_training_mode = True
    keeps_flatten_order = True
    _casts_integers = True
    _least_rank = 1

    def __init__(self, drop_path_rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rule = "a number from 0 to 1"
        self._require("drop_path_rate", rule, drop_path_rate, lambda n: 0 <= n <= 1)
        self.drop_path_rate = drop_path_rate

    def _compute(self, x: Tensor) -> Tensor:
        self._require_rank(x)
        if not self.training:
            return x
        keep = 1 - self.drop_path_rate
        draws = torch.rand((x.shape[0], *(1,) * (x.ndim - 1)), device=x.device)
        return (x / keep) * (keep + draws).floor().to(x.dtype)
