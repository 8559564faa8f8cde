"""Activations of integers and booleans.

The results are those of Keras on TensorFlow, or computed in `config.floatx()` where it raises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import config
from .._core.errors import argument_error


def convert_integers(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Convert integers and booleans to a float dtype, by default `config.floatx()`."""
    if x.is_floating_point() or x.is_complex():
        return x
    return x.to(dtype or getattr(torch, config.floatx()))


def convert_booleans(x: Tensor) -> Tensor:
    """Convert booleans to `config.floatx()`."""
    return convert_integers(x) if x.dtype is torch.bool else x


def is_integer(value: Any) -> bool:
    """Return whether a number has an integer type; TensorFlow distinguishes 1 and 1.0."""
    return hasattr(value, "__index__")


def relu_accepts(
    dtype: torch.dtype, negative_slope: float, max_value: float | None, threshold: float
) -> bool:
    """Return whether Keras on TensorFlow accepts a dtype other than float in `relu`."""
    if dtype is torch.bool:
        return False
    if not negative_slope or (max_value is None and threshold == 0):
        return True
    return dtype.is_signed and all(map(is_integer, (negative_slope, threshold or 0)))


def compute_integer_relu(
    x: Tensor, negative_slope: float, max_value: float | None, threshold: float
) -> Tensor:
    """Compute `relu` with limits cast to the input's dtype, as in Keras."""
    y = F.relu(x)
    if threshold != 0:
        y = torch.where(x > _cast_limit("threshold", threshold, x.dtype), x, 0)
    if max_value is not None:
        y = y.clamp(0, _cast_limit("max_value", max_value, x.dtype))
    if negative_slope:
        y = y - negative_slope * F.relu(threshold - x if threshold else -x)  # 0.0 would be a float
    return y


def _cast_limit(argument: str, value: float, dtype: torch.dtype) -> int:
    info = torch.iinfo(dtype)
    if not info.min <= value < info.max + 1:
        raise ValueError(argument_error("relu", argument, f"a number that {dtype} holds", value))
    return int(value)
