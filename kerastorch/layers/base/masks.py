"""Masks that layers are called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..._core.arrays import to_tensor


def to_mask(
    layer: Any,
    mask: Any,
    shape: Sequence[int],
    device: torch.device,
    argument: str = "mask",
    whose: str = "",
) -> Tensor:
    """Return a mask as a boolean tensor; refuse one that does not broadcast to a shape.

    `whose` is the name of the tensor that it masks, for a message where there are several.
    """
    found: Any = mask if isinstance(mask, Tensor) else to_tensor(mask)
    if found is None:
        layer._refuse_argument(argument, "a tensor or an array of booleans", mask)
    pairs = zip(found.shape, shape, strict=False)
    if found.ndim != len(shape) or any(own not in (1, size) for own, size in pairs):
        rule = f"of the shape {tuple(shape)}{whose and f' for the {whose}'}"
        layer._refuse_argument(argument, rule, tuple(found.shape))
    result: Tensor = found.to(device=device, dtype=torch.bool)
    return result


def list_masks(layer: Any, mask: Any, count: int) -> list[Any]:
    """Return the masks of a list of inputs, None for one without; refuse another number."""
    if not isinstance(mask, (list, tuple)) or len(mask) != count:
        shown = len(mask) if isinstance(mask, (list, tuple)) else mask
        layer._refuse_argument("mask", f"a list with a mask or None for each of {count}", shown)
    return list(mask)
