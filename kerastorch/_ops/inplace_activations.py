"""In-place activations, for fresh single-use tensors such as the outputs of convolutions.

They need less time and memory, and no copy of the gradient if applied before the axes are permuted
back to the user's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..activations import elu, hard_silu, leaky_relu, mish, relu, relu6, selu, sigmoid, silu, tanh
from ..activations.functions import BUILT_IN, ELEMENTWISE, OF_BOOLEANS, OF_INTEGERS

Callback = Callable[..., Tensor]


def is_elementwise(function: object) -> bool:
    """Return whether `function` is a built-in elementwise activation."""
    return isinstance(function, FunctionType) and function in ELEMENTWISE


def accepts_integers(function: object) -> bool:
    """Return whether an activation accepts integers in Keras on TensorFlow."""
    return not _is_built_in(function) or function in OF_INTEGERS


def accepts_booleans(function: object) -> bool:
    """Return whether an activation accepts booleans in Keras on TensorFlow."""
    return not _is_built_in(function) or function in OF_BOOLEANS


def _is_built_in(function: object) -> bool:
    return isinstance(function, FunctionType) and function in BUILT_IN


def get_inplace_activation(function: object) -> Callback | None:
    """Return a form of `function` that may overwrite its argument, or None if there is no gain."""
    return _IN_PLACE.get(function) if isinstance(function, FunctionType) else None


# These save their output for the backward pass, so they may overwrite the input.
def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)


def _relu6(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)


# These save their input, so they may overwrite it only without gradients.
def _silu(x: Tensor) -> Tensor:
    return F.silu(x, inplace=not torch.is_grad_enabled())


def _hard_silu(x: Tensor) -> Tensor:
    return F.hardswish(x, inplace=not torch.is_grad_enabled())


def _mish(x: Tensor) -> Tensor:
    return F.mish(x, inplace=not torch.is_grad_enabled())


_IN_PLACE: dict[Callable[..., Any], Callback] = {
    relu: torch.relu_,
    relu6: _relu6,
    leaky_relu: _leaky_relu,
    elu: F.elu_,
    selu: torch.selu_,
    sigmoid: torch.sigmoid_,
    tanh: torch.tanh_,
    silu: _silu,
    hard_silu: _hard_silu,
    mish: _mish,
}
