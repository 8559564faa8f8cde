"""Which activations of a model may overwrite their input.

That saves a tensor, and the time to write it, where nothing else reads what the layer before has
made: no other layer, no output of the model, no hook, and in training no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from .. import activations
from .._layout import CHANNELS_LAST, axes_moved
from .._pointwise import keeps_its_output
from ..layers._activation import Activation, ReLU
from ..layers._base_conv import BaseConv
from ..layers._dense import Dense
from ..layers._merging import Add, Average, Subtract
from ..layers._normalization import BatchNormalization

_MAKERS = (BaseConv, Dense, BatchNormalization, Add, Average, Subtract)
_ACTIVATIONS = (Activation, ReLU)


def is_activation_of(maker: nn.Module | None, module: nn.Module) -> bool:
    """Return whether a module is an activation, and the one before makes a new tensor."""
    return isinstance(module, _ACTIVATIONS) and isinstance(maker, _MAKERS)


def may_overwrite(module: nn.Module, maker: Any) -> bool:
    """Return whether a module is an activation that may overwrite what another one has made.

    Args:
        module: The module to call.
        maker: The one that made its only input, which no other module reads.
    """
    return (
        is_activation_of(maker, module)
        and not (maker._forward_hooks or module._forward_hooks or module._forward_pre_hooks)
        and (not torch.is_grad_enabled() or _is_saved_nowhere(module, maker))
    )


def is_allowed() -> bool:
    """Return whether anything may be overwritten now."""
    return not (
        torch.compiler.is_compiling()
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
    )


def overwritten(module: nn.Module, x: Tensor) -> Tensor:
    """Return what an activation makes of an input, in its place if that can be.

    Args:
        module: The activation.
        x: What it may overwrite.
    """
    layer: Activation | ReLU = module  # type: ignore[assignment]
    whole = x._base if torch.is_grad_enabled() else None
    if whole is None:
        return layer._returned(layer._overwriting(layer._received(x)))
    if not _is_moved(whole, x) or x.dtype is not layer._compute:
        found: Tensor = layer(x)
        return found
    # The gradient of a view that is overwritten takes a copy; that of what it views does not.
    return layer._returned(axes_moved(layer._overwriting(whole), CHANNELS_LAST[2]))


def _is_moved(whole: Tensor, x: Tensor) -> bool:
    """Return whether `x` is all of an output (batch, channels, height, width) in Keras's order."""
    if whole.ndim != 4:
        return False
    moved = axes_moved(whole.detach(), CHANNELS_LAST[2])
    return moved.shape == x.shape and moved.stride() == x.stride()


def _is_saved_nowhere(module: nn.Module, maker: nn.Module) -> bool:
    """Return whether no gradient needs what a layer has made, nor what the activation gets."""
    if maker.activity_regularizer is not None:
        return False
    if isinstance(maker, (BaseConv, Dense)) and maker.activation is not activations.linear:
        return False
    return isinstance(module, ReLU) or keeps_its_output(module.activation)
