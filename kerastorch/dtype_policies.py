"""Keras's dtype policies: the dtype of the weights and that of the computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import torch

from . import config
from ._core.errors import argument_error

_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")
}
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_RULE = "one of " + ", ".join(map(repr, (*_DTYPES, *_MIXED)))
_POLICY_CLASSES = ("DTypePolicy", "FloatDTypePolicy", "Policy", "PolicyV1")


@dataclass(frozen=True)
class DTypePolicy:
    """A float dtype by name, or "mixed_float16" or "mixed_bfloat16".

    Same as `keras.DTypePolicy`, without quantized policies.

    Raises:
        ValueError: `name` is neither a float dtype nor a mixed policy.
    """

    name: str

    def __post_init__(self) -> None:
        if not _is_known(self.name):
            raise ValueError(argument_error("DTypePolicy", "name", _RULE, self.name))

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation and of the output."""
        return _MIXED.get(self.name, self.name)

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return "float32" if self.name in _MIXED else self.name

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name}


def parse_policy(owner: str, value: Any) -> DTypePolicy:
    """Return the policy for a name, dtype, scalar type, policy, policy config or None (default)."""
    name = _parse_name(value)
    if not _is_known(name):
        raise ValueError(argument_error(owner, "dtype", _RULE, value))
    return DTypePolicy(name)


def _is_known(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and (name in _DTYPES or name in _MIXED)


def _parse_name(value: Any) -> Any:
    if value is None:
        return config.floatx()
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        inner: Any = value.get("config")
        known = value.get("class_name") in _POLICY_CLASSES and isinstance(inner, dict)
        return inner.get("name") if known else None
    if isinstance(value, torch.dtype):
        return get_dtype_name(value)
    if value is float:
        return "float32"
    return getattr(value, "name", None) or getattr(value, "__name__", None)


def get_dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype: "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


def to_torch_dtype(name: str) -> torch.dtype:
    """Return the torch dtype of a float dtype name."""
    return _DTYPES[name]
