"""Conversions between NumPy arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_ARRAY_KINDS = "biuf"  # bool, signed, unsigned, float


def to_tensor(value: Any) -> Tensor | None:
    """Return `value` as a CPU tensor, or None if it is not an array of real numbers.

    Any byte order, any strides, read-only memory and the bfloat16 of `ml_dtypes` are accepted.
    The tensor may share memory with `value`; the caller must not write to it.
    """
    if isinstance(value, Tensor):
        return None if value.is_complex() else value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a list of tensors
        return None
    if array.dtype.name == "bfloat16":
        bits = np.ascontiguousarray(array).view(np.uint16).copy().reshape(array.shape)
        return torch.from_numpy(bits).view(torch.bfloat16)
    if array.dtype.kind not in _ARRAY_KINDS:
        return None
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    plain = np.dtype(f"={array.dtype.str[1:]}")  # on Linux, "Q" and "L" are two types of uint64
    native = array.astype(plain, copy=False).view(plain)
    strides = native.strides
    if not native.flags.writeable or any(s < 0 or s % native.itemsize for s in strides):
        native = native.copy()
    return torch.from_numpy(native)


def find_remedy(value: Any) -> str:
    """Return the remedy for the message that `value` is not a tensor."""
    if type(value).__module__ != "torch.fx.proxy":
        return ""
    return "Take the graph from `torch.export.export` instead of `torch.fx.symbolic_trace`."


def to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a contiguous copy of `tensor` as an array, with bfloat16 converted to float32."""
    value = tensor.detach().cpu()
    if value.dtype is torch.bfloat16:
        value = value.float()
    return np.array(value.numpy(), order="C", copy=True)
