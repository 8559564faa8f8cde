"""Dot-product attention of several heads, with masks."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from ..._core.layout import permute_axes, swap_steps_and_heads


def can_fuse_attention() -> bool:
    """Return whether torch's kernel can be called here.

    It has no forward-mode derivative, and no second one, which transforms may ask for.
    """
    if torch.compiler.is_compiling():
        return True
    in_transform = torch._C._functorch.peek_interpreter_stack() is not None
    return not in_transform and forward_ad._current_level < 0


def attend_fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, *, causal: bool
) -> Tensor:
    """Attend by torch's kernel: tensors (batch, steps, heads, size).

    The mask is added to the scores, or a boolean one, with which a query without any key gives 0.
    """
    q, k, v = (swap_steps_and_heads(x) for x in (query, key, value))
    return swap_steps_and_heads(
        F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    )


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    axes: Sequence[int],
    drop: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the outputs, and the weights before they are dropped.

    Tensors are (batch, ..., heads, size); the steps are along `axes`. The mask is as in
    `attend_fused`.
    """
    # One axis of steps is the usual case, for which `einsum` takes longer to prepare.
    equations = None if query.ndim == 4 else _write_equations(query.ndim, axes)
    if equations is None:
        scores = swap_steps_and_heads(query * scale) @ permute_axes(key, (0, 2, 3, 1))
    else:
        scores = torch.einsum(equations[0], key, query * scale)
    kept = mask if mask is not None and mask.dtype is torch.bool else None
    if kept is not None:
        scores = scores.masked_fill(~kept, -3e4 if scores.dtype is torch.float16 else -1e9)
    elif mask is not None:
        scores = scores + mask
    weights = scores.flatten(-len(axes)).softmax(-1).reshape(scores.shape)
    if kept is not None:
        weights = weights.masked_fill(~kept, 0)
    used = drop(weights).to(value.dtype)
    if equations is None:
        return swap_steps_and_heads(used @ swap_steps_and_heads(value)), weights
    return torch.einsum(equations[1], used, value), weights


def _write_equations(rank: int, axes: Sequence[int]) -> tuple[str, str]:
    """Return the contractions to (batch, ..., heads, *steps, *keys) and back."""
    query, more = string.ascii_letters[:rank], iter(string.ascii_letters[rank:])
    key = "".join(next(more) if axis in axes else query[axis] for axis in range(rank))
    batch = [query[axis] for axis in range(rank - 1) if axis not in axes]
    scores = "".join([*batch, *(query[a] for a in axes), *(key[a] for a in axes)])
    return f"{key},{query}->{scores}", f"{scores},{key}->{query}"


def make_causal_mask(steps: int, keys: int, device: torch.device) -> Tensor:
    """Return the mask (steps, keys) of the keys that are not behind a step."""
    return torch.ones(steps, keys, dtype=torch.bool, device=device).tril()


def make_window_mask(steps: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Return the mask (steps, keys) of the keys that are less than `window` away from a step."""
    distance = torch.arange(steps, device=device)[:, None] - torch.arange(keys, device=device)
    return distance.abs() < window


def expand_mask(mask: Tensor, rank: int, axes: int) -> Tensor:
    """Return a mask of the rank of the scores: axes are added in front of those of the steps."""
    while mask.ndim < rank:
        mask = mask.unsqueeze(-2 * axes - 1)
    return mask
