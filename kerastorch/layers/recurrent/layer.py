"""RecurrentLayer: the base of the layers that go through a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.layout import swap_batch_and_time
from ..._ops.recurrent.loop import MaskedOutput, States, Wanted, flatten_states, reverse_time
from ..base.computation import move_states
from ..base.layer import Layer
from ..base.weights import Sizes
from .unit import as_state_shape, read_states

SWITCHES = (
    "return_sequences", "return_state", "go_backwards",
    "stateful", "unroll", "zero_output_for_mask",
)  # fmt: skip


class RecurrentLayer(Layer):
    """A layer over the times of a sequence (batch, time, features).

    A mask (batch, time) keeps the states where it is False, and repeats the previous output there,
    at first zeros. In a model of tf.keras 2 with `time_major`, sequences, masks and the outputs at
    all times have the axes (time, batch, ...). With `stateful` the last states of a call are the
    first of the next one, until `reset_states`; they are no weights and are detached.
    """

    first_argument: ClassVar[str] = "sequences"
    call_arguments: ClassVar[tuple[str, ...]] = ("initial_state", "mask")
    old_settings: ClassVar[tuple[str, ...]] = ("time_major", "repeats_state")
    _config_keys_first = SWITCHES
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    zero_output_for_mask: bool
    state_size: Any
    output_size: Any
    supports_masking = True
    time_major = False  # an argument of tf.keras 2
    repeats_state = False  # whether the output of a masked step is the state: in Keras 1 to 2.2
    states: States | None = None  # of a stateful layer, after its first call
    upgrade_call = classmethod(move_states)

    @property
    def _input_rank(self) -> int | None:
        return 3

    @property
    def output_count(self) -> int:
        """The number of tensors that `forward` returns."""
        return 1 + len(flatten_states(self._state_sizes)) if self.return_state else 1

    @property
    def is_sample_wise(self) -> bool:
        """Whether no states are kept, and random numbers have no seed."""
        is_free = not self.stateful and not self.time_major
        return is_free and getattr(self, "seed", None) is None

    @property
    def _masked_output(self) -> MaskedOutput:
        if self.zero_output_for_mask:
            return "zeros"
        return "state" if self.repeats_state else "previous"

    @property
    def _state_sizes(self) -> list[Any]:
        sizes = self.state_size
        return list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]

    @classmethod
    def upgrade_config_of_standalone_keras(
        cls, config: dict[str, Any], version: tuple[int, int]
    ) -> dict[str, Any]:
        """Add `repeats_state` for Keras 1 to 2.2, whose loop starts from it where not unrolled."""
        repeats = version < (2, 3) and not config.get("unroll")
        return {**config, "repeats_state": repeats}

    def _find_state_sizes(self, shape: Sizes) -> list[Any]:
        """Return the size of each state for the shape of a sequence; a tuple of several axes."""
        return self._state_sizes

    def _find_sizes_of_states(self, states: Sequence[Tensor]) -> list[Any]:
        """Return the sizes that given states must have."""
        return self._state_sizes

    def forward(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:
        """Go through a sequence.

        Args:
            sequences: A tensor or array (batch, time, features).
            initial_state: The first state, or a list of them; by default zeros.
            mask: A tensor (batch, time), False at the steps to leave out.

        Returns:
            The output (batch, units) at the last step, or (batch, time, units) with
            `return_sequences`; with `return_state` a tuple of it and the last states.

        Raises:
            ValueError: An argument has another shape, or the sequence no step.
        """
        return self._go_through(sequences, initial_state, mask)

    def _go_through(self, sequences: Any, initial_state: Any, mask: Any, **given: Any) -> Any:
        """Go through a sequence; `given` are more arguments of `_run`."""
        x = self._prepare_input(sequences)
        self._require_rank(x)
        if x.shape[0 if self.time_major else 1] == 0:
            self._refuse_shape("sequences", "of 1 step or more", x.shape)
        self._require_fit(x)
        valid = self._read_mask(mask, x)
        if self.time_major:
            x = swap_batch_and_time(x)
            valid = None if valid is None else swap_batch_and_time(valid)
        states = self._first_states(initial_state, x)
        if self.go_backwards:
            x, valid = x.flip(1), reverse_time(valid)
        outputs, states = self._run(x, states, valid, **given)
        if self.stateful:
            self.states = _detach(states)
        result = outputs if self.return_sequences else outputs[:, -1]
        if self.time_major and self.return_sequences:
            result = swap_batch_and_time(result)
        found = (result, *states) if self.return_state else result
        if self.activity_regularizer is not None:
            self._record_activity(found)
        return found

    def _run(
        self, x: Tensor, states: States, mask: Tensor | None, **given: Any
    ) -> tuple[Tensor, States]:
        """Return the outputs and the last states, those of them that are wanted."""
        raise NotImplementedError

    @property
    def _wanted(self) -> Wanted:
        states = self.return_state or self.stateful
        return Wanted(bool(self.return_sequences), bool(states), self._masked_output)

    def _read_mask(self, mask: Any, x: Tensor) -> Tensor | None:
        if mask is None:
            return None
        found = self._as_real_tensor(mask, "mask")
        if found.ndim == 3 and found.shape[-1] == 1:
            found = found[..., 0]
        if tuple(found.shape) != tuple(x.shape[:2]):
            axes = "(time, batch)" if self.time_major else "(batch, time)"
            rule = f"of the shape {axes} = {tuple(x.shape[:2])}"
            self._refuse_argument("mask", rule, tuple(found.shape))
        return found.bool()

    def _first_states(self, given: Any, x: Tensor) -> States:
        if given is None and (not self.stateful or self.states is None):
            return self._make_zeros(x)
        sizes = self._find_state_sizes(tuple(x.shape))
        if given is not None:
            return read_states(self, "initial_state", given, x, sizes)
        kept = tuple(flatten_states(self.states)[0].shape)
        if kept[0] != x.shape[0]:
            remedy = "Call `reset_states()` before another batch size."
            rule = f"of the batch size {kept[0]}, as the kept states are"
            self._refuse_argument("sequences", rule, tuple(x.shape), remedy)
        if isinstance(sizes[0], tuple) and kept[1:] != sizes[0]:
            remedy = "Call `reset_states()` before another size."
            rule = f"of a size that leads to states of the kept shape {kept}"
            self._refuse_argument("sequences", rule, tuple(x.shape), remedy)
        return convert_states(self.states, x)

    def _make_zeros(self, x: Tensor) -> States:
        return _zeros(self._find_state_sizes(tuple(x.shape)), x)

    def reset_states(self, states: Any = None) -> None:
        """Forget the states of a stateful layer, or replace them.

        Args:
            states: The states, as `initial_state`; None for zeros.

        Raises:
            ValueError: The states do not fit.
            AttributeError: The layer is not stateful.
        """
        if not self.stateful:
            rule = "True, so that there are states to reset"
            self._refuse_argument("stateful", rule, False, error=AttributeError)
        if states is None:
            self.states = None
            return
        given = [self._as_real_tensor(s, "states") for s in flatten_states(states)]
        if not given:
            self._refuse_argument("states", "the states, or None for zeros", states)
        sizes = self._find_sizes_of_states(given)
        self.states = _detach(read_states(self, "states", states, given[0], sizes))

    def reset_state(self) -> None:
        """Forget the states of a stateful layer."""
        self.reset_states()

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs: that of the sequence, and None for the states."""
        first = mask[0] if isinstance(mask, (list, tuple)) else mask
        own = first if self.return_sequences else None
        return [own, *[None] * len(self._state_sizes)] if self.return_state else own

    def compute_output_shape(
        self, sequences_shape: Sequence[Any], initial_state_shape: Any = None
    ) -> Any:
        """Return the shape of the output, or of output and states with `return_state`.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        shape = self._check_shape(sequences_shape, "sequences_shape")
        if self.time_major:
            shape = (shape[1], shape[0], *shape[2:])
        sizes = self._find_state_sizes(shape)
        last = as_state_shape(
            shape[0], sizes[0] if isinstance(sizes[0], tuple) else self.output_size
        )
        steps = shape[1::-1] if self.time_major else shape[:2]
        own = (*steps, *last[1:]) if self.return_sequences else last
        if not self.return_state:
            return own
        return (own, *_shapes(sizes, shape[0]))

    def get_initial_state(self, batch_size: int) -> States:
        """Return states of zeros."""
        like = torch.zeros(batch_size, 1, dtype=getattr(torch, self.compute_dtype))
        first = next(self.parameters(), like)
        return _zeros(self._state_sizes, like.to(first.device))

    def __getstate__(self) -> dict[str, Any]:
        """Keep the states of a stateful layer in copies."""
        return {**super().__getstate__(), "states": self.states}


def _zeros(sizes: Sequence[Any], x: Tensor) -> States:
    return [
        _zeros(size, x) if isinstance(size, list) else x.new_zeros(as_state_shape(x.shape[0], size))
        for size in sizes
    ]


def _shapes(sizes: Sequence[Any], batch: int | None) -> list[Any]:
    return [
        _shapes(size, batch) if isinstance(size, list) else as_state_shape(batch, size)
        for size in sizes
    ]


def _detach(states: Any) -> States:
    return [_detach(s) if isinstance(s, (list, tuple)) else s.detach() for s in states]


def convert_states(states: Any, x: Tensor) -> States:
    """Return states in the dtype of a tensor, on its device."""
    return [convert_states(s, x) if isinstance(s, (list, tuple)) else s.to(x) for s in states]
