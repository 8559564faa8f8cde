"""Torch's fused kernels for LSTM and GRU, with masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from ..tracing import is_autocast_enabled, is_exporting
from .loop import MaskedOutput

_FROZEN = 1e4  # a gate of this size before its sigmoid is exactly 0 or 1


def can_fuse(x: Tensor, compiled_kernel: bool) -> bool:
    """Return whether a fused kernel can be called here.

    They have no batching rule, no forward-mode derivative, and inductor cannot train them; where
    `compiled_kernel` is False, inductor needs minutes for them. Many CPUs have none for float16.
    """
    if x.is_cpu and torch.float16 in (x.dtype, _get_autocast_dtype()):
        return False
    if is_exporting():
        return True
    if torch.compiler.is_compiling():
        return compiled_kernel and not torch.is_grad_enabled()
    in_transform = torch._C._functorch.peek_interpreter_stack() is not None
    return not in_transform and forward_ad._current_level < 0


def _get_autocast_dtype() -> torch.dtype | None:
    """Return the dtype of the autocast that is on for the CPU, if one is."""
    return torch.get_autocast_dtype("cpu") if is_autocast_enabled("cpu") else None


def run_lstm(
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    mask: Tensor | None,
    masked_output: MaskedOutput,
) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs and the last states of an LSTM for `weights` as `nn.LSTM` has them.

    With a mask the valid steps are moved to the front, whatever their pattern: one more feature,
    1 in the steps behind them, keeps the forget gate open and the input gate closed there.
    """
    h, c = states
    if mask is None:
        y, h, c = _call_lstm(x, h, c, weights)
        return y, [h, c]
    steps, units = x.shape[1], h.shape[1]
    order = mask.cumsum(1)  # of the valid steps, from 1 on
    target = torch.where(mask, order - 1, steps)[..., None]
    given = F.pad(x, (0, 1))
    empty = F.pad(x.new_zeros(x.shape[0], steps + 1, x.shape[2]), (0, 1), value=1.0)
    moved = empty.scatter(1, target.expand_as(given), given)[:, :steps]
    extended = _add_feature(weights[0], [-_FROZEN, _FROZEN, 0.0, 0.0])
    y, _, c = _call_lstm(moved, h, c, [extended, *weights[1:]])
    source = (order - 1).clamp(min=0)
    y = y.gather(1, source[..., None].expand(-1, -1, units))
    last = torch.where(order[:, -1:] > 0, y[:, -1], h)
    shown = mask if masked_output == "zeros" else order > 0
    first: Tensor | int = h[:, None] if masked_output == "state" else 0
    return torch.where(shown[..., None], y, first), [last, c]


def run_gru(
    x: Tensor,
    state: Tensor,
    weights: list[Tensor],
    mask: Tensor | None,
    masked_output: MaskedOutput,
) -> tuple[Tensor, Tensor]:
    """Return the outputs and the last state of a GRU for `weights` as `nn.GRU` has them.

    One more feature, 1 in the masked steps, opens the update gate there, which keeps the state.
    """
    if mask is not None:
        padding = torch.where(mask, 0.0, 1.0)[..., None].to(x)
        x = torch.cat([torch.where(mask[..., None], x, 0), padding], -1)
        weights = [_add_feature(weights[0], [0.0, _FROZEN, 0.0]), *weights[1:]]
    biased = len(weights) > 2
    y, h = torch._VF.gru(x, state[None], weights, biased, 1, 0.0, False, False, True)
    if mask is not None and masked_output != "state":
        shown = mask if masked_output == "zeros" else mask.cumsum(1) > 0
        y = torch.where(shown[..., None], y, 0)
    return y, h[0]


def _add_feature(weight: Tensor, gates: list[float]) -> Tensor:
    """Return a weight with one more input feature, which adds a number to each gate."""
    column = weight.new_tensor(gates)[:, None].expand(-1, weight.shape[0] // len(gates))
    return torch.cat([weight, column.reshape(-1, 1)], 1)


def _call_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Call torch's kernel, in training, too: it has no dropout of its own here."""
    biased = len(weights) > 2
    y, h, c = torch._VF.lstm(
        x, (h[None], c[None]), weights, biased, 1, 0.0, torch.is_grad_enabled(), False, True
    )
    return y, h[0], c[0]
