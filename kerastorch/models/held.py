"""Held: the tensors that a call of a model has at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved


class Padded(NamedTuple):
    """An image that zeros are still to be put around.

    Attributes:
        image: (batch, channels, height, width).
        amounts: (left, right, top, bottom).
        maker: The layer that made the image, where it was called inside.
    """

    image: Tensor
    amounts: Sequence[int]
    maker: nn.Module | None


class Held:
    """The tensors that a call of a model has at hand, each in its slot.

    An image is there in Keras's order of axes, or inside the model: with its channels second,
    perhaps still to be padded; or both. `held[slot]` is Keras's.

    Args:
        size: The number of slots.

    Attributes:
        outside: What is there as Keras has it, by the slot.
        inside: The images with their channels second, by the slot.
        makers: The layer that made what is in a slot, where it was called inside.
    """

    def __init__(self, size: int) -> None:
        # torch 2.6 cannot compile `[None] * size`.
        self.outside: list[Any] = [None for _ in range(size)]
        self.inside: list[Tensor | Padded | None] = [None for _ in range(size)]
        self.makers: list[nn.Module | None] = [None for _ in range(size)]

    def __getitem__(self, slot: int) -> Any:
        found = self.outside[slot]
        if found is None and self.inside[slot] is not None:
            found = self.outside[slot] = axes_moved(self.moved(slot), CHANNELS_LAST[2])
        return found

    def __setitem__(self, slot: int, value: Any) -> None:
        self.outside[slot] = value

    def moved(self, slot: int) -> Any:
        """Return an image with its channels second, anything else as it is."""
        found = self.inside[slot]
        if isinstance(found, Padded):
            found = self.inside[slot] = F.pad(found.image, found.amounts)
        if found is None:
            found = self.outside[slot]
            if isinstance(found, Tensor) and found.ndim == 4:
                found = self.inside[slot] = axes_moved(found, CHANNELS_FIRST[2])
        return found

    def drop(self, slots: Sequence[int]) -> None:
        """Forget what no later step needs."""
        for slot in slots:
            self.outside[slot] = self.inside[slot] = None
