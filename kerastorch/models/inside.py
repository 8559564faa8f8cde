"""How a rebuilt model calls its layers where nothing else sees what goes between them.

There, which means no hook, no activity regularizer and no class but those listed here,

- images keep PyTorch's order of axes, (batch, channels, height, width), from layer to layer: that
  spares each of them two views and their gradients, and shows a compiler the convolution beside
  what follows it;
- an activation or a sum overwrites what no other layer reads, where no gradient needs it: that
  saves a tensor, and the time to write it;
- a convolution or a pooling adds the zeros of the ZeroPadding2D before it by itself: that saves a
  copy.

A layer that cannot do it this time is called as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from .. import activations
from .._ops.tracing import is_compiling_one_size
from ..layers.activation.activation import ELU, Activation, LeakyReLU, ReLU
from ..layers.convolution.conv import Conv2D
from ..layers.core.dense import Dense
from ..layers.merging import merge
from ..layers.normalization.batch_norm import BatchNormalization
from ..layers.pooling.pooling import AveragePooling2D, MaxPooling2D
from ..layers.reshaping.padding import ZeroPadding2D
from .held import Held, Padded


def is_allowed(inputs: Sequence[Any]) -> bool:
    """Return whether any layer may be called inside now.

    Args:
        inputs: Those of the model.
    """
    if (
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    ):
        return False
    if torch.compiler.is_compiling():
        return all(isinstance(x, Tensor) and is_compiling_one_size(x) for x in inputs)
    return not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def is_unseen(module: nn.Module) -> bool:
    """Return whether a module may be called inside: nothing but its class says what it does."""
    return (
        type(module) in _CALLED_INSIDE
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


def is_called(
    layer: Any, held: Held, slots: Sequence[int], is_list: bool, once: Sequence[int], to: int
) -> bool:
    """Call a layer inside the model, and hold its output; return whether that could be.

    Args:
        layer: One to which `is_unseen` says yes.
        held: The tensors at hand.
        slots: Those of its inputs.
        is_list: Whether it takes a list.
        once: The slots that nothing reads but this call.
        to: The slot of its output.
    """
    if isinstance(layer, merge.Merge) is not is_list:
        return False
    first, moved = slots[0], layer._moved_inside
    if moved is None:  # both will do
        moved = held.inside[first] is not None
    overwrites = type(layer) in _OVERWRITING
    y: Tensor | Padded | None = None
    try:
        if moved and (type(layer) is ZeroPadding2D or type(held.inside[first]) is Padded):
            y = _with_padding(layer, held, first, first in once)
        if y is None and is_list:
            found = [held.moved(slot) if moved else held[slot] for slot in slots]
            if all(isinstance(x, Tensor) for x in found):
                spare = [overwrites and _is_spare(held, slot, once) for slot in slots]
                y = layer._inside(found, spare)
        elif y is None:
            x = (held.inside if moved else held.outside)[first]
            if not isinstance(x, Tensor):  # in the other order, or still to be padded
                x = held.moved(first) if moved else held[first]
            if isinstance(x, Tensor):
                y = layer._inside(x, overwrites and _is_spare(held, first, once))
    except RuntimeError:  # the call outside says what is wrong
        return False
    if y is None:
        return False
    is_image = isinstance(y, Padded) or y.ndim == 4
    (held.inside if moved and is_image else held.outside)[to] = y
    held.makers[to] = layer
    return True


def _with_padding(layer: Any, held: Held, slot: int, once: bool) -> Tensor | Padded | None:
    """Return what a ZeroPadding2D, or a layer of what is to be padded, makes without a copy.

    None means that it cannot. What other modules may have, too, is padded at once: one of them may
    be in the place of a layer, and write to what it gets.
    """
    if type(layer) is ZeroPadding2D:
        x, maker = held.moved(slot), held.makers[slot]
        handed_on = type(maker) is Activation and maker.activation is activations.linear
        fits = isinstance(x, Tensor) and x.ndim == 4 and x.dtype is layer._compute
        if not once or maker is None or handed_on or not fits:
            return None
        return Padded(x, layer._amounts, maker)
    padded: Any = held.inside[slot]
    left, right, top, bottom = padded.amounts
    if left != right or top != bottom:
        return None
    if type(layer) is Conv2D or (type(layer) is MaxPooling2D and _is_of_0_or_more(padded.maker)):
        found: Tensor | None = layer._inside_padded(padded.image, (top, left))
        return found
    return None


def _is_of_0_or_more(maker: Any) -> bool:
    """Return whether no output of a layer is below the zeros of a padding.

    What a window takes of a border that it shares with such numbers is the same without it; so is
    their gradient, which is 0 where they are.
    """
    if type(maker) in (Activation, Conv2D):
        return maker.activation is activations.relu
    return type(maker) is ReLU and not maker.negative_slope


def _is_spare(held: Held, slot: int, once: Sequence[int]) -> bool:
    """Return whether a layer may overwrite what is in a slot."""
    if slot not in once:
        return False
    maker = held.makers[slot]
    if maker is None or type(maker) in _ACTIVATIONS or torch.compiler.is_compiling():
        return False
    if not torch.is_grad_enabled():
        return True
    x: Any = held[slot] if held.inside[slot] is None else held.inside[slot]
    # To overwrite a view costs the gradient copies.
    return _leaves_its_output(maker) and not x._is_view()


def _leaves_its_output(maker: Any) -> bool:
    """Return whether the gradient of a layer, which is no activation, needs no output of it."""
    return type(maker) is not Conv2D or maker.activation is activations.linear


_ACTIVATIONS = (Activation, ReLU, LeakyReLU, ELU)  # what they give may be what they got
_OVERWRITING = (Activation, ReLU, merge.Add)

# The classes whose layers can be called inside; a subclass may do anything.
_CALLED_INSIDE = {
    *_ACTIVATIONS,
    Conv2D,
    Dense,
    BatchNormalization,
    MaxPooling2D,
    AveragePooling2D,
    ZeroPadding2D,
    merge.Add,
    merge.Subtract,
    merge.Multiply,
    merge.Average,
    merge.Maximum,
    merge.Minimum,
    merge.Concatenate,
}
