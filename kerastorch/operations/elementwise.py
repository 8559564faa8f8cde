"""Element by element: the operations of `keras.ops` with Keras's types of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import config
from .._core.arrays import from_array
from .._core.errors import problem


def as_tensor(value: Any, like: Tensor) -> Tensor:
    """Return a tensor, number, list or array as a tensor on the device of another."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float)):
        return torch.as_tensor(value, dtype=_type_of(value), device=like.device)
    if isinstance(value, (list, tuple)):
        kinds = [_type_of(number) for number in _numbers(value)]
        kind = max(kinds, key=_RANK.index, default=torch.int32)
        return torch.as_tensor(value, dtype=kind, device=like.device)
    found = from_array(value)
    if found is None:
        raise TypeError(problem("operation", "argument", "a tensor or numbers", value))
    return found.to(like.device)


_RANK = [torch.bool, torch.int32, torch.int64, torch.float16, torch.bfloat16]
_RANK += [torch.float32, torch.float64]


def _numbers(values: Sequence[Any]) -> list[Any]:
    found = []
    for value in values:
        found += _numbers(value) if isinstance(value, (list, tuple)) else [value]
    return found


def _type_of(number: Any) -> torch.dtype:
    if isinstance(number, bool):
        return torch.bool
    if isinstance(number, int):
        return torch.int32 if -(2**31) <= number < 2**31 else torch.int64
    if isinstance(number, float):
        return floatx()
    raise TypeError(problem("operation", "argument", "a tensor or numbers", number))


def floatx() -> torch.dtype:
    """Return the default floating type."""
    found: torch.dtype = getattr(torch, config.floatx())
    return found


def _both(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    like = x1 if isinstance(x1, Tensor) else x2
    return as_tensor(x1, like), as_tensor(x2, like)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def promoted(x1: Any, x2: Any) -> torch.dtype:
    """Return the type that two arguments share, in which a Python number has little say."""
    if _is_number(x1) or _is_number(x2):
        number, x = (x1, x2) if _is_number(x1) else (x2, x1)
        if isinstance(number, bool) or x.is_floating_point():
            kind: torch.dtype = x.dtype
            return kind
        if isinstance(number, float):
            return floatx()
        return torch.int32 if x.dtype is torch.bool else x.dtype
    return torch.promote_types(x1.dtype, x2.dtype)


def is_integer(x: Tensor) -> bool:
    """Tell whether a tensor holds integers or booleans."""
    return not (x.is_floating_point() or x.is_complex())


# Element by element


class Unary:
    """A function of torch of one tensor, integers made floats or booleans made integers first."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        *,
        floats: bool = False,
        booleans: torch.dtype | None = None,
    ) -> None:
        self.function = function
        self.floats = floats
        self.booleans = booleans

    def __call__(self, x: Tensor) -> Tensor:
        """Return the function of one tensor, converted where Keras does so."""
        if self.floats and is_integer(x):
            x = x.to(floatx())
        elif self.booleans is not None and x.dtype is torch.bool:
            x = x.to(self.booleans)
        return self.function(x)


class Binary:
    """A function of torch of two tensors."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, x1: Any, x2: Any) -> Tensor:
        """Return the function of two tensors or numbers."""
        return self.function(*_both(x1, x2))


def absolute(x: Tensor) -> Tensor:
    """Return the absolute values; booleans stay as they are."""
    return x if x.dtype is torch.bool else torch.abs(x)


def rounded(x: Tensor, decimals: int = 0) -> Tensor:
    """Round to the nearest even, and keep the type of integers."""
    if is_integer(x) and x.dtype is not torch.bool:
        return torch.round(x.to(floatx()), decimals=decimals).to(x.dtype)
    return torch.round(x, decimals=decimals)


def subtract(x1: Any, x2: Any) -> Tensor:
    """Return the difference; a boolean counts as a number of the other type."""
    x1, x2 = _both(x1, x2)
    if x1.dtype is torch.bool:
        x1 = x1.to(x2.dtype)
    if x2.dtype is torch.bool:
        x2 = x2.to(x1.dtype)
    return torch.subtract(x1, x2)


def divide(x1: Any, x2: Any) -> Tensor:
    """Return the quotient, of integers too a floating one."""
    return torch.divide(*_arrays(x1, x2))


def floor_divide(x1: Any, x2: Any) -> Tensor:
    """Return the quotient rounded down, in the type that both promote to."""
    x1, x2 = _arrays(x1, x2)
    return torch.floor_divide(x1, x2).to(promoted(x1, x2))


def _arrays(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Return two arguments with all but Python numbers as tensors."""
    a, b = _both(x1, x2)
    return (x1 if _is_number(x1) else a), (x2 if _is_number(x2) else b)


def mod(x1: Any, x2: Any) -> Tensor:
    """Return the remainder with the sign of the divisor; that of booleans is an int32."""
    x1, x2 = _both(x1, x2)
    if x1.dtype is x2.dtype is torch.bool:
        x1, x2 = x1.int(), x2.int()
    return torch.remainder(x1, x2)


class Extreme:
    """The larger or the smaller of two."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, x1: Any, x2: Any) -> Tensor:
        """Return the function of two tensors or numbers."""
        kind = promoted(*_arrays(x1, x2))
        a, b = _both(x1, x2)
        return self.function(a.to(kind), b.to(kind))


def matmul(x1: Any, x2: Any) -> Tensor:
    """Return the product of matrices in the type that Keras gives it."""
    x1, x2 = _both(x1, x2)
    kind = torch.promote_types(x1.dtype, x2.dtype)
    if x1.dtype is x2.dtype is torch.int8:
        kind = torch.int32
    compute = floatx() if kind is torch.bool else kind
    if kind is torch.float16 and x1.is_cpu:
        compute = torch.float32
    return torch.matmul(x1.to(compute), x2.to(compute)).to(kind)


def clip(x: Tensor, x_min: Any, x_max: Any) -> Tensor:
    """Limit a tensor from both sides."""
    low, high = as_tensor(x_min, x), as_tensor(x_max, x)
    kind = x.dtype
    if kind is torch.bool:
        x = x.int()
    if kind is torch.float16 and x.is_cpu:
        return torch.clip(x.float(), low, high).half()
    return torch.clip(x, low, high)


def where(condition: Tensor, x1: Any, x2: Any) -> Tensor:
    """Choose from the first where the condition is not 0, else from the second."""
    a, b = as_tensor(x1, condition), as_tensor(x2, condition)
    return torch.where(condition.to(torch.bool), a, b)


def cast(x: Tensor, dtype: str) -> Tensor:
    """Convert a tensor to a type of the closed table, or raise ValueError."""
    if dtype not in TYPES:
        raise ValueError(problem("Cast", "dtype", f"one of {', '.join(TYPES)}", dtype))
    return x.to(getattr(torch, dtype))


TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8"),
    *("float16", "bfloat16", "float32", "float64"),
)
