"""Convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...layers.base.kernel import KernelLayer
from ...layers.convolution.conv import Conv1D, Conv2D, Conv3D
from ...layers.convolution.depthwise import DepthwiseConv1D, DepthwiseConv2D
from ...layers.convolution.separable import SeparableConv1D, SeparableConv2D
from ...layers.convolution.transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from ..graph import GraphBuilder, Value
from ..registry import lowers
from .activation import activate
from .axes import slice_last
from .padding import pad_input

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


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


@lowers(Conv1D, Conv2D, Conv3D, DepthwiseConv1D, DepthwiseConv2D, layout="channels_second")
def lower_convolution(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """A convolution, with its padding and activation."""
    y = convolve(build, layer, x, get_weight(layer), layer.bias)
    return activate(build, layer.activation, y)


@lowers(SeparableConv1D, SeparableConv2D, layout="channels_second")
def lower_separable_convolution(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """A depthwise convolution, then a 1x1 one."""
    y = convolve(build, layer, x, layer.depthwise_weight, None, name="depthwise")
    weight, bias = layer.pointwise_weight, layer.bias
    pointwise = _CONVOLUTIONS[layer.rank](
        weight.shape[1], layer.filters, 1, bias=bias is not None, device="meta"
    )
    set_tensors(pointwise, not layer.trainable, weight=weight, bias=bias)
    return activate(build, layer.activation, build.module(pointwise, y, name="pointwise"))


def convolve(
    build: GraphBuilder, layer: Any, x: Value, weight: Tensor, bias: Tensor | None, name: str = ""
) -> Value:
    """Pad and convolve as a layer does; the weight is as torch has it."""
    window = layer.kernel_size, layer.strides, layer.dilation_rate
    x, padding = pad_input(build, layer, x, layer.padding, window)
    conv = _CONVOLUTIONS[layer.rank](
        weight.shape[1] * layer.groups,
        len(weight),
        layer.kernel_size,
        stride=layer.strides,
        padding=padding,
        dilation=layer.dilation_rate,
        groups=layer.groups,
        bias=bias is not None,
        device="meta",
    )
    set_tensors(conv, not layer.trainable, weight=weight, bias=bias)
    return build.module(conv, x, name=name)


@lowers(Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, layout="channels_second")
def lower_transposed_convolution(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """A transposed convolution; an odd crop takes one more position at the end."""
    plan = layer._plan_padding()
    conv = _TRANSPOSED[layer.rank](
        len(layer.weight),
        layer.filters,
        layer.kernel_size,
        stride=layer.strides,
        padding=plan.padding,
        output_padding=plan.output_padding,
        bias=layer.bias is not None,
        dilation=layer.dilation_rate,
        device="meta",
    )
    set_tensors(conv, not layer.trainable, weight=layer.weight, bias=layer.bias)
    y = build.module(conv, x)
    if any(plan.cropped):
        y = slice_last(build, y, [(0, n) for n in plan.cropped])
        y = build.comment(y, "Keras crops an odd number, one more at the end")
    return activate(build, layer.activation, y)
