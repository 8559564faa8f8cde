"""The operations of `keras.ops` that rearrange, join or cut tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .._core.errors import argument_error
from .._core.layout import permute_axes
from .reductions import normalize_axes


def reshape(x: Tensor, newshape: Any) -> Tensor:
    """Reshape a tensor; one size may be -1."""
    sizes = newshape if isinstance(newshape, (list, tuple)) else [newshape]
    return torch.reshape(x, [_to_int(size) for size in sizes])


def _to_int(size: Any) -> int:
    if isinstance(size, Tensor):
        return int(size.item())
    if type(size) is not int:
        rule = "integers; a size that is not known must be -1"
        raise ValueError(argument_error("Reshape", "newshape", rule, size))
    return size


def transpose_axes(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes of a tensor; by default reverse them."""
    return permute_axes(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))


def swap_axes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Swap two axes."""
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return permute_axes(x, tuple(order))


def squeeze(x: Tensor, axis: Any = None) -> Tensor:
    """Remove axes of size 1: the given ones, or all."""
    axes = normalize_axes(axis)
    if axes is None:
        return torch.squeeze(x)
    if any(x.shape[one] != 1 for one in axes):
        shape = tuple(x.shape)
        raise ValueError(argument_error("Squeeze", "axis", "axes of size 1", axis, x=shape))
    return torch.squeeze(x, axes)


def expand_dims(x: Tensor, axis: Any) -> Tensor:
    """Insert axes of size 1, given as axes of the result."""
    axes = normalize_axes(axis) or ()
    for one in sorted(one % (x.ndim + len(axes)) for one in axes):
        x = x.unsqueeze(one)
    return x


def get_item(x: Tensor, key: Any) -> Tensor:
    """Index a tensor; a key that is a list means the same as a tuple."""
    parts = tuple(key) if isinstance(key, (list, tuple)) else (key,)
    good = all(p is None or p is ... or type(p) is int or isinstance(p, slice) for p in parts)
    if not good or any(isinstance(p, slice) and (p.step or 1) < 1 for p in parts):
        rule = "integers, slices with steps above 0, null and an ellipsis"
        raise ValueError(argument_error("GetItem", "key", rule, key))
    found: Tensor = x[parts]
    return found


def flip(x: Tensor, axis: Any = None) -> Tensor:
    """Reverse a tensor along axes, by default along all."""
    return torch.flip(x, normalize_axes(axis) or tuple(range(x.ndim)))


def split(x: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Split a tensor along an axis, into a number of equal parts or at these indices."""
    size, parts = x.shape[axis], indices_or_sections
    if type(parts) is int:
        if parts < 1 or size % parts or not size:
            argument, rule = "indices_or_sections", "a divisor"
            raise ValueError(argument_error("Split", argument, rule, parts, size=size))
        return list(torch.split(x, size // parts, axis))
    sizes = [after - before for before, after in pairwise([0, *parts, size])]
    return list(torch.split(x, sizes, axis))
