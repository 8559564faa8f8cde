"""RecurrentCell: the base of the cells, which compute one step."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..._ops.recurrent.loop import States
from .unit import Masks, RecurrentUnit, read_states


class RecurrentCell(RecurrentUnit):
    """A unit that computes one step at each call.

    In training, the masks of dropout are those of the first call, as in Keras, until
    `reset_dropout_mask` and `reset_recurrent_dropout_mask`.
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("states",)
    removed_arguments: ClassVar[tuple[str, ...]] = ("activity_regularizer",)
    output_size: Any
    _dropout_masks: tuple[Masks, Masks] | None = None

    @property
    def _input_rank(self) -> int | None:
        return 2

    @property
    def output_count(self) -> int:
        """The number of tensors that `forward` returns."""
        return 1 + self._state_count

    def forward(  # type: ignore[override]
        self, inputs: Any, states: Any
    ) -> tuple[Tensor, States]:
        """Compute one step.

        Args:
            inputs: A tensor or array (batch, features).
            states: The state, or the list of them.

        Returns:
            The output, and the list of the next states.

        Raises:
            ValueError: An argument has another shape.
        """
        x = self._cast_input(self._as_tensor(inputs))
        self._require_rank(x)
        self._require_size(x, "inputs")
        sizes = [self.units] * self._state_count
        given = read_states(self, "states", states, x, sizes)
        drop, recurrent = self._get_masks(x)
        return self._make_step(x, recurrent)(self._project(x, drop), given)

    def compute_output_shape(self, input_shape: Any, states_shape: Any = None) -> Any:
        """Return the shapes of the output and of the states.

        Raises:
            ValueError: The cell does not accept such an input.
        """
        shape = (self._check_shape(input_shape)[0], self.units)
        return shape, [shape] * self._state_count

    def reset_dropout_mask(self) -> None:
        """Sample other masks at the next call."""
        self._dropout_masks = None

    reset_recurrent_dropout_mask = reset_dropout_mask

    def _get_masks(self, x: Tensor) -> tuple[Masks, Masks]:
        if not self.training or not (self.dropout or self.recurrent_dropout):
            return None, None
        if self._dropout_masks is None:
            self._dropout_masks = self._sample_masks(x)
        return self._dropout_masks

    def _is_lowerable(self) -> bool:
        return False
