"""What activations do with integers and booleans.

Where Keras on TensorFlow computes something of them, that is what is computed here. What it
refuses is computed in `config.floatx()`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import config
from .._core.errors import problem


def convert_integers(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return integers and booleans in a float type, by default `config.floatx()`; else `x`."""
    if x.is_floating_point() or x.is_complex():
        return x
    return x.to(dtype or getattr(torch, config.floatx()))


def convert_booleans(x: Tensor) -> Tensor:
    """Return booleans as `config.floatx()`; else `x`."""
    return convert_integers(x) if x.dtype is torch.bool else x


def is_integer(value: Any) -> bool:
    """Return whether a number is an integer by its type: TensorFlow tells 1 and 1.0 apart."""
    return hasattr(value, "__index__")


def relu_takes(
    dtype: torch.dtype, negative_slope: float, max_value: float | None, threshold: float
) -> bool:
    """Return whether Keras on TensorFlow computes `relu` of an integer type, or of booleans."""
    if dtype is torch.bool:
        return False
    if not negative_slope or (max_value is None and threshold == 0):
        return True
    return dtype.is_signed and all(map(is_integer, (negative_slope, threshold or 0)))


def relu_of_integers(
    x: Tensor, negative_slope: float, max_value: float | None, threshold: float
) -> Tensor:
    """Return `relu` with a limit: Keras casts the limits to the input's type."""
    y = F.relu(x)
    if threshold != 0:
        y = torch.where(x > _limit_of("threshold", threshold, x.dtype), x, 0)
    if max_value is not None:
        y = y.clamp(0, _limit_of("max_value", max_value, x.dtype))
    if negative_slope:
        y = y - negative_slope * F.relu(threshold - x if threshold else -x)  # 0.0 would be a float
    return y


def _limit_of(argument: str, value: float, dtype: torch.dtype) -> int:
    held = torch.iinfo(dtype)
    if not held.min <= value < held.max + 1:
        raise ValueError(problem("relu", argument, f"a number that {dtype} holds", value))
    return int(value)
