"""Convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...layers.base.kernel import KernelLayer
from ...layers.convolution.conv import Conv1D, Conv2D, Conv3D
from ..graph import GraphBuilder, Value
from ..registry import lowers
from .activation import activate
from .padding import pad_input

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def set_tensors(module: Any, frozen: bool = False, **tensors: Tensor | None) -> Any:
    """Give a module copies of parameters and buffers; None removes one."""
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        copied = tensor.detach().clone(memory_format=torch.contiguous_format)
        if name in module._buffers:
            module._buffers[name] = copied
        else:
            module._parameters[name] = nn.Parameter(copied, requires_grad=not frozen)
    return module


def get_weight(layer: KernelLayer) -> Tensor:
    """Return the weight of a layer, with that of LoRA added."""
    found: Tensor = layer._merged_weight()
    return found


@lowers(Conv1D, Conv2D, Conv3D, layout="channels_second")
def lower_convolution(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """A convolution, with its padding and activation."""
    window = layer.kernel_size, layer.strides, layer.dilation_rate
    x, padding = pad_input(build, layer, x, layer.padding, window)
    weight = get_weight(layer)
    conv = _CONVOLUTIONS[layer.rank](
        weight.shape[1] * layer.groups,
        layer.filters,
        layer.kernel_size,
        stride=layer.strides,
        padding=padding,
        dilation=layer.dilation_rate,
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    set_tensors(conv, not layer.trainable, weight=weight, bias=layer.bias)
    y = build.module(conv, x)
    return activate(build, layer.activation, y)
