"""Convert layers from and to nn.LayerNorm, nn.RMSNorm, nn.GroupNorm and nn.BatchNorm2d."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from ..._core.errors import argument_error
from ..base.sharing import give_parameters, make_of_module, require_convertible, require_module
from ..base.torch_conversion import require_values
from .base import AxesNormalization, FloatNormalization

N = TypeVar("N", bound=FloatNormalization)
M = TypeVar("M", bound=nn.Module)

_BATCH_NORMS: dict[int, Any] = {
    **dict.fromkeys((2, 3), nn.BatchNorm1d),
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}


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
        axes = [axis % input_rank - input_rank for axis in axes]  # those of the weights, in order
    if axes != list(range(-len(axes), 0)):
        rule = "the last axes of the input"
        raise ValueError(argument_error(owner, "axis", rule, layer.axis, input_rank=input_rank))
    if not layer.weights:
        rule, remedy = "a layer with weights, which have the sizes", f"Make an nn.{kind.__name__}."
        raise ValueError(argument_error(owner, "layer", rule, layer, remedy))
    sizes = tuple(layer.weights[0].shape)
    module: Any = kind(sizes, eps=layer._get_epsilon(), device="meta")
    give_parameters(layer, module, copy=copy)
    return module  # type: ignore[no-any-return]


def make_batch_norm(cls: Any, /, module: Any, *, copy: bool = False, **arguments: Any) -> Any:
    """Make a layer from an `nn.BatchNorm1d`, `nn.BatchNorm2d` or `nn.BatchNorm3d`.

    Outputs agree in evaluation, and in training; but the moving variance follows Keras's biased
    variance of a batch from then on, where torch's module takes the unbiased one.

    Args:
        cls: The layer's class.
        module: The module.
        copy: Whether parameters and statistics are copied; otherwise they are shared, and
            `trainable=False` freezes them for both.
        **arguments: Further arguments of the layer, such as `axis`: by default the last one.

    Raises:
        ValueError: It is no such module, or it has no moving statistics or no momentum.
    """
    owner = f"{cls.__name__}.from_torch"
    require_module(owner, module, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    require_values(owner, "module.", module, {"track_running_stats": True}, "Keras")
    if module.momentum is None:
        rule, remedy = "a number: Keras has no mean over all batches", "Set it first."
        raise ValueError(argument_error(owner, "module.momentum", rule, None, remedy))
    made = {"epsilon": module.eps, "momentum": 1 - module.momentum}
    made |= {"scale": module.weight is not None, "center": module.bias is not None}
    return make_of_module(cls, module, made, arguments, copy=copy)


def convert_batch_norm(layer: Any, input_rank: int, *, copy: bool = False) -> nn.Module:
    """Convert the layer to an `nn.BatchNorm1d`, `nn.BatchNorm2d` or `nn.BatchNorm3d`.

    Its channels are axis 1, whatever `axis` is. Outputs agree in evaluation, and in training; but
    in training its moving variance follows the unbiased variance of a batch, where Keras takes the
    biased one. A layer that is not trainable becomes a module in evaluation.

    Args:
        layer: The layer; as a method, itself.
        input_rank: The rank of the inputs, batch included: 2 or 3, 4 or 5.
        copy: Whether parameters and statistics are copied; otherwise they are shared.

    Raises:
        ValueError: The layer is not built, or has `renorm`; or there is no module of that rank.
    """
    owner = f"{type(layer).__name__}.to_torch"
    require_convertible(layer)
    require_values(owner, "", layer, {"renorm": False}, "PyTorch")
    if input_rank not in _BATCH_NORMS:
        raise ValueError(argument_error(owner, "input_rank", "2, 3, 4 or 5", input_rank))
    if layer.axis % input_rank == 0:
        raise ValueError(argument_error(owner, "axis", "that of the channels", layer.axis))
    channels, device = layer.running_mean.shape[0], layer.running_mean.device
    sizes = {"eps": layer.epsilon, "momentum": 1 - layer.momentum, "device": device}
    module: nn.Module = _BATCH_NORMS[input_rank](
        channels, affine=layer.scale or layer.center, **sizes
    )
    give_parameters(layer, module, copy=copy)
    return module.train(layer.training and layer.trainable)
