"""The constraints of `keras.constraints`: projections of a weight after each optimizer step.

They are pure functions: each returns a new tensor. Axes are those of Keras's kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from . import config
from ._core.config_arrays import Config
from ._core.constructor import OwnConstructor
from ._core.registry import Registry, make_class_table

_Axis = int | Sequence[int] | None
_Function = Callable[[Tensor], Tensor]


class Constraint(OwnConstructor):
    """Base class of constraints. Same as `keras.constraints.Constraint`.

    A subclass defines `__call__(w)`, which returns the projected weight, and `get_config()`, which
    returns the constructor's arguments.
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight: here, `w` itself."""
        return w


class MaxNorm(Constraint):
    """Scales weights down to a norm of at most `max_value`. Same as `keras.constraints.MaxNorm`.

    Args:
        max_value: The largest norm.
        axis: The axis or axes to reduce in a norm: `[0, 1, 2]` for one norm per filter of a 2D
            convolution. None for one norm of the whole weight.

    >>> import torch
    >>> MaxNorm(1.0, axis=0)(torch.tensor([[3.0, 0.3], [4.0, 0.4]]))
    tensor([[0.6000, 0.3000],
            [0.8000, 0.4000]])
    """

    _config_keys = ("max_value", "axis")

    def __init__(self, max_value: float = 2, axis: _Axis = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w * self._scale(_norms(w, self.axis))

    def _scale(self, norms: Tensor) -> Tensor:
        return norms.clamp(0, self.max_value) / (config.epsilon() + norms)


class MinMaxNorm(Constraint):
    """Scales weights to a norm in a range. Same as `keras.constraints.MinMaxNorm`.

    Args:
        min_value: The smallest norm.
        max_value: The largest norm.
        rate: How far to move each norm into the range: 1 moves it all the way.
        axis: As in `MaxNorm`.
    """

    _config_keys = ("min_value", "max_value", "rate", "axis")

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: _Axis = 0
    ) -> None:
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w * self._scale(_norms(w, self.axis))

    def _scale(self, norms: Tensor) -> Tensor:
        within = norms.clamp(self.min_value, self.max_value)
        desired = self.rate * within + (1 - self.rate) * norms
        return desired / (config.epsilon() + norms)


class NonNeg(Constraint):
    """Sets negative weights to 0. Same as `keras.constraints.NonNeg`, but keeps float64."""

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w.clamp(min=0)


class UnitNorm(Constraint):
    """Scales weights to a norm of 1. Same as `keras.constraints.UnitNorm`.

    Args:
        axis: As in `MaxNorm`.
    """

    _config_keys = ("axis",)

    def __init__(self, axis: _Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w / (config.epsilon() + _norms(w, self.axis))


def _norms(w: Tensor, axis: _Axis) -> Tensor:
    """Return the norms over `axis`, keeping dimensions; an empty `axis` gives absolute values."""
    squares = w.square()
    if axis is None:
        return squares.sum().sqrt()
    if isinstance(axis, int):
        return squares.sum(axis, keepdim=True).sqrt()
    return (squares.sum(tuple(axis), keepdim=True) if len(axis) else squares).sqrt()


max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

_TABLE = make_class_table((Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm))
_CONSTRAINTS: Registry[_Function] = Registry("constraint", "keras.constraints", _TABLE)
deserialize = _CONSTRAINTS.deserialize


def get(identifier: Any) -> _Function | None:
    """Return the constraint for a name, config dict, class, instance or function.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.

    >>> get("max_norm").get_config()
    {'max_value': 2, 'axis': 0}
    """
    return _CONSTRAINTS.get(identifier)


def serialize(constraint: _Function | None) -> Config | str | None:
    """Return the config that Keras writes for a constraint."""
    return _CONSTRAINTS.serialize(constraint)
