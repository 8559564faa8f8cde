"""Constraints in place: what they make of a weight, in less time and without its memory again.

A norm is torch's own instead of the root of a sum of squares: equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from .. import config
from ..constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm

# Beyond this many numbers, torch's norm on a CPU is off by more than 1e-6.
_MOST_IN_A_NORM = 8192

# So many float32 numbers stay in a CPU's second cache between their norms and their scaling.
_MOST_IN_A_CACHE = 2**18


def in_place(constraint: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor] | None:
    """Return what projects a weight in place as `constraint` does, or None where nothing does.

    A subclass may project otherwise than its base, so only the classes of the table count.
    """
    found = _IN_PLACE.get(type(constraint))
    return None if found is None else partial(found, constraint)


def _norms(w: Tensor, axis: int | Sequence[int] | None) -> Tensor:
    """Return the norms along `axis`, which stays with size 1; no axis at all leaves sizes."""
    if axis is None:
        return w.square().sum().sqrt()
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not axes:
        return w.abs()
    if prod(w.shape[axis] for axis in axes) > _MOST_IN_A_NORM:
        return w.square().sum(axes, keepdim=True).sqrt()
    norms: Tensor = torch.linalg.vector_norm(w, dim=axes, keepdim=True)
    return norms


def _parts(w: Tensor, axis: int | Sequence[int] | None) -> Sequence[Tensor]:
    """Return views of parts of `w`, each with all that its norms along `axis` are taken of.

    On a CPU they are small enough for the caches, so that `w` comes from memory only once.
    """
    most = _MOST_IN_A_CACHE * torch.get_num_threads()
    if axis is None or w.numel() <= most or not w.is_cpu:
        return (w,)
    axes = {a % w.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
    free = max(set(range(w.ndim)) - axes, key=w.stride, default=None)
    if free is None:
        return (w,)
    parts: Sequence[Tensor] = torch.split(w, max(most * w.shape[free] // w.numel(), 1), free)
    return parts


def _scaled(constraint: Any, w: Tensor) -> Tensor:
    for part in _parts(w, constraint.axis):
        part.mul_(constraint._scale(_norms(part, constraint.axis)))
    return w


def _divided(constraint: Any, w: Tensor) -> Tensor:
    for part in _parts(w, constraint.axis):
        part.div_(config.epsilon() + _norms(part, constraint.axis))
    return w


_IN_PLACE: dict[type, Callable[[Any, Tensor], Tensor]] = {
    MaxNorm: _scaled,
    MinMaxNorm: _scaled,
    NonNeg: lambda _, w: w.clamp_(min=0),
    UnitNorm: _divided,
}
