"""Convolutions that are faster, or only correct, as another operation on a CPU.

What is faster was measured in float32 with AVX2 and AVX-512 (`compat/bench/`: the train steps of
`models.py` for 1x1 convolutions without a stride, `conv2d.py` for the others).
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .._core.layout import CHANNELS_FIRST, permute_axes, to_channels_last
from .convolution import (
    CONVOLUTIONS,
    Convolution,
    Special,
    convolve_causal,
    convolve_same,
    convolve_steps,
)
from .tracing import is_autocast_enabled, is_tracing
from .window_arithmetic import Integers, compute_fixed_padding

_SMALL_WINDOW, _FEW_CHANNELS = 12, 16  # up to here oneDNN's gradient is as fast
_COPY_BOUND = 3  # input and output elements per weight, if the input is copied
_READ_BOUND = {False: 4, True: 8}  # the same if it is not, by whether gradients are enabled
# Multiplications that hide the overhead of a few more calls, by the number of axes
_MIN_PRODUCTS = {3: 8_000_000, 4: 8_000_000, 5: 100_000}


def select_convolution(kernel_size: Integers, strides: Integers, groups: int) -> Convolution:
    """Return a convolution with the signature of `torch.conv2d`; that of images for sequences."""
    if len(kernel_size) == 2 and groups > 1 and prod(kernel_size) > _SMALL_WINDOW:
        return _convolve_depthwise
    if len(kernel_size) > 1 and strides[-1] > 1:
        return _convolve_strided
    return CONVOLUTIONS[len(kernel_size)]


def select_depthwise_convolution(
    kernel_size: Integers, strides: Integers, channels: int, multiplier: int
) -> Convolution:
    """Return a convolution with as many groups as channels, of `multiplier` filters each."""
    if len(kernel_size) == 2 and channels >= _FEW_CHANNELS and multiplier in (2, 3):
        return _convolve_multiplied
    return select_convolution(kernel_size, strides, channels)


def plan_convolution(
    padding: str,
    kernel_size: Integers,
    stride: Integers,
    dilation: Integers,
    groups: int,
    is_activated: bool,
) -> tuple[Special | None, tuple[Any, ...]]:
    """Return what calls the convolution, None for nothing, and the last arguments of that call."""
    if len(kernel_size) == 1:
        image = (1, *kernel_size), (1, *stride), (1, *dilation)
        special, sizes = plan_convolution(padding, *image, groups, is_activated)
        return convolve_steps, (special, *sizes)
    # In training, an activation costs more memory on a matrix product's output, a view.
    as_product = len(kernel_size) == 3 or max(stride) > 1 or not is_activated
    if as_product and (groups, set(kernel_size)) == (1, {1}):
        return conv1x1_as_matmul, (stride, dilation, groups)
    fixed = compute_fixed_padding(padding, kernel_size, stride, dilation)
    if fixed is None:
        special = convolve_causal if padding == "causal" else convolve_same
        return special, (kernel_size, stride, dilation, groups)
    if max(*dilation, groups) == 1:  # short arguments make PyTorch's call faster
        return None, tuple(n[0] if len(set(n)) == 1 else n for n in (stride, fixed))
    return None, (stride, fixed, dilation, groups)


# `geometry` stands for the further arguments of `torch.conv2d`, in their order.
def _convolve_strided(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """Convolve in another way where oneDNN computes wrong values.

    oneDNN 3.12 does with AVX-512 for one input channel a group, an output of width 1 and a
    horizontal stride above 1: with one group in channels_last, and in bfloat16 with several filters
    a group, where it reads memory that nothing wrote.
    """
    groups = geometry[3] if len(geometry) > 3 else 1
    is_faulty = (groups == 1 or _is_in_bfloat16(x)) and weight.shape[1] == 1
    if is_faulty and (is_tracing() or _is_one_wide(x, weight, *geometry)):
        if groups > 1:
            return _convolve_wider(x, weight, bias, *geometry)
        # An axis of size 1 may have any stride: only a new one is sure not to be channels_last.
        x, weight = x.squeeze(1).unsqueeze(1), weight.squeeze(1).unsqueeze(1)
    return CONVOLUTIONS[x.ndim - 2](x, weight, bias, *geometry)


def _convolve_wider(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """Convolve with one more place along the width, and drop it."""
    step = geometry[0] if isinstance(geometry[0], int) else geometry[0][-1]
    y = CONVOLUTIONS[x.ndim - 2](F.pad(x, (0, step)), weight, bias, *geometry)
    return y[..., :-1].contiguous()


def _is_in_bfloat16(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 or is_autocast_enabled(x.device.type)


def _is_one_wide(x: Tensor, weight: Tensor, *geometry: Any) -> bool:
    sizes = (*geometry, 1)[:3]  # a missing dilation is 1
    step, pad, spread = (n if isinstance(n, int) else n[-1] for n in sizes)
    return x.shape[-1] + 2 * pad < (weight.shape[-1] - 1) * spread + 1 + step


def _is_measured(x: Tensor) -> bool:
    """Return whether the variants are measured for this input, and no graph is traced."""
    plain = x.is_cpu and x.dtype is torch.float32 and not is_tracing()
    return plain and not torch.is_autocast_enabled("cpu")


def conv1x1_as_matmul(
    convolution: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Compute an ungrouped convolution of kernel size 1, as a matrix product if that is faster.

    That is where the weight outweighs the activations, and in training of several images on one
    thread. The second result is whether to overwrite the output: in training, a view costs more
    than a new tensor.
    """
    strided = max(stride) > 1
    if _is_measured(x) and (strided or x.numel() * weight.shape[0] >= _MIN_PRODUCTS[x.ndim]):
        inputs = to_channels_last(x)
        if strided:  # the gradient of the slices is channels_last too
            inputs = inputs[(slice(None), *(slice(None, None, step) for step in stride))]
        if _is_faster(inputs, weight, strided):
            y = F.linear(inputs, to_channels_last(weight).flatten(1), bias)
            return permute_axes(y, CHANNELS_FIRST[x.ndim - 2]), not torch.is_grad_enabled()
    return convolution(x, weight, bias, stride, 0, dilation, groups), True


def _is_faster(inputs: Tensor, weight: Tensor, strided: bool) -> bool:
    """Return whether a matrix product is faster, which copies a strided input and no other."""
    # The elements that the product reads and writes besides the weight.
    elements = inputs.shape[:-1].numel() * (weight.shape[0] + weight.shape[1])
    if strided:
        return 0 < elements <= _COPY_BOUND * weight.numel()
    if not inputs.is_contiguous():
        return False
    if inputs.ndim == 5:
        return True
    training = torch.is_grad_enabled()
    if torch.get_num_threads() == 1:
        if inputs.shape[0] == 1:
            return False  # torch's convolution is the same product
        if training:
            return True
    return elements <= _READ_BOUND[training] * weight.numel()


def _convolve_depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """Convolve in groups, with a faster gradient if each group has one channel."""
    stride, padding, dilation, groups = geometry
    if (
        torch.is_grad_enabled()
        and weight.requires_grad
        and _is_measured(x)
        and weight.shape[1] == 1
        and weight.shape[0] == groups >= _FEW_CHANNELS
    ):
        both = padding if isinstance(padding, tuple) else (padding, padding)
        found: Tensor = _Depthwise.apply(x, weight, bias, stride, both, dilation)  # type: ignore[no-untyped-call]
        return found
    return _convolve_strided(x, weight, bias, *geometry)


def _convolve_multiplied(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """Convolve each channel with several filters, as oneDNN does best: with the channels repeated.

    With two or three filters it takes 0.2 to 0.9 of the time; with four, as much.
    """
    if _is_measured(x):
        *options, groups = geometry
        repeated = to_channels_last(x).unsqueeze(-1)
        repeated = repeated.expand(*(-1,) * x.ndim, weight.shape[0] // groups).flatten(-2)
        x, geometry = permute_axes(repeated, CHANNELS_FIRST[2]), (*options, weight.shape[0])
    if prod(weight.shape[2:]) <= _SMALL_WINDOW:
        return _convolve_strided(x, weight, bias, *geometry)
    return _convolve_depthwise(x, weight, bias, *geometry)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with a faster gradient of its weight."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
        options = (*geometry, weight.shape[0])
        return torch.conv2d(x, weight, bias, *options)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, *ctx.geometry = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        x_gradient: Tensor | None = None
        if needs_x:
            options = *ctx.geometry, False, (0, 0), weight.shape[0], (True, False, False)
            x_gradient = torch.ops.aten.convolution_backward(gradient, x, weight, None, *options)[0]
        return (
            x_gradient,
            _weight_gradient(x, weight, gradient, *ctx.geometry) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
            *(None, None, None),
        )

    @staticmethod
    def jvp(ctx: Any, x_tangent: Any, weight_tangent: Any, bias_tangent: Any, *_: Any) -> Tensor:
        x, weight = ctx.saved_tensors
        options = (*ctx.geometry, weight.shape[0])
        terms = [
            torch.conv2d(one, other, None, *options)
            for one, other in ((x_tangent, weight), (x, weight_tangent))
            if one is not None and other is not None
        ]
        if bias_tangent is not None:
            terms.append(bias_tangent.reshape(-1, 1, 1))
        return reduce(torch.add, terms)


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, *geometry: Integers) -> Tensor:
    """Convolve each image with its output's gradient, with stride and dilation exchanged."""
    stride, padding, dilation = geometry
    channels, _, height, width = weight.shape
    total: Tensor | None = None
    for image, image_gradient in zip(x, gradient, strict=True):
        kernels = image_gradient.unsqueeze(1)  # (channels, 1, output height, output width)
        term = torch.conv2d(image.unsqueeze(0), kernels, None, dilation, padding, stride, channels)
        total = term if total is None else total + term
    if total is None:  # an empty batch
        return torch.zeros_like(weight)
    cropped = total[0, :, :height, :width].contiguous()  # (channels, height, width)
    return permute_axes(cropped.unsqueeze(-1), CHANNELS_FIRST[2])
