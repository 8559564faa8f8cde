"""The operations of `keras.ops` that a Functional model may have between its layers.

Values and types of numbers are those of Keras on torch, with a Python number as a tensor of
`floatx()`, int32 or bool; but 64-bit numbers stay such where Keras makes them 32-bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .. import activations, config
from .._check import problem
from .._layout import axes_moved
from ._arithmetic import (
    Binary,
    Extreme,
    Unary,
    absolute,
    cast,
    clip,
    divide,
    floatx,
    floor_divide,
    is_integer,
    matmul,
    mod,
    rounded,
    subtract,
    where,
)

Rule = Literal["same", "broadcast", "run"]


class Entry(NamedTuple):
    """One operation.

    Attributes:
        function: Computes it.
        rule: How the output's shape follows from the inputs': it is the same, that of the
            broadcast inputs, or found by running the operation.
    """

    function: Callable[..., Any]
    rule: Rule = "run"


# Over axes


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


def _mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    axes = axes_of(axis)
    kind = x.dtype if x.is_floating_point() else torch.float32
    compute = torch.promote_types(kind, torch.float32)
    return torch.mean(x.to(compute), axes, keepdims).to(kind)


def _variance(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    axes = axes_of(axis)
    kind = x.dtype if x.is_floating_point() else floatx()
    compute = torch.promote_types(kind, torch.float32)
    return torch.var(x.to(compute), dim=axes, keepdim=keepdims, correction=0).to(kind)


def _deviation(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    x = x.float() if is_integer(x) else x
    return torch.std(x, dim=axes_of(axis), keepdim=keepdims, correction=0)


def _sum(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    axes = axes_of(axis, keepdims, bare=True)
    small = x.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16)
    kind = torch.int32 if small else x.dtype
    return (torch.sum(x) if axes is None else torch.sum(x, axes, keepdims)).to(kind)


def _prod(x: Tensor, axis: Any = None, keepdims: bool = False, dtype: str | None = None) -> Tensor:
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


class _Outermost:
    """The largest or smallest along axes."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(
        self, x: Tensor, axis: Any = None, keepdims: bool = False, initial: None = None
    ) -> Tensor:
        if initial is not None:
            raise ValueError(problem("operation", "initial", "null", initial))
        axes = axes_of(axis, keepdims, bare=True)
        return self.function(x) if axes is None else self.function(x, axes, keepdims)


class _Place:
    """The index of the largest or smallest along an axis."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
        x = x.to(torch.uint8) if x.dtype is torch.bool else x
        return self.function(x, dim=axis, keepdim=keepdims).int()


class _Truth:
    """Whether any is, or all are, true along axes."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        return self.function(x, dim=axes_of(axis), keepdim=keepdims).to(torch.bool)


def _normalize(x: Tensor, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    if order != 2:
        raise ValueError(problem("Normalize", "order", "2", order))
    least = config.epsilon() if epsilon is None else epsilon
    squares = torch.sum(torch.square(x), axes_of(axis), True)
    inverse = torch.rsqrt(squares)
    return x * torch.minimum(inverse, torch.full_like(inverse, 1.0 / least))


# Shapes


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


def _swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return axes_moved(x, tuple(order))


def _concatenate(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    return torch.cat(list(xs), axis)


def _stack(x: Sequence[Tensor], axis: int = 0) -> Tensor:
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


def _flip(x: Tensor, axis: Any = None) -> Tensor:
    return torch.flip(x, axes_of(axis) or tuple(range(x.ndim)))


def _split(x: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    size, parts = x.shape[axis], indices_or_sections
    if type(parts) is int:
        if parts < 1 or size % parts or not size:
            raise ValueError(problem("Split", "indices_or_sections", "a divisor", parts, size=size))
        return list(torch.split(x, size // parts, axis))
    bounds = [0, *parts, size]
    sizes = [after - before for before, after in pairwise(bounds)]
    return list(torch.split(x, sizes, axis))


def _stop_gradient(variable: Tensor) -> Tensor:
    return variable.detach()


_FLOATS: Mapping[str, Callable[[Tensor], Tensor]] = {"Exp": torch.exp, "Expm1": torch.expm1}
_UNARY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Negative": torch.negative,
    "Sqrt": torch.sqrt,
    "Rsqrt": torch.rsqrt,
    "Log": torch.log,
    "Log1p": torch.log1p,
    "Tanh": torch.tanh,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Sign": torch.sign,
    "Reciprocal": torch.reciprocal,
    "LogicalNot": torch.logical_not,
    "Erf": torch.erf,
}
_BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Multiply": torch.multiply,
    "Power": torch.pow,
    "Greater": torch.greater,
    "GreaterEqual": torch.greater_equal,
    "Less": torch.less,
    "LessEqual": torch.less_equal,
    "Equal": torch.eq,
    "NotEqual": torch.not_equal,
    "LogicalAnd": torch.logical_and,
    "LogicalOr": torch.logical_or,
}
_ACTIVATIONS: Mapping[str, Callable[..., Tensor]] = {
    "Celu": activations.celu,
    "Elu": activations.elu,
    "Gelu": activations.gelu,
    "HardShrink": activations.hard_shrink,
    "HardSigmoid": activations.hard_sigmoid,
    "HardSilu": activations.hard_silu,
    "HardTanh": activations.hard_tanh,
    "LeakyRelu": activations.leaky_relu,
    "LogSigmoid": activations.log_sigmoid,
    "LogSoftmax": activations.log_softmax,
    "ReLU": activations.relu,
    "Relu": activations.relu,
    "Relu6": activations.relu6,
    "Selu": activations.selu,
    "Sigmoid": activations.sigmoid,
    "Silu": activations.silu,
    "SoftShrink": activations.soft_shrink,
    "Softmax": activations.softmax,
    "Softplus": activations.softplus,
    "Softsign": activations.softsign,
    "SparsePlus": activations.sparse_plus,
    "SparseSigmoid": activations.sparse_sigmoid,
    "Sparsemax": activations.sparsemax,
    "Squareplus": activations.squareplus,
    "TanhShrink": activations.tanh_shrink,
    "Threshold": activations.threshold,
}
KERAS: Mapping[str, Entry] = {
    **{name: Entry(Unary(function), "same") for name, function in _UNARY.items()},
    **{n: Entry(Unary(function, floats=True), "same") for n, function in _FLOATS.items()},
    **{name: Entry(Binary(function), "broadcast") for name, function in _BINARY.items()},
    **{name: Entry(function, "same") for name, function in _ACTIVATIONS.items()},
    "Absolute": Entry(absolute, "same"),
    "Square": Entry(Unary(torch.square, booleans=torch.int32), "same"),
    "Floor": Entry(Unary(torch.floor, floats=True), "same"),
    "Ceil": Entry(Unary(torch.ceil, floats=True), "same"),
    "Round": Entry(rounded, "same"),
    "Subtract": Entry(subtract, "broadcast"),
    "Divide": Entry(divide, "broadcast"),
    "TrueDivide": Entry(divide, "broadcast"),
    "FloorDivide": Entry(floor_divide, "broadcast"),
    "Mod": Entry(mod, "broadcast"),
    "Maximum": Entry(Extreme(torch.maximum), "broadcast"),
    "Minimum": Entry(Extreme(torch.minimum), "broadcast"),
    "Matmul": Entry(matmul),
    "Clip": Entry(clip, "same"),
    "Where": Entry(where, "broadcast"),
    "Cast": Entry(cast, "same"),
    "Mean": Entry(_mean),
    "Var": Entry(_variance),
    "Std": Entry(_deviation),
    "Sum": Entry(_sum),
    "Prod": Entry(_prod),
    "Max": Entry(_Outermost(torch.amax)),
    "Min": Entry(_Outermost(torch.amin)),
    "Amax": Entry(_Outermost(torch.amax)),
    "Amin": Entry(_Outermost(torch.amin)),
    "Argmax": Entry(_Place(torch.argmax)),
    "Argmin": Entry(_Place(torch.argmin)),
    "Any": Entry(_Truth(torch.any)),
    "All": Entry(_Truth(torch.all)),
    "Normalize": Entry(_normalize, "same"),
    "Glu": Entry(activations.glu),
    "Reshape": Entry(reshape),
    "Transpose": Entry(transposed),
    "Swapaxes": Entry(_swapaxes),
    "Concatenate": Entry(_concatenate),
    "Stack": Entry(_stack),
    "Squeeze": Entry(squeezed),
    "ExpandDims": Entry(expanded),
    "Ravel": Entry(Unary(torch.ravel)),
    "GetItem": Entry(get_item),
    "Flip": Entry(_flip, "same"),
    "Split": Entry(_split),
    "StopGradient": Entry(_stop_gradient, "same"),
}
