"""How a rebuilt model calls its layers where nothing else sees what goes between them.

There, which means no hook, no activity regularizer and no class but those listed here,

- images keep PyTorch's order of axes, (batch, channels, height, width), from layer to layer: that
  spares each of them two views and their gradients, and shows a compiler the convolution beside
  what follows it;
- an activation or a sum overwrites what no other layer reads, where no gradient needs it: that
  saves a tensor, and the time to write it.

A layer that cannot do it this time is called as always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from .. import activations
from .._any_size import is_compiling_one_size
from .._layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved
from ..layers import _activation, _merging
from ..layers._conv import Conv2D
from ..layers._dense import Dense
from ..layers._normalization import BatchNormalization
from ..layers._padding import ZeroPadding2D
from ..layers._pooling import AveragePooling2D, MaxPooling2D


class Held:
    """The tensors that a call of a model has at hand, each in its slot.

    An image is there in Keras's order of axes, or inside: with its channels second; or both.
    `held[slot]` is Keras's.

    Args:
        size: The number of slots.
    """

    def __init__(self, size: int) -> None:
        self._outside: list[Any] = [None] * size
        self._inside: list[Tensor | None] = [None] * size
        self._is_own = [False] * size  # whether only the layer that reads the slot may see it

    def __getitem__(self, slot: int) -> Any:
        found = self._outside[slot]
        if found is None and (y := self._inside[slot]) is not None:
            found = self._outside[slot] = axes_moved(y, CHANNELS_LAST[2])
        return found

    def __setitem__(self, slot: int, value: Any) -> None:
        self._outside[slot] = value

    def moved(self, slot: int) -> Any:
        """Return an image with its channels second, anything else as it is."""
        found = self._inside[slot]
        if found is None:
            found = self._outside[slot]
            if isinstance(found, Tensor) and found.ndim == 4:
                found = self._inside[slot] = axes_moved(found, CHANNELS_FIRST[2])
        return found

    def drop(self, slots: Sequence[int]) -> None:
        """Forget what no later step needs."""
        for slot in slots:
            self._outside[slot] = self._inside[slot] = None

    def call_inside(
        self, module: Any, slots: Sequence[int], is_list: bool, once: Sequence[int], to: int
    ) -> bool:
        """Call a layer's `_inside`; return whether that could be.

        Args:
            module: The layer, to which `is_unseen` says yes.
            slots: Those of its inputs.
            is_list: Whether it takes a list.
            once: The slots that nothing reads but this call.
            to: The slot of its output.
        """
        moved = module._moved_inside
        if moved is None:  # both will do
            moved = self._inside[slots[0]] is not None
        found = [self.moved(slot) if moved else self[slot] for slot in slots]
        spare = [self._is_own[slot] and slot in once for slot in slots]
        if not all(isinstance(x, Tensor) for x in found):
            return False
        try:
            y = module._inside(found, spare) if is_list else module._inside(found[0], spare[0])
        except RuntimeError:  # the call outside says what is wrong
            return False
        if y is None:
            return False
        if moved and y.ndim == 4:
            self._inside[to] = y
        else:
            self._outside[to] = y
        self._is_own[to] = _MAKES_ITS_OWN[type(module)](module)
        return True


def is_allowed(inputs: Sequence[Any]) -> bool:
    """Return whether any layer may be called inside now.

    Args:
        inputs: Those of the model.
    """
    if torch.compiler.is_compiling():
        return all(isinstance(x, Tensor) and is_compiling_one_size(x) for x in inputs)
    return not (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    )


def is_unseen(module: nn.Module) -> bool:
    """Return whether a module may be called inside: nothing but its class says what it does."""
    return (
        type(module) in _MAKES_ITS_OWN
        and not (
            module._forward_hooks
            or module._forward_pre_hooks
            or module._backward_hooks
            or module._backward_pre_hooks
        )
        and module._compiled_call_impl is None
        and "forward" not in vars(module)
        and module.activity_regularizer is None
    )


def _always(_: nn.Module) -> bool:
    return not torch.compiler.is_compiling()


def _unless_activated(module: Any) -> bool:
    """Return whether no gradient needs the output: that of most activations does."""
    if torch.compiler.is_compiling():
        return False
    return not torch.is_grad_enabled() or module.activation is activations.linear


def _never(_: nn.Module) -> bool:
    return False


# Of these classes themselves; a subclass may do anything.
_MAKES_ITS_OWN: dict[type, Callable[[Any], bool]] = {
    Conv2D: _unless_activated,
    Dense: _always,
    BatchNormalization: _always,
    MaxPooling2D: _always,
    AveragePooling2D: _always,
    ZeroPadding2D: _always,
    _merging.Add: _always,
    _merging.Subtract: _always,
    _merging.Multiply: _always,
    _merging.Average: _always,
    _merging.Maximum: _always,
    _merging.Minimum: _always,
    _merging.Concatenate: _always,
    _activation.Activation: _never,
    _activation.ReLU: _never,
    _activation.LeakyReLU: _never,
    _activation.ELU: _never,
}
