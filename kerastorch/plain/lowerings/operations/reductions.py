"""Operations that reduce axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from .... import config
from ....operations.reductions import normalize_axes
from ...graph import GraphBuilder, Value
from ...registry import lowers_operations
from ..axes import find_axes
from .elementwise import require_floats

_METHODS = {
    "Mean": "mean",
    "Sum": "sum",
    "Max": "amax",
    "Amax": "amax",
    "Min": "amin",
    "Amin": "amin",
    "Var": "var",
    "Std": "std",
    "Prod": "prod",
    "Any": "any",
    "All": "all",
}
_TENSORFLOW = {
    "tf.math.reduce_mean": "mean",
    "tf.math.reduce_sum": "sum",
    "tf.math.reduce_max": "amax",
    "tf.math.reduce_min": "amin",
    "tf.math.reduce_prod": "prod",
    "tf.math.reduce_any": "any",
    "tf.math.reduce_all": "all",
}


@lowers_operations(*_METHODS, layout="any")
def lower_reduction(
    build: GraphBuilder, x: Value, axis: Any = None, keepdims: bool = False, **options: Any
) -> Value:
    """A reduction of some axes, or of all."""
    if any(value is not None for value in options.values()):
        build.refuse("it is called with a dtype or an initial value")
    return _reduce(build, x, _METHODS[build.layer.key], axis, bool(keepdims))


@lowers_operations(*_TENSORFLOW, layout="any")
def lower_tensorflow_reduction(
    build: GraphBuilder, input_tensor: Value, axis: Any = None, keepdims: bool = False
) -> Value:
    """A reduction of some axes, or of all."""
    return _reduce(build, input_tensor, _TENSORFLOW[build.layer.key], axis, bool(keepdims))


def _reduce(build: GraphBuilder, x: Value, method: str, axis: Any, keepdims: bool) -> Value:
    logical = method in ("any", "all")
    if not logical:
        require_floats(build, x)
    axes = normalize_axes(axis)
    if x.flattened is not None or axes is None or {n % x.rank for n in axes} & {0}:
        x = build.as_in_keras(x)
    dims = tuple(range(x.rank)) if axes is None else find_axes(x, axes)
    options: dict[str, Any] = {"correction": 0} if method in ("var", "std") else {}
    options |= {"keepdim": True} if keepdims else {}
    y = x
    if method == "prod":
        for dim in reversed(dims):
            y = build.method("prod", y, dim, **options)
    elif axes is None and not keepdims:
        y = build.method(method, x, **options)
    else:
        y = build.method(method, x, dims[0] if len(dims) == 1 else dims, **options)
    kept = [n for n in range(1, x.rank) if n not in dims]
    moved = x.moved and (keepdims or (1 in kept and len(kept) > 1))
    return replace(y, moved=moved, dtype=torch.bool if logical else x.dtype)


@lowers_operations("Argmax", "Argmin")
def lower_arg_extreme(
    build: GraphBuilder, x: Value, axis: int | None = None, keepdims: bool = False
) -> Value:
    """The index of the extreme element."""
    require_floats(build, x)
    options: dict[str, Any] = {} if axis is None else {"dim": axis}
    options |= {"keepdim": True} if keepdims else {}
    found = build.method(build.layer.key.lower(), x, **options)
    return replace(build.method("int", found), dtype=torch.int32)


@lowers_operations("Normalize")
def lower_normalize(
    build: GraphBuilder, x: Value, axis: Any = -1, order: int = 2, epsilon: float | None = None
) -> Value:
    """Division by the L2 norm."""
    require_floats(build, x)
    axes = normalize_axes(axis) or tuple(range(x.rank))
    least = config.epsilon() if epsilon is None else epsilon
    return build.function(F.normalize, x, dim=axes[0] if len(axes) == 1 else axes, eps=least)


@lowers_operations("tf.math.l2_normalize")
def lower_l2_normalize(
    build: GraphBuilder, x: Value, axis: Any = None, epsilon: float = 1e-12
) -> Value:
    """Division by the L2 norm, whose square is `epsilon` at least."""
    require_floats(build, x)
    axes = normalize_axes(axis) or tuple(range(x.rank))
    dim = axes[0] if len(axes) == 1 else axes
    return build.function(F.normalize, x, dim=dim, eps=epsilon**0.5)
