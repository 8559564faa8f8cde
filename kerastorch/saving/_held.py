"""Held: the tensors that a call of a model has at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from .._layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved


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
    """

    def __init__(self, size: int) -> None:
        self._outside: list[Any] = [None] * size
        self._inside: list[Tensor | Padded | None] = [None] * size
        self._makers: list[nn.Module | None] = [None] * size

    def __getitem__(self, slot: int) -> Any:
        found = self._outside[slot]
        if found is None and self._inside[slot] is not None:
            found = self._outside[slot] = axes_moved(self.moved(slot), CHANNELS_LAST[2])
        return found

    def __setitem__(self, slot: int, value: Any) -> None:
        self._outside[slot] = value

    def moved(self, slot: int) -> Any:
        """Return an image with its channels second, anything else as it is."""
        found = self._inside[slot]
        if isinstance(found, Padded):
            found = self._inside[slot] = F.pad(found.image, found.amounts)
        if found is None:
            found = self._outside[slot]
            if isinstance(found, Tensor) and found.ndim == 4:
                found = self._inside[slot] = axes_moved(found, CHANNELS_FIRST[2])
        return found

    def is_moved(self, slot: int) -> bool:
        """Return whether an image is there with its channels second."""
        return self._inside[slot] is not None

    def padded(self, slot: int) -> Padded | None:
        """Return what is still to be padded, if it is."""
        found = self._inside[slot]
        return found if isinstance(found, Padded) else None

    def maker(self, slot: int) -> nn.Module | None:
        """Return the layer that made what is in a slot, where it was called inside."""
        return self._makers[slot]

    def put(self, slot: int, y: Tensor | Padded, is_moved: bool, maker: nn.Module) -> None:
        """Hold what a layer called inside has made.

        Args:
            slot: The slot.
            y: The tensor, or the image to pad.
            is_moved: Whether it is an image with its channels second.
            maker: The layer.
        """
        if is_moved:
            self._inside[slot] = y
        else:
            self._outside[slot] = y
        self._makers[slot] = maker

    def drop(self, slots: Sequence[int]) -> None:
        """Forget what no later step needs."""
        for slot in slots:
            self._outside[slot] = self._inside[slot] = None
