"""Elementwise operations."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ...._core.registry import to_snake_case
from ...graph import GraphBuilder, Value
from ...registry import lowers_operations
from ..activation import apply_elementwise

_UNARY = (
    *("Sqrt", "Rsqrt", "Log", "Log1p", "Tanh", "Sin", "Cos", "Sign", "Reciprocal", "Erf"),
    *("Square", "Exp", "Expm1", "Floor", "Ceil"),
    *("tf.math.abs", "tf.math.square", "tf.math.sqrt", "tf.math.rsqrt", "tf.math.exp"),
    *("tf.math.log", "tf.math.sigmoid", "tf.math.tanh"),
)
# Of which the arguments may be numbers.
_OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "TrueDivide": operator.truediv,
    "FloorDivide": operator.floordiv,
    "Mod": operator.mod,
    "Power": operator.pow,
    "tf.math.add": operator.add,
    "tf.__operators__.add": operator.add,
    "tf.math.subtract": operator.sub,
    "tf.math.multiply": operator.mul,
    "tf.math.divide": operator.truediv,
    "tf.math.truediv": operator.truediv,
    "tf.math.pow": operator.pow,
}
_COMPARISONS: dict[str, Callable[..., Any]] = {
    "Greater": operator.gt,
    "GreaterEqual": operator.ge,
    "Less": operator.lt,
    "LessEqual": operator.le,
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "tf.math.greater": operator.gt,
    "tf.math.greater_equal": operator.ge,
    "tf.math.less": operator.lt,
    "tf.math.less_equal": operator.le,
    "tf.math.equal": operator.eq,
    "tf.math.not_equal": operator.ne,
}
_MIRRORED: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.gt: operator.lt,
    operator.lt: operator.gt,
    operator.ge: operator.le,
    operator.le: operator.ge,
}
# Of which both arguments must be tensors.
_OF_TENSORS: dict[str, Callable[..., Any]] = {
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "tf.math.maximum": torch.maximum,
    "tf.math.minimum": torch.minimum,
}
_LOGICAL: dict[str, Callable[..., Any]] = {
    "LogicalAnd": torch.logical_and,
    "LogicalOr": torch.logical_or,
    "LogicalXor": torch.logical_xor,
    "tf.math.logical_and": torch.logical_and,
    "tf.math.logical_or": torch.logical_or,
}


def require_floats(build: GraphBuilder, *values: Any) -> None:
    """Refuse integers and booleans, for which Keras has rules of its own."""
    if any(isinstance(x, Value) and not x.dtype.is_floating_point for x in values):
        build.refuse("its input holds integers or booleans")


def pair_up(build: GraphBuilder, x: Any, y: Any, *, tensors: bool = False) -> tuple[Any, Any]:
    """Return two arguments in one order of the axes; lists become tensors, numbers if asked for."""
    given = [one for one in (x, y) if isinstance(one, Value)]
    if len(given) == 2 and (x.rank != y.rank or x.flattened or y.flattened):
        return build.as_in_keras(x), build.as_in_keras(y)
    if len(given) == 2:
        first, second = build.as_alike([x, y])
        return first, second
    (like,) = given
    other = y if x is like else x
    if isinstance(other, (list, tuple)) or tensors:
        if isinstance(other, (list, tuple)):
            like = build.as_in_keras(like)
        other = build.method("new_tensor", like, other)
    return (like, other) if isinstance(x, Value) else (other, like)


@lowers_operations(*_UNARY, layout="any")
def lower_unary(build: GraphBuilder, x: Value) -> Value:
    """A function of torch of the same name."""
    require_floats(build, x)
    name = to_snake_case(build.layer.key.rpartition(".")[2])
    return apply_elementwise(build, getattr(torch, name), x)


@lowers_operations("Absolute", layout="any")
def lower_absolute(build: GraphBuilder, x: Value) -> Value:
    """The absolute value."""
    return apply_elementwise(build, torch.abs, x)


@lowers_operations("Negative", "tf.math.negative", layout="any")
def lower_negative(build: GraphBuilder, x: Value) -> Value:
    """The negative."""
    return apply_elementwise(build, operator.neg, x)


@lowers_operations("Round", layout="any")
def lower_round(build: GraphBuilder, x: Value, decimals: int = 0) -> Value:
    """Rounding, half to even."""
    require_floats(build, x)
    options = {"decimals": decimals} if decimals else {}
    return apply_elementwise(build, torch.round, x, **options)


@lowers_operations("tf.identity", layout="any")
def lower_no_operation(build: GraphBuilder, x: Value) -> Value:
    """Nothing."""
    return x


@lowers_operations("StopGradient", "tf.stop_gradient", layout="any")
def lower_stop_gradient(build: GraphBuilder, variable: Value) -> Value:
    """The same numbers, without a gradient."""
    return replace(build.method("detach", variable), flattened=variable.flattened)


@lowers_operations(*_OPERATORS, layout="any")
def lower_binary(build: GraphBuilder, *args: Any, **kwargs: Any) -> Value:
    """Arithmetic of two tensors, or of one and a number."""
    x, y = [*args, *kwargs.values()]
    require_floats(build, x, y)
    return _call(build, _OPERATORS[build.layer.key], *pair_up(build, x, y))


@lowers_operations(*_COMPARISONS, layout="any")
def lower_comparison(build: GraphBuilder, *args: Any, **kwargs: Any) -> Value:
    """A comparison of two tensors, or of one with a number."""
    x, y = [*args, *kwargs.values()]
    function = _COMPARISONS[build.layer.key]
    if not isinstance(x, Value):  # as Python compares a number and a tensor
        x, y, function = y, x, _MIRRORED.get(function, function)
    return replace(_call(build, function, *pair_up(build, x, y)), dtype=torch.bool)


@lowers_operations(*_OF_TENSORS, layout="any")
def lower_extreme(build: GraphBuilder, *args: Any, **kwargs: Any) -> Value:
    """The elementwise maximum or minimum."""
    x, y = [*args, *kwargs.values()]
    require_floats(build, x, y)
    return _call(build, _OF_TENSORS[build.layer.key], *pair_up(build, x, y, tensors=True))


@lowers_operations(*_LOGICAL, layout="any")
def lower_logical(build: GraphBuilder, *args: Any, **kwargs: Any) -> Value:
    """And, or, exclusive or."""
    x, y = [*args, *kwargs.values()]
    found = _call(build, _LOGICAL[build.layer.key], *pair_up(build, x, y, tensors=True))
    return replace(found, dtype=torch.bool)


@lowers_operations("LogicalNot", "tf.math.logical_not", layout="any")
def lower_not(build: GraphBuilder, x: Value) -> Value:
    """Whether an element is 0 or False."""
    return replace(build.function(torch.logical_not, x), dtype=torch.bool, flattened=x.flattened)


@lowers_operations("Clip", layout="any")
def lower_clip(build: GraphBuilder, x: Value, x_min: Any, x_max: Any) -> Value:
    """Limits of the values."""
    return _clip(build, x, x_min, x_max)


@lowers_operations("tf.clip_by_value", layout="any")
def lower_tensorflow_clip(
    build: GraphBuilder, x: Any = None, clip_value_min: Any = None, clip_value_max: Any = None
) -> Value:
    """Limits of the values."""
    return _clip(build, x, clip_value_min, clip_value_max)


def _clip(build: GraphBuilder, x: Value, least: Any, most: Any) -> Value:
    require_floats(build, x)
    if not all(isinstance(limit, (int, float)) for limit in (least, most)):
        build.refuse("its limits are no numbers")
    return apply_elementwise(build, torch.clamp, x, least, most)


@lowers_operations("Where")
def lower_where(build: GraphBuilder, condition: Value, x1: Any, x2: Any) -> Value:
    """The first where the condition holds, else the second."""
    if condition.dtype is not torch.bool:
        condition = build.method("bool", condition)
    values = [x for x in (x1, x2) if isinstance(x, Value)]
    if not values or any(isinstance(x, (list, tuple)) for x in (x1, x2)):
        build.refuse("none of its values is a tensor, or one is a list")
    require_floats(build, *values)
    found = build.function(torch.where, condition, x1, x2)
    return replace(found, dtype=values[0].dtype, moved=False)


@lowers_operations("Cast", "tf.cast", layout="any")
def lower_cast(build: GraphBuilder, x: Value, dtype: str) -> Value:
    """Another dtype."""
    target: torch.dtype = getattr(torch, dtype)
    names = {torch.float32: "float", torch.int64: "long", torch.int32: "int", torch.bool: "bool"}
    if target in names:
        y = build.method(names[target], x)
    else:
        y = build.method("to", x, target)
    return replace(y, dtype=target, flattened=x.flattened)


@lowers_operations("ZerosLike", "OnesLike", "tf.zeros_like", "tf.ones_like", layout="any")
def lower_like(
    build: GraphBuilder, x: Any = None, dtype: str | None = None, input: Any = None
) -> Value:
    """Zeros or ones of a tensor's shape."""
    x = input if x is None else x
    function = torch.zeros_like if "ero" in build.layer.key else torch.ones_like
    target = x.dtype if dtype is None else getattr(torch, dtype)
    options = {} if dtype is None else {"dtype": target}
    return replace(build.function(function, x, **options), dtype=target)


def _call(build: GraphBuilder, function: Callable[..., Any], x: Any, y: Any) -> Value:
    """Call a function of two arguments; the result lies as the one of more axes."""
    given = [one for one in (x, y) if isinstance(one, Value)]
    like = max(given, key=lambda one: one.rank)
    dtype = given[0].dtype if len(given) == 1 else torch.promote_types(x.dtype, y.dtype)
    flattened = like.flattened if len(given) == 1 else None
    found = build.function(function, x, y)
    return replace(found, moved=like.moved, dtype=dtype, flattened=flattened)
