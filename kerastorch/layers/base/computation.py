"""Computation: what a layer computes, and what a model asks before it calls that alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class Computation:
    """What a layer says of its computation.

    A rebuilt model that is lowered calls `_compute` in the place of `forward`; what it may do then
    is declared here. The defaults are right for any layer whose `forward` is the template.

    Attributes:
        compute_layout: The layout that `_compute` receives and returns: "as_given" is that of the
            user, "channels_first" has the channels as axis 1, "any" takes both.
        input_rank: The rank of the input; None for any.
        takes_list: Whether the input is a list of tensors.
        overwrites_input: Whether `_compute` has the argument `inplace`: True where it may
            overwrite its input, or for a list the index of the tensor that it may overwrite.
        returns_new_tensor: Whether the output is neither the input nor a view of it.
    """

    compute_layout = "as_given"
    input_rank: int | None = None
    takes_list = False
    overwrites_input = False
    returns_new_tensor = False
    _orders: tuple[Any, Any] | None = None  # of the axes, to `compute_layout` and back

    def _prepare_input(self, inputs: Any) -> Any:
        """Return the input of a call as `_compute` receives it, but for the layout."""
        raise NotImplementedError

    def _compute(self, x: Any) -> Tensor:
        """Return the output for an input of the compute dtype, in `compute_layout`."""
        raise NotImplementedError

    def _require_fit_of(self, x: Any) -> None:
        """Raise the layer's own error where an input made the computation fail."""

    @property
    def _channel_axis(self) -> int:
        """The axis of the channels in the layout of the user."""
        return -1

    @property
    def _output_rank(self) -> int | None:
        """The rank of the output where it is not that of the input."""
        return None

    def _is_lowerable(self) -> bool:
        """Return whether `forward` does no more than `_compute` where nothing is to be cast."""
        return True

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        """Return what `_compute` of a layer for any layout is told where channels are axis 1."""
        return {}

    def _gradient_needs_output(self) -> bool:
        """Return whether the output must stay as it is in training."""
        return True

    def _is_nonnegative(self) -> bool:
        """Return whether no output is below 0."""
        return False

    def _symmetric_padding(self) -> tuple[int, ...] | None:
        """Return the zeros that a layer adds on both sides of each axis and does nothing else."""
        return None

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        """Return whether `_compute` can add zeros: it then has the argument `padding`.

        Args:
            padding: How many, on both sides of each spatial axis.
            nonnegative: Whether no element of the input is below 0.
        """
        return False
