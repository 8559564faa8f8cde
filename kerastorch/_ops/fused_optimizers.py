"""A correction of memory formats for fused optimizers.

The fused steps of torch's SGD, Adam, AdamW and Adagrad on a CPU ignore strides. Where a gradient or
a state tensor has other strides than its parameter, the update is silently wrong (torch 2.13).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def match_strides(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Copy gradients and state to the strides of their parameters before a fused step.

    As a step pre-hook it sees every cause of other strides: a state_dict, `.to(memory_format=...)`
    or `load_state_dict(assign=True)` on the model, a gradient set by hand.
    """
    for group in optimizer.param_groups:
        if group.get("fused"):
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _match_tensors(parameter, optimizer.state.get(parameter, {}))


def _match_tensors(parameter: Tensor, state: dict[str, Any]) -> None:
    strides = parameter.stride()
    gradient: Any = parameter.grad
    if gradient.layout is torch.strided and gradient.stride() != strides:
        parameter.grad = _copy_like(parameter, gradient)
    for name, value in state.items():
        if name != "step" and isinstance(value, Tensor) and value.stride() != strides:
            state[name] = _copy_like(parameter, value)


def _copy_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a tensor with the strides of a parameter, without a copy if it has them."""
    if value.shape != parameter.shape:
        return value
    strides = zip(value.stride(), parameter.stride(), parameter.shape, strict=True)
    if all(a == b for a, b, size in strides if size != 1):  # strides of size 1 do not matter
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
