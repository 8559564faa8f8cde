"""Share parameters with plain PyTorch modules, or copy them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..._core.errors import argument_error
from ...dtype_policies import get_dtype_name, parse_policy
from .layer import Layer

L = TypeVar("L", bound=Layer)


def share_or_copy(parameter: Any, *, copy: bool) -> Any:
    """Return a parameter or None as it is, or a copy of it with the same strides."""
    if parameter is None or not copy:
        return parameter
    copied = torch.empty_like(parameter).copy_(parameter.detach())
    return nn.Parameter(copied.detach(), parameter.requires_grad)


def require_module(owner: str, module: Any, kind: type[nn.Module]) -> None:
    """Refuse what is no initialized module of a class."""
    if not isinstance(module, kind) or any(map(is_lazy, module.parameters())):
        rule = f"an initialized nn.{kind.__name__}"
        raise ValueError(argument_error(owner, "module", rule, module))


def make_of_module(
    cls: type[L], module: Any, arguments: dict[str, Any], names: Sequence[str], *, copy: bool
) -> L:
    """Make a layer that has a module's parameters, some of which may be None."""
    owner, tensors = f"{cls.__name__}.from_torch", {n: getattr(module, n, None) for n in names}
    first = next((tensor for tensor in tensors.values() if tensor is not None), None)
    if first is not None:
        own = get_dtype_name(first.dtype)
        dtype = arguments.setdefault("dtype", own)
        if parse_policy(owner, dtype).variable_dtype != own:
            rule = f"a policy whose weights are {own}, as the module's are"
            remedy = "Convert the module first."
            raise ValueError(argument_error(owner, "dtype", rule, dtype, remedy))
        arguments["device"] = first.device
    layer = cls(**arguments)
    for name, tensor in tensors.items():
        if tensor is not None:
            setattr(layer, name, share_or_copy(tensor, copy=copy))
    layer._end_laziness()
    if not layer.trainable:
        layer.trainable = False
    return layer.train(module.training)


def require_convertible(layer: Layer) -> None:
    """Refuse to convert a layer that is not built, or whose weights are not its parameters."""
    owner = f"{type(layer).__name__}.to_torch"
    layer._require_built("to_torch")
    for variable in layer.variables:
        layer._writable(variable)
    if layer.compute_dtype != layer.dtype:
        rule, remedy = "one that computes in its weights' dtype", "Use torch.autocast instead."
        raise ValueError(argument_error(owner, "dtype", rule, layer.dtype_policy.name, remedy))


def give_parameters(layer: Layer, module: nn.Module, *, copy: bool) -> None:
    """Give a module the layer's parameters and mode."""
    for spec in layer.weight_specs:
        parameter = share_or_copy(layer._tensor(spec.parameter), copy=copy)
        module.register_parameter(spec.parameter, parameter)
    module.train(layer.training)
