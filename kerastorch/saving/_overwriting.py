"""Which activations of a model may overwrite their input.

Without gradients an activation saves a tensor by overwriting what the layer before it made, where
nothing else reads that: no other layer, no output of the model and no hook.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ..layers._activation import Activation, ReLU
from ..layers._base_conv import BaseConv
from ..layers._dense import Dense
from ..layers._merging import Elementwise
from ..layers._normalization import BatchNormalization

_MAKERS = (BaseConv, Dense, BatchNormalization, Elementwise)
_ACTIVATIONS = (Activation, ReLU)


def may_overwrite(module: nn.Module, maker: nn.Module | None) -> bool:
    """Return whether a module is an activation that may overwrite what another one has made.

    Args:
        module: The module to call.
        maker: The one that made its only input, which nothing else reads.
    """
    return (
        isinstance(module, _ACTIVATIONS)
        and isinstance(maker, _MAKERS)
        and not (maker._forward_hooks or module._forward_hooks or module._forward_pre_hooks)
    )


def is_allowed() -> bool:
    """Return whether anything may be overwritten now."""
    return not (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
    )


def overwritten(module: nn.Module, x: Tensor) -> Tensor:
    """Return what an activation makes of an input, in its place if that can be."""
    layer: Activation | ReLU = module  # type: ignore[assignment]
    return layer._returned(layer._overwriting(layer._received(x)))
