"""Torch's fused kernels for LSTM and GRU, with masks.

The valid steps of a mask are in front when a kernel runs, and its outputs are moved back: it needs
no rule for masks of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..tracing import is_exporting
from .loop import Wanted
from .valid_steps import ValidSteps

_FROZEN = 1e4  # a gate of this size before its sigmoid is exactly 0 or 1


def can_fuse(x: Tensor, compiled_kernel: bool) -> bool:
    """Return whether a fused kernel can be called here.

    They have no batching rule, no forward-mode derivative, and inductor cannot train them; where
    `compiled_kernel` is False, inductor needs minutes for them. Many CPUs have none for float16.
    """
    if x.is_cpu and _computes_in_float16(x):
        return False
    if torch.compiler.is_compiling():
        return is_exporting() or (compiled_kernel and not torch.is_grad_enabled())
    in_transform = torch._C._functorch.peek_interpreter_stack() is not None
    return not in_transform and forward_ad._current_level < 0


def _computes_in_float16(x: Tensor) -> bool:
    half = torch.float16
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is half
    return autocast or x.dtype is half


def run_lstm(
    x: Tensor, states: list[Tensor], weights: list[Tensor], mask: Tensor | None, wanted: Wanted
) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs and the last states of an LSTM for `weights` as `nn.LSTM` has them.

    Where samples have different numbers of valid steps and the last states are wanted, one more
    feature, 1 in the steps behind them, keeps the forget gate open and the input gate closed there.
    """
    h, c = states
    steps = None if mask is None else ValidSteps(mask)
    if steps is None or steps.are_all:
        y, h, c = _call_lstm(x, h, c, weights, batch_first=True)
        return y, [h.squeeze(0), c.squeeze(0)] if wanted.states else []
    freezes = wanted.states and not steps.are_even
    x = steps.move(x, clear=freezes or torch.is_grad_enabled())
    if freezes:
        x = torch.cat([x, steps.find_padding()[..., None].to(x)], -1)
        weights = [_add_feature(weights[0], [-_FROZEN, _FROZEN, 0.0, 0.0]), *weights[1:]]
    y, _, c = _call_lstm(x, h, c, weights, batch_first=False)
    last = [steps.select_last(y, h), c.squeeze(0)] if wanted.states else []
    return steps.select(y, wanted, h), last


def run_gru(
    x: Tensor, state: Tensor, weights: list[Tensor], mask: Tensor | None, wanted: Wanted
) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs and the last state of a GRU for `weights` as `nn.GRU` has them."""
    steps = None if mask is None else ValidSteps(mask)
    if steps is None or steps.are_all:
        y, h = _call_gru(x, state, weights, batch_first=True)
        return y, [h.squeeze(0)] if wanted.states else []
    moved = steps.move(x, clear=torch.is_grad_enabled())
    y, _ = _call_gru(moved, state, weights, batch_first=False)
    return steps.select(y, wanted, state), [steps.select_last(y, state)] if wanted.states else []


def _add_feature(weight: Tensor, gates: list[float]) -> Tensor:
    """Return a weight with one more input feature, which adds a number to each gate."""
    column = weight.new_tensor(gates)[:, None].expand(-1, weight.shape[0] // len(gates))
    return torch.cat([weight, column.reshape(-1, 1)], 1)


def _call_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor], *, batch_first: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Call torch's kernel, in training, too: it has no dropout of its own here."""
    first = h.unsqueeze(0)
    states = first, first if c is h else c.unsqueeze(0)
    train = torch.is_grad_enabled()
    return torch._VF.lstm(x, states, weights, len(weights) > 2, 1, 0.0, train, False, batch_first)


def _call_gru(
    x: Tensor, h: Tensor, weights: list[Tensor], *, batch_first: bool
) -> tuple[Tensor, Tensor]:
    biased = len(weights) > 2
    return torch._VF.gru(x, h.unsqueeze(0), weights, biased, 1, 0.0, False, False, batch_first)
