"""The valid steps of masked sequences, moved to the front, and the outputs for all steps."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._core.layout import swap_batch_and_time
from ..tracing import is_tracing
from .loop import Wanted


class ValidSteps:
    """Where the valid steps of a mask (batch, time) are; the tensors have the time first.

    A mask on a CPU is looked at, which costs little there: steps that are in front already are not
    moved, and those behind the longest sequence are left out. Elsewhere, and in graphs for other
    masks, too, nothing is known.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = swap_batch_and_time(mask)
        self.order = self.mask.cumsum(0)  # of the valid steps, from 1 on
        self.counts = self.order[-1]  # (batch,)
        self.longest = mask.shape[1]
        self.are_even, self.may_be_empty, self.are_in_front = False, True, False
        if _can_read(mask):
            counts = self.counts.tolist()
            shortest, longest = min(counts), max(counts)
            self.longest = max(longest, 1)
            self.are_even, self.may_be_empty = 0 < shortest == longest, shortest == 0
            positions = torch.arange(1, len(self.mask) + 1)[:, None]
            self.are_in_front = torch.equal(self.order, torch.minimum(positions, self.counts))

    @property
    def are_all(self) -> bool:
        """Whether every step is known to be valid."""
        return self.are_even and self.longest == len(self.mask)

    def move(self, x: Tensor, *, clear: bool) -> Tensor:
        """Return the valid steps of x (batch, time, features) in front, (longest, batch, features).

        Those behind them are 0; what is there already stays unless `clear`.
        """
        x = swap_batch_and_time(x)
        if self.are_in_front:
            x = x[: self.longest]
            return x.masked_fill(~self.mask[: self.longest, :, None], 0) if clear else x
        steps, batch, features = x.shape
        target = torch.where(self.mask, self.order - 1, steps)[..., None]
        moved = x.new_zeros(steps + 1, batch, features)
        return moved.scatter_(0, target.expand_as(x), x)[: self.longest]

    def find_padding(self) -> Tensor:
        """Return where a moved sequence has no valid step (longest, batch)."""
        return torch.arange(self.longest, device=self.counts.device)[:, None] >= self.counts

    def select(self, y: Tensor, wanted: Wanted, start: Tensor) -> Tensor:
        """Return the outputs (batch, time, units) for those of the moved steps.

        `start` is the first state (batch, units), which may be the output of masked first steps.
        """
        first = 0 if wanted.sequences else -1
        order = self.order[first:]
        found = _take(y, order)
        if wanted.masked_output == "zeros":
            found = torch.where(self.mask[first:, :, None], found, 0)
        elif self.may_be_empty or (wanted.sequences and not self.are_in_front):
            first_output = start if wanted.masked_output == "state" else 0
            found = torch.where((order > 0)[..., None], found, first_output)
        return swap_batch_and_time(found)

    def select_last(self, y: Tensor, start: Tensor) -> Tensor:
        """Return the output of the last valid step, or `start` (batch, units) without any."""
        last = y[-1] if self.are_even else _take(y, self.order[-1:])[0]
        return torch.where((self.counts > 0)[:, None], last, start) if self.may_be_empty else last


def _can_read(mask: Tensor) -> bool:
    """Return whether the values of a mask are at hand and need not hold for other calls."""
    return not is_tracing() and mask.is_cpu and type(mask) is Tensor and mask.numel() > 0


def _take(y: Tensor, order: Tensor) -> Tensor:
    """Return the outputs of steps, which are counted from 1; for 0 any.

    Whole rows are copied faster than `gather` copies elements.
    """
    steps, batch = order.shape
    rows = (order - 1).clamp_(min=0) * batch + torch.arange(batch, device=y.device)
    return y.flatten(0, 1).index_select(0, rows.flatten()).view(steps, *y.shape[1:])
