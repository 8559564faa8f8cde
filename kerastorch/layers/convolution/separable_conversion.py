"""Convert a separable convolution from and to two convolutions of torch.nn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..._core.errors import argument_error
from ..base.sharing import require_convertible, share_or_copy
from ..base.torch_conversion import find_torch_activation
from . import torch_conversion
from .depthwise import DepthwiseConv, DepthwiseConv1D, DepthwiseConv2D

_DEPTHWISE: dict[int, type[DepthwiseConv]] = {1: DepthwiseConv1D, 2: DepthwiseConv2D}


class _CausalStep(DepthwiseConv):
    """The depthwise step of a causal separable convolution."""

    rank = 1
    paddings = ("causal",)


def from_torch(cls: Any, module: nn.Module, copy: bool, arguments: dict[str, Any]) -> Any:
    """Make a layer of a class from two plain convolutions."""
    owner, plain = f"{cls.__name__}.from_torch", torch_conversion.CONVOLUTIONS[cls.rank]
    steps: list[Any] = list(module) if isinstance(module, nn.Sequential) else []
    if [isinstance(step, plain) for step in steps] != [True, True]:
        rule = f"an nn.Sequential of two nn.{plain.__name__}"
        raise ValueError(argument_error(owner, "module", rule, module))
    depthwise, pointwise = steps
    own = {name: arguments[name] for name in ("data_format", "dtype") if name in arguments}
    first = _DEPTHWISE[cls.rank].from_torch(depthwise, copy=copy, **own)
    if first.use_bias:
        rule = "None: Keras adds no bias between the steps"
        raise ValueError(argument_error(owner, "module[0].bias", rule, depthwise.bias))
    window = (pointwise.kernel_size, pointwise.stride, pointwise.groups, pointwise.padding)
    one = (1,) * cls.rank
    if window[:3] != (one, one, 1) or window[3] not in ("valid", "same", (0,) * cls.rank):
        rule = "a convolution with kernel size 1, stride 1, no padding and one group"
        raise ValueError(argument_error(owner, "module[1]", rule, pointwise))
    given = {**first._get_geometry(), "use_bias": pointwise.bias is not None, **arguments}
    layer = cls(pointwise.out_channels, **given)
    layer.depthwise_weight = first.weight
    layer.pointwise_weight = share_or_copy(pointwise.weight, copy=copy)
    layer.bias = share_or_copy(pointwise.bias, copy=copy)
    layer._build(layer._infer_input_shape({"depthwise_weight": first._kernel_shape}) or ())
    layer._end_laziness()
    if not layer.trainable:
        layer.trainable = False
    return layer.train(module.training)


def to_torch(
    layer: Any, input_size: int | Sequence[int] | None = None, *, copy: bool = False
) -> nn.Module:
    """Convert the layer to plain PyTorch: an `nn.Sequential` of convolutions.

    Args:
        layer: The layer; as a method, itself.
        input_size: The spatial sizes; needed for "same" padding if a stride exceeds 1.
        copy: Whether the parameters are copied; otherwise they are shared.

    Raises:
        ValueError: The padding depends on the size and none is given, or plain modules cannot
            compute what the layer computes.
    """
    owner = f"{type(layer).__name__}.to_torch"
    require_convertible(layer)
    kind = _CausalStep if layer.padding == "causal" else _DEPTHWISE[layer.rank]
    first = kind(use_bias=False, **layer._get_geometry())
    first.weight = layer.depthwise_weight
    first._build(first._infer_input_shape({"weight": layer._kernel_shape}) or ())
    first._end_laziness()
    steps = first.to_torch(input_size, copy=copy)
    options = {"bias": layer.bias is not None, "device": "meta", "dtype": first.weight.dtype}
    plain: Any = torch_conversion.CONVOLUTIONS[layer.rank]
    conv = plain(layer.groups * layer.depth_multiplier, layer.filters, 1, **options)
    conv.weight = share_or_copy(layer.pointwise_weight, copy=copy)
    conv.bias = share_or_copy(layer.bias, copy=copy)
    axis = 1 if layer.data_format == "channels_last" else -1
    activation = find_torch_activation(owner, layer, axis)
    before = list(steps) if isinstance(steps, nn.Sequential) else [steps]
    after = [conv] if activation is None else [conv, activation]
    return nn.Sequential(*before, *after).train(layer.training)
