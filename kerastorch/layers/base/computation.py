"""Computation: what a layer computes, and what lets a model call `_compute` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from .functional import Function


class Computation:
    """The computation of a layer, and what it declares about it.

    A lowered model calls `_compute` instead of `forward`, within these declarations. The defaults
    are right for any layer whose `forward` is the template.
    """

    # Of `_compute`: that of the user, "channels_first" with the channels as axis 1, or "any".
    compute_layout = "as_given"
    rank: ClassVar[int | None] = None  # the number of spatial axes, if there are any
    takes_list = False  # the input is a list of tensors
    # `_compute` has the argument `inplace`: whether it may overwrite its input, or which of a list.
    overwrites_input = False
    returns_new_tensor = False  # the output is neither the input nor a view of it
    _gradient_needs_output = True  # the output must not be overwritten in training
    _output_rank: int | None = None  # the rank of the output if it differs from the input's
    _orders: tuple[Any, Any] | None = None  # axis permutations to `compute_layout` and back

    @property
    def _input_rank(self) -> int | None:
        """The rank of the input; None for any."""
        return None if self.rank is None else self.rank + 2

    @property
    def _channel_axis(self) -> int:
        """The channel axis in the layout of the user."""
        return 1 if getattr(self, "data_format", None) == "channels_first" else -1

    def _compute(self, x: Any) -> Tensor:
        """Compute the output for an input of the compute dtype, in `compute_layout`."""
        raise NotImplementedError

    def _as_function(self) -> Function | None:
        """Return what a built layer computes before its activation; None if no function has it.

        `compare` exchanges the weights and the geometry of it, to find a mistake.
        """
        return None

    def _is_lowerable(self) -> bool:
        """Return whether `forward` is `_compute` and nothing else for an input of its dtype."""
        return True

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        """Return the arguments of `_compute` for channels-first inputs, with layout "any"."""
        return {}

    def _is_nonnegative(self) -> bool:
        """Return whether no output is below 0."""
        return False

    def _symmetric_padding(self) -> tuple[int, ...] | None:
        """Return the zeros on both sides of each axis, for a layer that only adds these."""
        return None

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        """Return whether `_compute` takes such `padding`, for an input >= 0 or any other one."""
        return False
