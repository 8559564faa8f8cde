"""Arrays in, arrays out: NumPy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_ARRAY_KINDS = "biuf"  # bool, signed, unsigned, float


def from_array(value: Any) -> Tensor | None:
    """Return `value` as a CPU tensor, or None where it is no array of real numbers.

    Any byte order, any strides, read-only memory and the bfloat16 of `ml_dtypes` are taken. The
    tensor may share memory with `value`; the caller must not write to it.
    """
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    if array.dtype.name == "bfloat16":
        bits = np.ascontiguousarray(array).view(np.uint16).copy().reshape(array.shape)
        return torch.from_numpy(bits).view(torch.bfloat16)
    if array.dtype.kind not in _ARRAY_KINDS:
        return None
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype == np.longdouble and native.dtype != np.float64:
        native = native.astype(np.float64)
    if not native.flags.writeable or any(stride < 0 for stride in native.strides):
        native = native.copy()
    return torch.from_numpy(native)


def to_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a contiguous copy of `tensor` as an array; NumPy has no bfloat16, so float32 then."""
    value = tensor.detach().cpu()
    if value.dtype is torch.bfloat16:
        value = value.float()
    return np.array(value.numpy(), order="C", copy=True)
