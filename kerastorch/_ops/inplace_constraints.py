"""In-place constraints, which need less time and no copy of the weight.

Norms use `torch.linalg.vector_norm` and so differ from those of the constraints by rounding.
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

_MOST_IN_A_NORM = 8192  # beyond it, the error of `vector_norm` on a CPU exceeds 1e-6
_MOST_IN_A_CACHE = 2**18  # float32 values that fit into a CPU's second-level cache


def get_inplace_constraint(
    constraint: Callable[[Tensor], Tensor],
) -> Callable[[Tensor], Tensor] | None:
    """Return the in-place form of a built-in constraint, or None for any other, subclasses too."""
    found = _IN_PLACE.get(type(constraint))
    return None if found is None else partial(found, constraint)


def _norms(w: Tensor, axis: int | Sequence[int] | None) -> Tensor:
    """Return the norms over `axis`, keeping dimensions; an empty `axis` gives absolute values."""
    if axis is None:
        return w.square().sum().sqrt()
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not axes:
        return w.abs()
    if prod(w.shape[axis] for axis in axes) > _MOST_IN_A_NORM:
        return w.square().sum(axes, keepdim=True).sqrt()
    norms: Tensor = torch.linalg.vector_norm(w, dim=axes, keepdim=True)
    return norms


def _split(w: Tensor, axis: int | Sequence[int] | None) -> Sequence[Tensor]:
    """Split `w` along an axis that its norms keep, on a CPU into views that fit into the cache."""
    most = _MOST_IN_A_CACHE * torch.get_num_threads()
    if axis is None or w.numel() <= most or not w.is_cpu:
        return (w,)
    axes = {a % w.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
    free = max(set(range(w.ndim)) - axes, key=w.stride, default=None)
    if free is None:
        return (w,)
    parts: Sequence[Tensor] = torch.split(w, max(most * w.shape[free] // w.numel(), 1), free)
    return parts


def _scale_(constraint: Any, w: Tensor) -> Tensor:
    for part in _split(w, constraint.axis):
        part.mul_(constraint._scale(_norms(part, constraint.axis)))
    return w


def _divide_(constraint: Any, w: Tensor) -> Tensor:
    for part in _split(w, constraint.axis):
        part.div_(config.epsilon() + _norms(part, constraint.axis))
    return w


_IN_PLACE: dict[type, Callable[[Any, Tensor], Tensor]] = {
    MaxNorm: _scale_,
    MinMaxNorm: _scale_,
    NonNeg: lambda _, w: w.clamp_(min=0),
    UnitNorm: _divide_,
}
