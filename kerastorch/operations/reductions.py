"""The operations of `keras.ops` that reduce axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import config
from .._core.errors import argument_error
from .elementwise import cast, get_float_dtype, is_integer


def normalize_axes(
    axis: Any, keepdims: bool = False, *, bare: bool = False
) -> tuple[int, ...] | None:
    """Return the axes to reduce, None for all.

    With `bare`, `keepdims` over all axes is refused: Keras on torch drops the axes, other backends
    keep them.
    """
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if axis is None and not (bare and keepdims):
        return None
    if not axes or not all(type(one) is int for one in axes):
        rule = "integers, or null where `keepdims` is false" if bare else "integers, or null"
        raise ValueError(argument_error("operation", "axis", rule, axis, keepdims=keepdims))
    return tuple(axes)


def mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the mean along axes; integers give float32."""
    dtype = x.dtype if x.is_floating_point() else torch.float32
    compute = torch.promote_types(dtype, torch.float32)
    return torch.mean(x.to(compute), normalize_axes(axis), keepdims).to(dtype)


def variance(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the variance along axes; integers give `get_float_dtype()`."""
    dtype = x.dtype if x.is_floating_point() else get_float_dtype()
    compute = torch.promote_types(dtype, torch.float32)
    found = torch.var(x.to(compute), dim=normalize_axes(axis), keepdim=keepdims, correction=0)
    return found.to(dtype)


def reduce_std(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along axes; integers give float32."""
    x = x.float() if is_integer(x) else x
    return torch.std(x, dim=normalize_axes(axis), keepdim=keepdims, correction=0)


def _accumulator_dtype(x: Tensor) -> torch.dtype:
    small = x.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16)
    return torch.int32 if small else x.dtype


def reduce_sum(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the sum along axes; booleans and small integers give int32."""
    axes = normalize_axes(axis, keepdims, bare=True)
    total = torch.sum(x) if axes is None else torch.sum(x, axes, keepdims)
    return total.to(_accumulator_dtype(x))


def reduce_prod(x: Tensor, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Return the product along axes; booleans and small integers give int32."""
    axes = normalize_axes(axis, keepdims, bare=True)
    x = x if dtype is None else cast(x, dtype)
    return multiply_along(x.to(_accumulator_dtype(x)), axes, keepdims)


def multiply_along(x: Tensor, axes: Sequence[int] | None, keepdims: bool) -> Tensor:
    """Return the product along axes, None for all, in the same dtype."""
    compute = torch.float32 if x.dtype is torch.float16 and x.is_cpu else x.dtype
    if axes is None:
        return torch.prod(x, dtype=compute).to(x.dtype)
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, dim=axis, keepdim=keepdims, dtype=compute).to(x.dtype)
    return x


def wrap_extremum(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return torch's `amax` or `amin` with Keras's arguments."""

    def compute(x: Tensor, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Tensor:
        if initial is not None:
            raise ValueError(argument_error("operation", "initial", "null", initial))
        return function(x, normalize_axes(axis, keepdims, bare=True) or (), keepdims)

    return compute


def wrap_arg_extremum(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return torch's `argmax` or `argmin` with Keras's arguments and dtype."""

    def compute(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
        x = x.to(torch.uint8) if x.dtype is torch.bool else x
        return function(x, dim=axis, keepdim=keepdims).int()

    return compute


def wrap_any_or_all(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return torch's `any` or `all` with Keras's arguments and dtype."""

    def compute(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return function(x, dim=normalize_axes(axis), keepdim=keepdims).to(torch.bool)

    return compute


def normalize(x: Tensor, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """Return a tensor divided by the larger of its norm along axes and `epsilon`."""
    if order != 2:
        raise ValueError(argument_error("Normalize", "order", "2", order))
    least = config.epsilon() if epsilon is None else epsilon
    inverse = torch.rsqrt(torch.sum(torch.square(x), normalize_axes(axis), True))
    return x * torch.minimum(inverse, torch.full_like(inverse, 1.0 / least))
