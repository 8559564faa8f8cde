"""The arguments with which modules are made."""

from __future__ import annotations

import inspect
from collections.abc import Container
from typing import Any

import torch
from torch import nn

_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def list_arguments(module: nn.Module) -> dict[str, Any]:
    """Return the value of each argument of a module's constructor."""
    found = {}
    is_torch = type(module).__module__.startswith("torch.")
    is_plain = not getattr(module, "affine", getattr(module, "elementwise_affine", True))
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if name in ("device", "dtype") or parameter.kind in _OPEN:
            continue
        if name == "bias" and is_plain:
            continue
        value = getattr(module, name)
        if isinstance(value, torch.Tensor) or (name == "bias" and value is None):
            value = value is not None
        value = tuple(value) if isinstance(value, list) else value
        if is_torch and (name != "normalized_shape" or len(value) == 1):
            value = _shorten(value)
        found[name] = value
    return found


def list_constructor_arguments(
    module: nn.Module, kept: Container[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments that make a module: those without a default, and those that differ.

    Those in `kept` are among them, even if they are the default.
    """
    required, options = {}, {}
    parameters = inspect.signature(type(module)).parameters
    for name, value in list_arguments(module).items():
        default = parameters[name].default
        if default is inspect.Parameter.empty:
            required[name] = value
        elif name in kept or value != default or type(value) is not type(default):
            options[name] = value
    return required, options


def _shorten(value: Any) -> Any:
    """Return one number for a tuple of equal ones, as torch's constructors take it."""
    if isinstance(value, tuple) and len({*value}) == 1:
        return value[0]
    return value
