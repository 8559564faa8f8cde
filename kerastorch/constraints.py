"""Constraints, as `keras.constraints` has them: what a weight is made into after each step.

They are pure: each returns a new tensor. Axes are those of Keras's kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from . import config
from ._core.config_arrays import Config
from ._core.constructor import OwnConstructor
from ._core.registry import Vocabulary, class_names

if TYPE_CHECKING:
    from typing_extensions import Self

_Axis = int | Sequence[int] | None


class Constraint(OwnConstructor):
    """The base of all constraints.

    Same as `keras.constraints.Constraint`: a subclass has `__call__(w)`, which returns the
    projected weight, and `get_config()`, which returns the constructor's arguments.
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight: here, `w` itself."""
        return w

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the constraint that `get_config` described."""
        return cls(**config)


class MaxNorm(Constraint):
    """Scales weights down to a norm of at most `max_value`.

    Same as `keras.constraints.MaxNorm`.

    Args:
        max_value: The largest norm.
        axis: The axis or axes that a norm is taken along: `[0, 1, 2]` for one norm for each
            filter of a 2D convolution. None for one norm of all.

    >>> import torch
    >>> MaxNorm(1.0, axis=0)(torch.tensor([[3.0, 0.3], [4.0, 0.4]]))
    tensor([[0.6000, 0.3000],
            [0.8000, 0.4000]])
    """

    def __init__(self, max_value: float = 2, axis: _Axis = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w * self._scale(_norms(w, self.axis))

    def _scale(self, norms: Tensor) -> Tensor:
        return norms.clamp(0, self.max_value) / (config.epsilon() + norms)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {"max_value": self.max_value, "axis": self.axis}


class MinMaxNorm(Constraint):
    """Scales weights to a norm from `min_value` to `max_value`.

    Same as `keras.constraints.MinMaxNorm`.

    Args:
        min_value: The smallest norm.
        max_value: The largest norm.
        rate: The share of the way that is gone: 1 goes all of it.
        axis: The axis or axes that a norm is taken along; None for one norm of all.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: _Axis = 0,
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

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


class NonNeg(Constraint):
    """Makes negative weights 0.

    Same as `keras.constraints.NonNeg`, except that float64 stays float64.
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w.clamp(min=0)


class UnitNorm(Constraint):
    """Scales weights to a norm of 1.

    Same as `keras.constraints.UnitNorm`.

    Args:
        axis: The axis or axes that a norm is taken along; None for one norm of all.
    """

    def __init__(self, axis: _Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight."""
        return w / (config.epsilon() + _norms(w, self.axis))

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {"axis": self.axis}


def _norms(w: Tensor, axis: _Axis) -> Tensor:
    """Return the norms along `axis`, which stays with size 1; no axis at all leaves sizes."""
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

_CONSTRAINTS: Vocabulary[Callable[[Tensor], Tensor]] = Vocabulary(
    "constraint",
    "keras.constraints",
    class_names((Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm)),
)


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """Return the constraint that a name, config dict, class, instance or function means.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.

    >>> get("max_norm").get_config()
    {'max_value': 2, 'axis': 0}
    """
    return _CONSTRAINTS.get(identifier)


def serialize(constraint: Callable[[Tensor], Tensor] | None) -> Config | str | None:
    """Return the config that Keras writes for a constraint."""
    return _CONSTRAINTS.serialize(constraint)


def deserialize(
    config: Config | str | None, custom_objects: Mapping[str, Any] | None = None
) -> Callable[[Tensor], Tensor] | None:
    """Return the constraint that a config of any Keras describes; `custom_objects` come first."""
    return _CONSTRAINTS.deserialize(config, custom_objects)
