"""Elementwise operations of `keras.ops`, with Keras's rules for dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import config
from .._core.arrays import to_tensor
from .._core.errors import argument_error

_BY_RANK = (
    *(torch.bool, torch.int32, torch.int64, torch.float16, torch.bfloat16),
    *(torch.float32, torch.float64),
)
_NUMBERS = (int, float)
TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8"),
    *("float16", "bfloat16", "float32", "float64"),
)


def to_tensor_like(value: Any, like: Tensor) -> Tensor:
    """Return a tensor, number, list or array as a tensor on the device of another."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float, list, tuple)):
        return torch.as_tensor(value, dtype=_dtype_of(value), device=like.device)
    found = to_tensor(value)
    if found is None:
        raise TypeError(argument_error("operation", "argument", "a tensor or numbers", value))
    return found.to(like.device)


def _dtype_of(value: Any) -> torch.dtype:
    if isinstance(value, bool):
        return torch.bool
    if isinstance(value, int):
        return torch.int32 if -(2**31) <= value < 2**31 else torch.int64
    if isinstance(value, float):
        return get_float_dtype()
    if isinstance(value, (list, tuple)):
        return max(map(_dtype_of, value), key=_BY_RANK.index, default=torch.int32)
    raise TypeError(argument_error("operation", "argument", "a tensor or numbers", value))


def get_float_dtype() -> torch.dtype:
    """Return the default floating-point dtype."""
    found: torch.dtype = getattr(torch, config.floatx())
    return found


def _as_tensors(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    like = x1 if isinstance(x1, Tensor) else x2
    return to_tensor_like(x1, like), to_tensor_like(x2, like)


def _result_dtype(x1: Any, x2: Any) -> torch.dtype:
    """Return the dtype that two arguments promote to; a Python number is weakly typed."""
    if isinstance(x1, _NUMBERS) or isinstance(x2, _NUMBERS):
        number, x = (x1, x2) if isinstance(x1, _NUMBERS) else (x2, x1)
        if isinstance(number, bool) or x.is_floating_point():
            dtype: torch.dtype = x.dtype
            return dtype
        if isinstance(number, float):
            return get_float_dtype()
        return torch.int32 if x.dtype is torch.bool else x.dtype
    return torch.promote_types(x1.dtype, x2.dtype)


def is_integer(x: Tensor) -> bool:
    """Return whether a tensor holds integers or booleans."""
    return not (x.is_floating_point() or x.is_complex())


def wrap_unary(
    function: Callable[[Tensor], Tensor],
    *,
    floats: bool = False,
    booleans: torch.dtype | None = None,
) -> Callable[[Tensor], Tensor]:
    """Return a torch function that casts integers or booleans first, as Keras does."""

    def compute(x: Tensor) -> Tensor:
        if floats and is_integer(x):
            x = x.to(get_float_dtype())
        elif booleans is not None and x.dtype is torch.bool:
            x = x.to(booleans)
        return function(x)

    return compute


def wrap_binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return a torch function of two tensors that also accepts numbers."""
    return lambda x1, x2: function(*_as_tensors(x1, x2))


def round_half_even(x: Tensor, decimals: int = 0) -> Tensor:
    """Round half to even; integers keep their dtype."""
    if is_integer(x) and x.dtype is not torch.bool:
        return torch.round(x.to(get_float_dtype()), decimals=decimals).to(x.dtype)
    return torch.round(x, decimals=decimals)


def subtract(x1: Any, x2: Any) -> Tensor:
    """Return the difference; a boolean is cast to the other's dtype."""
    x1, x2 = _as_tensors(x1, x2)
    if x1.dtype is torch.bool:
        x1 = x1.to(x2.dtype)
    if x2.dtype is torch.bool:
        x2 = x2.to(x1.dtype)
    return torch.subtract(x1, x2)


def divide(x1: Any, x2: Any) -> Tensor:
    """Return the quotient, in floating point for integers too."""
    return torch.divide(*_arrays_as_tensors(x1, x2))


def floor_divide(x1: Any, x2: Any) -> Tensor:
    """Return the quotient rounded down, in the dtype that both promote to."""
    x1, x2 = _arrays_as_tensors(x1, x2)
    return torch.floor_divide(x1, x2).to(_result_dtype(x1, x2))


def _arrays_as_tensors(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Return two arguments as tensors, except for Python numbers."""
    a, b = _as_tensors(x1, x2)
    return x1 if isinstance(x1, _NUMBERS) else a, x2 if isinstance(x2, _NUMBERS) else b


def mod(x1: Any, x2: Any) -> Tensor:
    """Return the remainder with the sign of the divisor; for booleans an int32."""
    x1, x2 = _as_tensors(x1, x2)
    if x1.dtype is x2.dtype is torch.bool:
        x1, x2 = x1.int(), x2.int()
    return torch.remainder(x1, x2)


def wrap_extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return torch's maximum or minimum with Keras's result dtype."""

    def compute(x1: Any, x2: Any) -> Tensor:
        dtype = _result_dtype(*_arrays_as_tensors(x1, x2))
        a, b = _as_tensors(x1, x2)
        return function(a.to(dtype), b.to(dtype))

    return compute


def matmul(x1: Any, x2: Any) -> Tensor:
    """Return the matrix product in Keras's result dtype."""
    x1, x2 = _as_tensors(x1, x2)
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    if x1.dtype is x2.dtype is torch.int8:
        dtype = torch.int32
    compute = get_float_dtype() if dtype is torch.bool else dtype
    if dtype is torch.float16 and x1.is_cpu:
        compute = torch.float32
    return torch.matmul(x1.to(compute), x2.to(compute)).to(dtype)


def clip(x: Tensor, x_min: Any, x_max: Any) -> Tensor:
    """Clip a tensor to a range; booleans become int32."""
    low, high = to_tensor_like(x_min, x), to_tensor_like(x_max, x)
    if x.dtype is torch.float16 and x.is_cpu:
        return torch.clip(x.float(), low, high).half()
    return torch.clip(x.int() if x.dtype is torch.bool else x, low, high)


def where(condition: Tensor, x1: Any, x2: Any) -> Tensor:
    """Choose from the first where the condition is not 0, else from the second."""
    a, b = to_tensor_like(x1, condition), to_tensor_like(x2, condition)
    return torch.where(condition.to(torch.bool), a, b)


def wrap_like(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return torch's `zeros_like` or `ones_like` with the name of a dtype."""

    def compute(x: Tensor, dtype: str | None = None) -> Tensor:
        return function(x) if dtype is None else cast(function(x), dtype)

    return compute


def cast(x: Tensor, dtype: str) -> Tensor:
    """Cast a tensor to a dtype of the closed table, or raise ValueError."""
    if dtype not in TYPES:
        raise ValueError(argument_error("Cast", "dtype", f"one of {', '.join(TYPES)}", dtype))
    return x.to(getattr(torch, dtype))
