"""The valid steps of masked sequences, moved to the front, and the outputs for all steps."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tracing import is_tracing
from .loop import Wanted


class ValidSteps:
    """Where the valid steps of a mask (batch, time) are; all tensors have the time first.

    Masks on a CPU are looked at, which costs nothing there: steps that are in front already are
    not moved, and the steps after the longest sequence are left out. Elsewhere, and in graphs
    for other masks, too, all steps are kept.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask.t()
        self.order = self.mask.cumsum(0)  # of the valid steps, from 1 on (time, batch)
        self.counts = self.order[-1]
        self.longest = mask.shape[1]
        self.are_in_front = self.are_even = self.has_empty = False
        if _can_read(mask):
            shortest, longest = (int(count) for count in self.counts.aminmax())
            self.longest = max(longest, 1)
            self.are_even = 0 < shortest == longest
            self.has_empty = shortest == 0
            self.are_in_front = not (self.mask[1:] > self.mask[:-1]).any()
        else:
            self.has_empty = True

    @property
    def are_all(self) -> bool:
        """Whether every step is known to be valid."""
        return self.are_even and self.longest == len(self.mask)

    def move(self, x: Tensor, *, clear: bool) -> Tensor:
        """Return the valid steps of x (batch, time, features) in front, (longest, batch, features).

        The steps behind them are 0, unless `clear` is False and they were there already.
        """
        x = x.transpose(0, 1)
        if self.are_in_front:
            x = x[: self.longest]
            return x.masked_fill(~self.mask[: self.longest, :, None], 0) if clear else x
        steps, batch, features = x.shape
        target = torch.where(self.mask, self.order - 1, steps)[..., None]
        moved = x.new_zeros(steps + 1, batch, features)
        return moved.scatter_(0, target.expand_as(x), x)[: self.longest]

    def find_padding(self) -> Tensor:
        """Return where a moved sequence has no valid step (longest, batch)."""
        steps = torch.arange(self.longest, device=self.counts.device)
        return steps[:, None] >= self.counts

    def select(self, y: Tensor, wanted: Wanted) -> Tensor:
        """Return the outputs (batch, time, units) for those of the moved steps."""
        first = 0 if wanted.sequences else -1
        order, mask = self.order[first:], self.mask[first:]
        found = _gather(y, order)
        if wanted.zero_output:
            found = torch.where(mask[..., None], found, 0)
        elif self.has_empty or (wanted.sequences and not self.are_in_front):
            found = torch.where((order > 0)[..., None], found, 0)
        return found.transpose(0, 1)

    def select_last(self, y: Tensor, start: Tensor) -> Tensor:
        """Return the output of the last valid step, or `start` (batch, units) without any."""
        last = y[-1] if self.are_even else _gather(y, self.order[-1:])[0]
        return torch.where((self.counts > 0)[:, None], last, start) if self.has_empty else last


def _can_read(mask: Tensor) -> bool:
    """Return whether the values of a mask are at hand and hold for this call only."""
    return mask.is_cpu and type(mask) is Tensor and mask.numel() > 0 and not is_tracing()


def _gather(y: Tensor, order: Tensor) -> Tensor:
    """Return the output of each valid step counted from 1; the first one for 0."""
    index = (order - 1).clamp_(min=0)[..., None].expand(-1, -1, y.shape[2])
    return y.gather(0, index)
