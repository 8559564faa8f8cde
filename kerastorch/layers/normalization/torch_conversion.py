"""Convert layers from and to nn.LayerNorm, nn.RMSNorm and nn.GroupNorm."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from ... import config
from ..._core.errors import argument_error
from ..base.sharing import give_parameters, make_of_module, require_convertible, require_module
from .base import AxesNormalization, FloatNormalization

N = TypeVar("N", bound=FloatNormalization)
M = TypeVar("M", bound=nn.Module)


def from_torch(
    cls: type[N], module: Any, kind: type[nn.Module], arguments: dict[str, Any], *, copy: bool
) -> N:
    """Make a layer of a class from a module of a kind."""
    owner = f"{cls.__name__}.from_torch"
    require_module(owner, module, kind)
    made = {"epsilon": module.eps}
    if kind is nn.GroupNorm:
        made["groups"] = module.num_groups
    else:
        made["axis"] = list(range(-len(module.normalized_shape), 0))
    if kind is not nn.RMSNorm:
        made |= {"scale": module.weight is not None, "center": module.bias is not None}
    elif module.weight is None:
        rule = "True, since Keras's layer has a weight"
        raise ValueError(argument_error(owner, "module.elementwise_affine", rule, False))
    elif module.eps is None:
        made["epsilon"] = torch.finfo(module.weight.dtype).eps
    return make_of_module(cls, module, made, arguments, copy=copy)


def to_torch(layer: AxesNormalization, kind: type[M], input_rank: int | None, *, copy: bool) -> M:
    """Convert a layer over its last axes to a module of a kind."""
    owner = f"{type(layer).__name__}.to_torch"
    require_convertible(layer)
    axes = sorted(layer._resolve_arguments()["axis"])
    if any(axis >= 0 for axis in axes):
        if input_rank is None:
            rule = "given, since `axis` is counted from the front"
            raise ValueError(argument_error(owner, "input_rank", rule, None, axis=layer.axis))
        axes = sorted(axis % input_rank - input_rank for axis in axes)
    if axes != list(range(-len(axes), 0)):
        rule = "the last axes of the input"
        raise ValueError(argument_error(owner, "axis", rule, layer.axis, input_rank=input_rank))
    if not layer.weights:
        rule, remedy = "a layer with weights, which have the sizes", f"Make an nn.{kind.__name__}."
        raise ValueError(argument_error(owner, "layer", rule, layer, remedy))
    epsilon = config.epsilon() if layer.epsilon is None else layer.epsilon
    module: Any = kind(tuple(layer.weights[0].shape), eps=epsilon, device="meta")
    give_parameters(layer, module, copy=copy)
    return module  # type: ignore[no-any-return]
