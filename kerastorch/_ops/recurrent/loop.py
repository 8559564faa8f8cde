"""The loop of recurrent layers over time, with Keras's rules for masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

States = list[Any]  # of tensors, or of lists of tensors
Step = Callable[[Tensor, States], tuple[Tensor, States]]
MaskedOutput = Literal["previous", "zeros", "state"]  # the output where the mask is False


class Wanted(NamedTuple):
    """What a run through a sequence has to return."""

    sequences: bool  # the outputs at all times, or (batch, 1, ...) at the last one
    states: bool  # the last states, or none
    masked_output: MaskedOutput


def scan(
    step: Step,
    sequence: Tensor,
    states: States,
    mask: Tensor | None,
    wanted: Wanted,
) -> tuple[Tensor, States]:
    """Apply a step to each time of a sequence (batch, time, ...) and stack the outputs.

    Where the mask (batch, time) is False, the states stay as they are, and the output is the
    previous one, at first zeros, or always zeros, or the first of the states. The sequence and the
    mask are split at once: the gradient of an index would be as large as the sequence, at each
    time.
    """
    outputs: list[Tensor] = []
    if mask is None:
        for x in sequence.unbind(1):
            output, states = step(x, states)
            outputs.append(output)
        return _stack(outputs, wanted), states
    previous: Tensor | None = None
    for x, valid in zip(sequence.unbind(1), mask.unbind(1), strict=True):
        output, new = step(x, states)
        if wanted.masked_output == "state":
            previous = flatten_states(states)[0]
        elif previous is None or wanted.masked_output == "zeros":
            previous = torch.zeros_like(output)
        states = _select(valid, new, states)
        previous = _select(valid, output, previous)
        outputs.append(previous)
    return _stack(outputs, wanted), states


def _stack(outputs: list[Tensor], wanted: Wanted) -> Tensor:
    return torch.stack(outputs if wanted.sequences else outputs[-1:], 1)


def _select(valid: Tensor, new: Any, old: Any) -> Any:
    """Return the new tensors of the valid samples and the old ones of the others."""
    if isinstance(new, (list, tuple)):
        return [_select(valid, one, other) for one, other in zip(new, old, strict=True)]
    return torch.where(valid.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def reverse_time(x: Tensor | None) -> Tensor | None:
    """Return a sequence or a mask from its end to its start."""
    return None if x is None else x.flip(1)


def flatten_states(states: Any) -> list[Tensor]:
    """Return the tensors of nested states."""
    if not isinstance(states, (list, tuple)):
        return [states]
    return [tensor for state in states for tensor in flatten_states(state)]
