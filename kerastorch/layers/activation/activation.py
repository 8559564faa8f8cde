"""Activation layers without weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import activations
from ..._core.arrays import to_tensor
from ..._core.config_arrays import encode_array
from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from ..._ops import inplace_activations
from ..._ops.tracing import elementwise_channels_first
from ...activations.functions import relu_accepts
from ..base.stateless import StatelessLayer
from ..base.torch_conversion import (
    TorchCounterpart,
    find_keras_activation,
    find_relu_arguments,
    find_torch_activation,
    find_torch_relu,
)

__all__ = ["ELU", "Activation", "LeakyReLU", "ReLU", "Softmax"]

_RULE = "a number >= 0"


def _is_nonnegative(value: Any) -> bool:
    return value is not None and not value < 0


@keras_layer()
class Activation(StatelessLayer, TorchCounterpart):
    """Applies an activation function.

    Same as `keras.layers.Activation`, except that integers and booleans are cast to the layer's
    compute dtype where Keras on TensorFlow refuses them: by all functions of
    `kerastorch.activations` but relu, relu6, leaky_relu, tanh, exponential and linear, and
    booleans by the first three of these, too. Your own callable gets them as they are.

    Args:
        activation: A name from `kerastorch.activations`, or any callable; None for none.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: any.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> Activation("relu")(np.array([-3.0, -1.0, 0.0, 2.0]))
        tensor([0., 0., 0., 2.])
    """

    supports_masking = True
    argument_namespaces: ClassVar = {"activation": activations}
    keeps_flatten_order = True
    compute_layout = "any"
    overwrites_input = True
    activation: Callable[[Tensor], Tensor]

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def _on_argument_change(self, argument: str) -> None:
        super()._on_argument_change(argument)
        if argument == "activation":
            self._is_elementwise = inplace_activations.is_elementwise(self.activation)
            self._in_place = inplace_activations.get_inplace_activation(self.activation)
            self._takes_integers = inplace_activations.accepts_integers(self.activation)
            self._takes_booleans = inplace_activations.accepts_booleans(self.activation)

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        return not (self._takes_booleans if dtype is torch.bool else self._takes_integers)

    def _compute(self, x: Tensor, *, inplace: bool = False) -> Tensor:
        if inplace and self._in_place is not None:
            return self._in_place(x)
        if self._is_elementwise:
            return elementwise_channels_first(self.activation, x)
        return self.activation(x)

    def _is_lowerable(self) -> bool:
        return self._is_elementwise

    def _is_nonnegative(self) -> bool:
        return self.activation is activations.relu or self.activation is activations.relu6

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        return {"activation": find_keras_activation(owner, module)}

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        return [find_torch_activation(owner, self) or nn.Identity()]


@keras_layer()
class ReLU(StatelessLayer, TorchCounterpart):
    """Rectified linear unit: `max(x, 0)` with the default arguments.

    Same as `keras.layers.ReLU` on TensorFlow, which keeps integers, or returns float32 for them
    with `negative_slope` alone. What it refuses is cast to the layer's compute dtype: booleans,
    and integers if a slope comes with a limit, unless the input is signed and `negative_slope` and
    `threshold` are integers too. See `Activation` for further arguments and shapes.

    Args:
        max_value: The largest output; None for no limit.
        negative_slope: The slope below `threshold`.
        threshold: Inputs up to this value are set to 0, or multiplied by the slope.
        **kwargs: As in `Activation`.

    Raises:
        TypeError: An argument is no number.
        ValueError: An argument is negative, or a limit is outside an integer input's dtype.

    Example:
        >>> import numpy as np
        >>> ReLU(max_value=10, negative_slope=0.5)(np.array([-10, -5, 0.0, 5, 10]))
        tensor([-5.0000, -2.5000,  0.0000,  5.0000, 10.0000])
    """

    supports_masking = True
    keeps_flatten_order = True
    compute_layout = "any"
    overwrites_input = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None:
            self._require("max_value", _RULE, max_value, _is_nonnegative)
        self._require("negative_slope", _RULE, negative_slope, _is_nonnegative)
        self._require("threshold", _RULE, threshold, _is_nonnegative)
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        return not relu_accepts(dtype, self.negative_slope, self.max_value, self.threshold)

    def _compute(self, x: Tensor, *, inplace: bool = False) -> Tensor:
        slope, most, threshold = self.negative_slope, self.max_value, self.threshold
        if inplace and not slope and not threshold and most in (None, 6):
            return torch.relu_(x) if most is None else F.relu6(x, inplace=True)
        return elementwise_channels_first(lambda x: activations.relu(x, slope, most, threshold), x)

    def _is_nonnegative(self) -> bool:
        return not self.negative_slope

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        return find_relu_arguments(owner, module)

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        limits = self.max_value, self.negative_slope, self.threshold
        return [find_torch_relu(owner, *limits)]


@keras_layer()
class LeakyReLU(StatelessLayer, TorchCounterpart):
    """Leaky rectified linear unit: `x` above 0, `negative_slope * x` below.

    Same as `keras.layers.LeakyReLU`, except that booleans are cast to the layer's compute dtype.
    Integers give float32, as on TensorFlow. Keras 2's name of the slope, `alpha`, is accepted, too.

    Args:
        negative_slope: The slope below 0.
        **kwargs: As in `Activation`.

    Raises:
        TypeError: `negative_slope` is no number.
        ValueError: `negative_slope` is negative.

    Example:
        >>> import numpy as np
        >>> LeakyReLU(negative_slope=0.5)(np.array([-10, -5, 0.0, 5, 10]))
        tensor([-5.0000, -2.5000,  0.0000,  5.0000, 10.0000])
    """

    supports_masking = True
    renamed_arguments: ClassVar = {"alpha": "negative_slope"}
    torch_name = "LeakyReLU"
    torch_arguments: ClassVar = {"negative_slope": "negative_slope"}
    keeps_flatten_order = True
    compute_layout = "any"

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warnings.warn("LeakyReLU: `alpha` is now `negative_slope`.", stacklevel=2)
        super().__init__(**kwargs)
        self._require("negative_slope", _RULE, negative_slope, _is_nonnegative)
        self.negative_slope = negative_slope

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; Keras 2 may have an array."""
        upgraded = super().upgrade_config(config)
        if "alpha" in config and "negative_slope" not in config:
            upgraded["negative_slope"] = encode_array(config["alpha"])
        return upgraded

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        return dtype is torch.bool

    def _compute(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, self.negative_slope)


@keras_layer()
class ELU(StatelessLayer, TorchCounterpart):
    """Exponential linear unit: `x` above 0, `alpha * (exp(x) - 1)` below.

    Same as `keras.layers.ELU`, except that integers and booleans are cast to the compute dtype.

    Args:
        alpha: The negative of the limit on the left.
        **kwargs: As in `Activation`.

    Example:
        >>> import numpy as np
        >>> ELU(alpha=2.0)(np.array([-100.0, 0.0, 3.0]))
        tensor([-2.,  0.,  3.])
    """

    supports_masking = True
    keeps_flatten_order = True
    compute_layout = "any"
    _casts_integers = True
    _config_keys_last = ("trainable", "dtype", "activity_regularizer")
    torch_name = "ELU"
    torch_arguments: ClassVar = {"alpha": "alpha"}

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(alpha, str) or not hasattr(alpha, "__float__"):
            self._refuse_argument("alpha", "a number", alpha)
        self.alpha = alpha

    def _compute(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


@keras_layer()
class Softmax(StatelessLayer, TorchCounterpart):
    """Softmax: `exp(x)`, divided by its sum along an axis.

    Same as `keras.layers.Softmax`, except that integers and booleans are cast to the compute dtype.

    Args:
        axis: The axis or axes that sum to 1; None for all.
        **kwargs: As in `Activation`.

    Example:
        >>> import numpy as np
        >>> Softmax()(np.array([1.0, 2.0, 1.0]))
        tensor([0.2119, 0.5761, 0.2119])
    """

    supports_masking = True
    keeps_flatten_order = True
    call_arguments = ("mask",)
    torch_name = "Softmax"
    torch_arguments: ClassVar = {"dim": "axis"}
    _casts_integers = True

    def __init__(self, axis: int | Sequence[int] | None = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def forward(self, inputs: Any, mask: Any = None) -> Tensor:
        """Compute the softmax of a tensor or array.

        Args:
            inputs: The input.
            mask: Which elements count, broadcastable to the input: booleans, or numbers of which
                those above 0.5 count. The outputs of the others are 0.

        Raises:
            IndexError: The input has no such axis.
            RuntimeError: `axis` has an axis twice.
            ValueError: The mask does not match.
        """
        x = self._prepare_input(inputs)
        outputs = self._compute(x, None if mask is None else self._check_mask(mask, x))
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _compute(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        given: Any = self.axis
        axes = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        for axis in axes:
            if isinstance(axis, int) and not -x.ndim <= axis < max(x.ndim, 1):
                rule, shape = "axes that the input has", tuple(x.shape)
                self._refuse_argument("axis", rule, self.axis, error=IndexError, inputs=shape)
        if len(axes) > 1:
            dims = [axis % max(x.ndim, 1) for axis in axes if isinstance(axis, int)]
            if len(set(dims)) < len(dims):
                rule, shape = "distinct axes of the input", tuple(x.shape)
                self._refuse_argument("axis", rule, axes, error=RuntimeError, inputs=shape)
        dim = axes if len(axes) > 1 else axes[0]
        if mask is None:
            return activations.softmax(x, dim)
        least = -3e4 if x.dtype is torch.float16 else -1e9
        if self.masks_of_keras_2:  # where all is masked, nothing is
            return activations.softmax(x + torch.where(mask, 0.0, least).to(x.dtype), dim)
        masked = torch.where(mask, x, least)
        return torch.where(mask, activations.softmax(masked, dim), 0.0)

    def _check_mask(self, mask: Any, x: Tensor) -> Tensor:
        found: Tensor | None = mask if isinstance(mask, Tensor) else to_tensor(mask)
        if found is None:
            self._refuse_argument("mask", "a tensor or an array of real numbers", mask)
        sizes = zip(reversed(found.shape), reversed(x.shape), strict=False)
        if found.ndim > x.ndim or any(m not in (1, n) for m, n in sizes):
            rule = "of a shape that broadcasts to the input's"
            self._refuse_argument("mask", rule, tuple(found.shape), inputs=tuple(x.shape))
        if found.dtype is not torch.bool:  # Keras casts 0.5 to the mask's type
            found = torch.gt(found, 0.5 if found.is_floating_point() else 0)
        return found.to(x.device)

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        made = super()._read_module(owner, module)
        _require_one_axis(owner, "module.dim", made["axis"])
        return made

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        _require_one_axis(owner, "axis", self.axis)
        return super()._make_modules(owner, input_size)


def _require_one_axis(owner: str, argument: str, axis: Any) -> None:
    if not isinstance(axis, int):
        raise ValueError(argument_error(owner, argument, "one integer", axis))
