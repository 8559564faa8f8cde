"""Share parameters with plain PyTorch modules, or copy them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..._core.errors import argument_error
from ..._core.registry import LAYERS
from ...dtype_policies import get_dtype_name, parse_policy
from .layer import Layer

L = TypeVar("L", bound=Layer)


def share_or_copy(tensor: Any, *, copy: bool) -> Any:
    """Return a parameter, a buffer or None as it is, or a copy of it with the same strides."""
    if tensor is None or not copy:
        return tensor
    copied = torch.empty_like(tensor).copy_(tensor.detach()).detach()
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(copied, tensor.requires_grad) if is_parameter else copied


def require_module(owner: str, module: Any, *kinds: type[nn.Module]) -> None:
    """Refuse what is no initialized module of one of some classes."""
    fits = isinstance(module, kinds)
    if not fits or any(map(is_lazy, chain(module.parameters(), module.buffers()))):
        rule = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
        raise ValueError(argument_error(owner, "module", f"an initialized {rule}", module))


def make_of_module(
    cls: type[L], module: Any, made: dict[str, Any], given: dict[str, Any], *, copy: bool
) -> L:
    """Make a layer with the arguments `made` of a module and its parameters, and those `given`."""
    owner, names = f"{cls.__name__}.from_torch", [spec.parameter for spec in cls.weight_specs]
    for name in made.keys() & given.keys():
        rule = f"left to the module, which says {made[name]!r}"
        raise ValueError(argument_error(owner, name, rule, given[name]))
    arguments, found = {**made, **given}, {name: getattr(module, name, None) for name in names}
    tensors = {name: tensor for name, tensor in found.items() if tensor is not None}
    if tensors:
        first = next(iter(tensors.values()))
        own = get_dtype_name(first.dtype)
        dtype = arguments.setdefault("dtype", own)
        if parse_policy(owner, dtype).variable_dtype != own:
            rule = f"a policy whose weights are {own}, as the module's are"
            remedy = "Convert the module first."
            raise ValueError(argument_error(owner, "dtype", rule, dtype, remedy))
        arguments["device"] = first.device
    layer = cls(**arguments)
    for name, tensor in tensors.items():
        setattr(layer, name, share_or_copy(tensor, copy=copy))
    if tensors:
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        layer._build(layer._infer_input_shape(shapes) or ())
    layer._end_laziness()
    for spec in layer.weight_specs:
        if spec.parameter in tensors and not spec.buffer and layer._starts_frozen(spec):
            getattr(layer, spec.parameter).requires_grad = False
    return layer.train(module.training)


def require_convertible(layer: Layer) -> None:
    """Refuse to convert a layer that is not built, or that computes in a way of its own."""
    kind, owner = type(layer), f"{type(layer).__name__}.to_torch"
    layer._require_built("to_torch")
    known: Any = LAYERS.get(getattr(kind, "registered_name", ""), kind)
    if kind.forward is not known.forward or kind._compute is not known._compute:
        rule = f"one that computes as {known.__name__} does: this class overrides `forward`"
        raise ValueError(argument_error(owner, "layer", rule, layer, "Write the module yourself."))
    for variable in layer.variables:
        layer._require_writable(variable)
    if layer.compute_dtype != layer.dtype:
        rule, remedy = "one that computes in its weights' dtype", "Use torch.autocast instead."
        raise ValueError(argument_error(owner, "dtype", rule, layer.dtype_policy.name, remedy))


def give_parameters(layer: Layer, module: nn.Module, *, copy: bool) -> None:
    """Give a module the layer's parameters, LoRA's update included, its buffers and its mode."""
    for spec in layer.weight_specs:
        if hasattr(module, spec.parameter):
            tensor, merged = layer._tensor(spec.parameter), layer._tensor_to_save(spec.parameter)
            if merged is tensor:
                tensor = share_or_copy(tensor, copy=copy)
            else:
                tensor = nn.Parameter(merged.detach())
            register: Any = module.register_buffer if spec.buffer else module.register_parameter
            register(spec.parameter, tensor)
    module.train(layer.training)


def join_modules(layer: Layer, modules: Sequence[nn.Module]) -> nn.Module:
    """Return one module that calls some after the other, in the layer's mode."""
    module = modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    return module.train(layer.training)
