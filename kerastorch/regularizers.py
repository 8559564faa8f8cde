"""The regularizers of `keras.regularizers`: penalties on a weight or an output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from . import config
from ._core.arguments import as_number
from ._core.config_arrays import Config
from ._core.constructor import OwnConstructor
from ._core.errors import argument_error
from ._core.registry import Registry, make_class_table
from .dtype_policies import to_torch_dtype

_RULE = "a finite number >= 0"


class Regularizer(OwnConstructor):
    """Base class of regularizers. Same as `keras.Regularizer`.

    A subclass defines `__call__(x)`, which returns a scalar tensor, and `get_config()`, which
    returns the constructor's arguments.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty on `x`: here, 0."""
        return x.new_zeros(())

    def get_config(self) -> Config:
        """Return the constructor's arguments.

        Raises:
            NotImplementedError: the subclass does not have this method.
        """
        if not self._config_keys:
            raise NotImplementedError(f"{type(self).__name__} does not have `get_config`.")
        return super().get_config()


class L1(Regularizer):
    """L1 penalty: `l1 * sum(abs(x))`. Same as `keras.regularizers.L1`.

    Args:
        l1: The factor, >= 0; None for 0.01. As in Keras, it is rounded to `keras.config.floatx()`:
            the config of 0.01 has 0.009999999776482582.

    Raises:
        ValueError: a factor is negative or not finite.

    >>> L1(0.5)(torch.tensor([[1.0, -3.0]]))
    tensor(2.)
    """

    _config_keys = ("l1",)

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _round(as_number("L1", "l1", 0.01 if l1 is None else l1, _RULE))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        return _factor(self.l1, x) * x.abs().sum()


class L2(Regularizer):
    """L2 penalty: `l2 * sum(x ** 2)`, without a factor 1/2. Same as `keras.regularizers.L2`.

    Args:
        l2: The factor, >= 0; None for 0.01.

    Raises:
        ValueError: a factor is negative or not finite.

    >>> L2(0.5)(torch.tensor([[1.0, -3.0]]))
    tensor(5.)
    """

    _config_keys = ("l2",)

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = as_number("L2", "l2", 0.01 if l2 is None else l2, _RULE)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        return _factor(self.l2, x) * x.square().sum()


class L1L2(Regularizer):
    """`l1 * sum(abs(x)) + l2 * sum(x ** 2)`. Same as `keras.regularizers.L1L2`.

    Args:
        l1: The factor of the L1 penalty, >= 0; None for 0.
        l2: The factor of the L2 penalty, >= 0; None for 0.

    Raises:
        ValueError: a factor is negative or not finite.
    """

    _config_keys = ("l1", "l2")

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = as_number("L1L2", "l1", 0.0 if l1 is None else l1, _RULE)
        self.l2 = as_number("L1L2", "l2", 0.0 if l2 is None else l2, _RULE)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the penalty."""
        penalty = x.new_zeros(())
        if self.l1:
            penalty = penalty + _factor(self.l1, x) * x.abs().sum()
        if self.l2:
            penalty = penalty + _factor(self.l2, x) * x.square().sum()
        return penalty


class OrthogonalRegularizer(Regularizer):
    """Penalty on rows (or columns) of a matrix that are not orthogonal to each other.

    `factor * mean(abs(a . b))` over all pairs of different rows (or columns) a and b, each scaled
    to norm 1. Same as `keras.regularizers.OrthogonalRegularizer`, except that float64 inputs are
    scaled in float64. The penalty has at least the precision of `keras.config.floatx()`.

    Args:
        factor: The factor, >= 0, rounded to `keras.config.floatx()`.
        mode: "rows" or "columns".

    Raises:
        ValueError: `factor` or `mode` is invalid; at the call, the input is not a matrix.
    """

    _config_keys = ("factor", "mode")

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _round(as_number("OrthogonalRegularizer", "factor", factor, _RULE))
        if mode not in ("rows", "columns"):
            rule = "'rows' or 'columns'"
            raise ValueError(argument_error("OrthogonalRegularizer", "mode", rule, mode))
        self.mode = mode

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the penalty."""
        if inputs.ndim != 2:
            shape = tuple(inputs.shape)
            raise ValueError(argument_error("OrthogonalRegularizer", "inputs", "of rank 2", shape))
        rows = inputs if self.mode == "rows" else inputs.T
        most = min(1 / config.epsilon(), torch.finfo(rows.dtype).max)
        rows = rows * rows.square().sum(1, keepdim=True).rsqrt().clamp(max=most)
        others = 1.0 - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        total = (rows @ rows.T * others).abs().sum()
        pairs = len(rows) * (len(rows) - 1.0) / 2.0
        dtype = torch.promote_types(total.dtype, to_torch_dtype(config.floatx()))
        return total.to(dtype) * (self.factor * 0.5) / pairs


def _round(factor: float) -> float:
    """Round `factor` to the default float type, since Keras stores it as a tensor."""
    return torch.tensor(factor, dtype=to_torch_dtype(config.floatx()), device="cpu").item()


def _factor(factor: float, x: Tensor) -> Tensor:
    """Return `factor` rounded to the dtype of `x`, as Keras does before multiplying."""
    return x.new_full((), factor)


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

_REGULARIZERS: Registry[Callable[[Tensor], Tensor]] = Registry(
    "regularizer",
    "keras.regularizers",
    make_class_table((Regularizer, L1, L2, L1L2, OrthogonalRegularizer)),
)


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """Return the regularizer for a name, config dict, class, instance or function.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.

    >>> get("l2").get_config()
    {'l2': 0.01}
    """
    return _REGULARIZERS.get(identifier)


def serialize(regularizer: Callable[[Tensor], Tensor] | None) -> Config | str | None:
    """Return the config that Keras writes for a regularizer."""
    return _REGULARIZERS.serialize(regularizer)


def deserialize(
    config: Config | str | None, custom_objects: Mapping[str, Any] | None = None
) -> Callable[[Tensor], Tensor] | None:
    """Return the regularizer that a config of any Keras describes; `custom_objects` come first."""
    return _REGULARIZERS.deserialize(config, custom_objects)
