"""The arguments with which modules are made."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterator
from typing import Any

import torch
from torch import nn

from .. import printed

_PRINTED = (printed.__name__, "kerastorch_written")  # there, and in the text
_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def list_arguments(module: nn.Module) -> dict[str, Any]:
    """Return the value of each argument of a module's constructor."""
    found: dict[str, Any] = {}
    if is_own(type(module)):
        return found
    is_torch = type(module).__module__.startswith("torch.")
    is_plain = not getattr(module, "affine", getattr(module, "elementwise_affine", True))
    known: dict[str, Any] = {}
    if isinstance(module, nn.MultiheadAttention):  # it keeps them under other names
        known = {"bias": module.in_proj_bias is not None, "add_bias_kv": False}
        known |= dict.fromkeys(("kdim", "vdim"))
    for name, _ in _list_parameters(type(module)):
        if name == "bias" and is_plain:
            continue
        value = known[name] if name in known else getattr(module, name)
        if isinstance(value, torch.Tensor) or (name == "bias" and value is None):
            value = value is not None
        value = tuple(value) if isinstance(value, list) else value
        if is_torch and (name != "normalized_shape" or len(value) == 1):
            value = shorten(value)
        found[name] = value
    return found


def list_constructor_arguments(
    module: nn.Module, kept: Container[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments that make a module: those without a default, and those that differ.

    Those in `kept` are among them, even if they are the default.
    """
    required, options = {}, {}
    defaults = {name: one.default for name, one in _list_parameters(type(module))}
    for name, value in list_arguments(module).items():
        default = defaults[name]
        if default is inspect.Parameter.empty:
            required[name] = value
        elif name in kept or value != default or type(value) is not type(default):
            options[name] = value
    return required, options


def is_own(kind: type) -> bool:
    """Return whether a class is neither torch's nor printed: it is made without arguments."""
    return not kind.__module__.startswith(("torch.", *_PRINTED))


def _list_parameters(kind: type) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the parameters of a module's constructor that its attributes are."""
    is_recurrent = issubclass(kind, nn.RNNBase)
    found = dict(inspect.signature(nn.RNNBase if is_recurrent else kind).parameters)
    if is_recurrent:
        del found["mode"]
        if issubclass(kind, nn.RNN):
            keyword = inspect.Parameter.KEYWORD_ONLY
            found["nonlinearity"] = inspect.Parameter("nonlinearity", keyword, default="tanh")
    for name, parameter in found.items():
        is_unkept = name in ("device", "dtype") or name.startswith("_")
        if not is_unkept and parameter.kind not in _OPEN:
            yield name, parameter


def shorten(value: Any) -> Any:
    """Return one number for a tuple of equal ones, as torch's constructors take it."""
    if isinstance(value, tuple) and len({*value}) == 1:
        return value[0]
    return value
