"""Over the axes of tensors: the operations of `keras.ops` that reduce or rearrange them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .. import config
from .._core.errors import problem
from .._core.layout import axes_moved
from .elementwise import cast, floatx, is_integer


def axes_of(axis: Any, keepdims: bool = False, *, bare: bool = False) -> tuple[int, ...] | None:
    """Return the axes to reduce, None for all.

    With `bare`, all of them cannot be kept: Keras on torch drops them where others keep them.
    """
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if axis is None and not (bare and keepdims):
        return None
    if not axes or not all(type(one) is int for one in axes):
        rule = "integers, or null where `keepdims` is false" if bare else "integers, or null"
        raise ValueError(problem("operation", "axis", rule, axis, keepdims=keepdims))
    return tuple(axes)


# Fewer numbers


def mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the mean along axes; integers give float32."""
    axes = axes_of(axis)
    kind = x.dtype if x.is_floating_point() else torch.float32
    compute = torch.promote_types(kind, torch.float32)
    return torch.mean(x.to(compute), axes, keepdims).to(kind)


def variance(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the variance along axes; integers give `floatx()`."""
    axes = axes_of(axis)
    kind = x.dtype if x.is_floating_point() else floatx()
    compute = torch.promote_types(kind, torch.float32)
    return torch.var(x.to(compute), dim=axes, keepdim=keepdims, correction=0).to(kind)


def deviation(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along axes; integers give float32."""
    x = x.float() if is_integer(x) else x
    return torch.std(x, dim=axes_of(axis), keepdim=keepdims, correction=0)


def summed(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return the sum along axes; booleans and small integers give int32."""
    axes = axes_of(axis, keepdims, bare=True)
    small = x.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16)
    kind = torch.int32 if small else x.dtype
    return (torch.sum(x) if axes is None else torch.sum(x, axes, keepdims)).to(kind)


def product(
    x: Tensor, axis: Any = None, keepdims: bool = False, dtype: str | None = None
) -> Tensor:
    """Return the product along axes; booleans and small integers give int32."""
    axes = axes_of(axis, keepdims, bare=True)
    if dtype is not None:
        x = cast(x, dtype)
    small = x.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16)
    kind = torch.int32 if small else x.dtype
    compute = torch.float32 if kind is torch.float16 and x.is_cpu else kind
    if axes is None:
        return torch.prod(x, dtype=compute).to(kind)
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, dim=axis, keepdim=keepdims, dtype=compute).to(kind)
    return x


class Outermost:
    """The largest or smallest along axes."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(
        self, x: Tensor, axis: Any = None, keepdims: bool = False, initial: None = None
    ) -> Tensor:
        """Return the extremum along axes, None for all."""
        if initial is not None:
            raise ValueError(problem("operation", "initial", "null", initial))
        axes = axes_of(axis, keepdims, bare=True)
        return self.function(x) if axes is None else self.function(x, axes, keepdims)


class Place:
    """The index of the largest or smallest along an axis."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Return the index along an axis, of the flattened tensor for None."""
        x = x.to(torch.uint8) if x.dtype is torch.bool else x
        return self.function(x, dim=axis, keepdim=keepdims).int()


class Truth:
    """Whether any is, or all are, true along axes."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return booleans, reduced along axes, None for all."""
        return self.function(x, dim=axes_of(axis), keepdim=keepdims).to(torch.bool)


def normalized(x: Tensor, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """Return a tensor divided by its length along axes, or by `epsilon` where that is more."""
    if order != 2:
        raise ValueError(problem("Normalize", "order", "2", order))
    least = config.epsilon() if epsilon is None else epsilon
    squares = torch.sum(torch.square(x), axes_of(axis), True)
    inverse = torch.rsqrt(squares)
    return x * torch.minimum(inverse, torch.full_like(inverse, 1.0 / least))


# The same numbers elsewhere


def reshape(x: Tensor, newshape: Any) -> Tensor:
    """Give a tensor other sizes; one of them may be -1."""
    sizes = newshape if isinstance(newshape, (list, tuple)) else [newshape]
    return torch.reshape(x, [_size(size) for size in sizes])


def _size(size: Any) -> int:
    if isinstance(size, Tensor):
        return int(size.item())
    if type(size) is not int:
        rule = "integers; a size that is not known must be -1"
        raise ValueError(problem("Reshape", "newshape", rule, size))
    return size


def transposed(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Return a tensor with its axes in another order, or in the reverse one."""
    return axes_moved(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))


def swapped(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Return a tensor with two axes in each other's place."""
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return axes_moved(x, tuple(order))


def concatenated(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Return tensors behind one another along an axis."""
    return torch.cat(list(xs), axis)


def stacked(x: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Return tensors behind one another along a new axis."""
    return torch.stack(list(x), axis)


def squeezed(x: Tensor, axis: Any = None) -> Tensor:
    """Return a tensor without axes of size 1: those given, or all."""
    axes = axes_of(axis)
    if axes is not None and any(x.shape[one] != 1 for one in axes):
        raise ValueError(problem("Squeeze", "axis", "axes of size 1", axis, x=tuple(x.shape)))
    return torch.squeeze(x) if axes is None else torch.squeeze(x, axes)


def expanded(x: Tensor, axis: Any) -> Tensor:
    """Return a tensor with new axes of size 1, which are given as axes of the result."""
    axes = axes_of(axis) or ()
    for one in sorted(one % (x.ndim + len(axes)) for one in axes):
        x = x.unsqueeze(one)
    return x


def get_item(x: Tensor, key: Any) -> Tensor:
    """Return part of a tensor; a key that is a list means the same as a tuple."""
    parts = tuple(key) if isinstance(key, (list, tuple)) else (key,)
    good = all(p is None or p is ... or type(p) is int or isinstance(p, slice) for p in parts)
    if not good or any(isinstance(p, slice) and (p.step or 1) < 1 for p in parts):
        rule = "integers, slices with steps above 0, null and an ellipsis"
        raise ValueError(problem("GetItem", "key", rule, key))
    found: Tensor = x[parts]
    return found


def flipped(x: Tensor, axis: Any = None) -> Tensor:
    """Return a tensor in the reverse order along axes."""
    return torch.flip(x, axes_of(axis) or tuple(range(x.ndim)))


def parted(x: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Return the parts of a tensor along an axis: so many equal ones, or cut at these places."""
    size, parts = x.shape[axis], indices_or_sections
    if type(parts) is int:
        if parts < 1 or size % parts or not size:
            raise ValueError(problem("Split", "indices_or_sections", "a divisor", parts, size=size))
        return list(torch.split(x, size // parts, axis))
    bounds = [0, *parts, size]
    sizes = [after - before for before, after in pairwise(bounds)]
    return list(torch.split(x, sizes, axis))
