"""Arrays in configs, as Keras writes them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from .errors import argument_error

Config = dict[str, Any]


def encode_array(value: Any) -> Any:
    """Return `value` with NumPy scalars, arrays and tensors encoded as in a Keras config."""
    if isinstance(value, dict):
        return {key: encode_array(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        inners = [encode_array(inner) for inner in value]
        return tuple(inners) if isinstance(value, tuple) else inners
    if isinstance(value, torch.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        content = {"value": value.tolist(), "dtype": name}
        return {"class_name": "__tensor__", "config": content}
    if isinstance(value, np.ndarray) and value.ndim:
        content = {"value": value.tolist(), "dtype": value.dtype.name}
        return {"class_name": "__numpy__", "config": content}
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def decode_array(owner: str, argument: str, value: Any) -> Any:
    """Return the array or tensor that the dict `value` encodes; any other value unchanged."""
    name = value.get("class_name") if isinstance(value, dict) else None
    if name not in ("__numpy__", "__tensor__"):
        return value
    content = value.get("config")
    dtype = getattr(torch, str(content.get("dtype")), None) if isinstance(content, dict) else None
    if isinstance(dtype, torch.dtype):
        with suppress(TypeError, ValueError, RuntimeError):  # ragged, not numbers, out of range
            tensor = torch.tensor(content.get("value"), dtype=dtype, device="cpu")
            as_array = name == "__numpy__" and dtype is not torch.bfloat16
            return tensor.numpy() if as_array else tensor
    raise ValueError(argument_error(owner, argument, "an array's `value` and `dtype`", value))
