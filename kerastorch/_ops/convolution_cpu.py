"""Kinds of convolution that a CPU computes quicker, or rightly, by another operation of PyTorch.

Three are quicker, as measured on processors with AVX2 and with AVX-512 in float32:

- The gradient of a depthwise kernel of more than 12 numbers, as the convolution of each image with
  the output's gradient.
- A strided 1x1 kernel of more numbers than the places it is applied to, as a matrix product of
  those places.
- A 1x1 kernel without a stride, as a product too: in training on one thread, and elsewhere, as
  measured with two threads, where the kernel outweighs the image.

`compat/bench/` shows by how much: `conv2d.py` for the first two, the train steps of `models.py` for
the last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from .._core.layout import CHANNELS_FIRST, axes_moved, channels_last
from .convolution import CONVOLUTIONS
from .tracing import any_size
from .window_arithmetic import Integers

Convolution: TypeAlias = Callable[..., Tensor]

_SMALL_WINDOW, _FEW_CHANNELS = 12, 16  # up to here oneDNN's own gradient is as quick
_COPY_BOUND = 3  # numbers to copy for each weight
_READ_BOUND = {False: 4, True: 8}  # numbers to read and to write for it, in training or not
_MUCH = 8_000_000  # products, beside which a few more calls take no time


def convolution_for(kernel_size: Integers, strides: Integers, groups: int) -> Convolution:
    """Return what convolves: a function with the arguments and the result of `torch.conv2d`."""
    if len(kernel_size) == 2:
        if groups > 1 and prod(kernel_size) > _SMALL_WINDOW:
            return _convolve_depthwise
        if groups == 1 and strides[-1] > 1:
            return _convolve_strided
    return CONVOLUTIONS[len(kernel_size)]


def _convolve_strided(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve as torch does, but for one channel in the order of memory that it gets right.

    In channels_last order, oneDNN 3.12 on CPUs with AVX-512 computes wrong numbers where the input
    has one channel, the output is one place wide, and the step along the width is above 1.
    """
    if weight.shape[1] == 1 and (any_size() or _is_one_wide(x, weight, stride, padding, dilation)):
        x, weight = x.squeeze(1).unsqueeze(1), weight.squeeze(1).unsqueeze(1)
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _is_one_wide(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any) -> bool:
    step, pad, spread = (n if isinstance(n, int) else n[-1] for n in (stride, padding, dilation))
    return x.shape[-1] + 2 * pad < (weight.shape[-1] - 1) * spread + 1 + step


def _is_measured(x: Tensor) -> bool:
    """Return whether the input is of the kind that was measured, and nothing records the graph."""
    return (
        x.is_cpu
        and x.dtype is torch.float32
        and not any_size()
        and not torch.is_autocast_enabled("cpu")
    )


def convolve_places(
    convolution: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve with a 1x1 kernel, which neither pads nor groups: a product at each place.

    Returns:
        What `convolution` returns, and whether it may be overwritten: as a view in training that
        costs more than a new tensor.
    """
    strided = max(stride) > 1
    if _is_measured(x) and (strided or x.numel() * weight.shape[0] >= _MUCH):
        taken = channels_last(x)
        if strided:
            taken = taken[:, :: stride[0], :: stride[1]]  # its gradient is channels_last too
        if _are_few(taken, weight) if strided else _is_quick(taken, weight):
            y = F.linear(taken, channels_last(weight).flatten(1), bias)
            return axes_moved(y, CHANNELS_FIRST[2]), not torch.is_grad_enabled()
    return convolution(x, weight, bias, stride, 0, dilation, groups), True


def _are_few(taken: Tensor, weight: Tensor) -> bool:
    """Return whether the places are so few that to copy them costs less than the product gains.

    Without any, the convolution says whether that is an error.
    """
    return 0 < _numbers(taken, weight) <= _COPY_BOUND * weight.numel()


def _is_quick(taken: Tensor, weight: Tensor) -> bool:
    """Return whether a product takes less time with places that need not be copied."""
    if not taken.is_contiguous():
        return False
    training = torch.is_grad_enabled()
    if torch.get_num_threads() == 1 and (training or taken.shape[0] == 1):
        return training  # for one image torch's own is the same product
    return _numbers(taken, weight) <= _READ_BOUND[training] * weight.numel()


def _numbers(taken: Tensor, weight: Tensor) -> int:
    """Return how many numbers go into the product of places and out of it."""
    return taken.shape[:3].numel() * (weight.shape[0] + weight.shape[1])


def _convolve_depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    padding: Integers | int,
    dilation: Integers,
    groups: int,
) -> Tensor:
    """Convolve with large kernels in groups; of one channel each, with a quicker gradient."""
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
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


class _Depthwise(torch.autograd.Function):
    """A convolution of each channel with a kernel of its own.

    The gradient of the kernels is, image by image, a convolution too: of the image, with the
    output's gradient as the kernel, and with stride and dilation in each other's place.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Integers,
        padding: Integers,
        dilation: Integers,
    ) -> Tensor:
        return torch.conv2d(x, weight, bias, stride, padding, dilation, weight.shape[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, *ctx.geometry = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        along_x: Tensor | None = None
        if of_x:
            groups, only = weight.shape[0], (True, False, False)
            along_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, *ctx.geometry, False, (0, 0), groups, only
            )
        return (
            along_x,
            _weight_gradient(x, weight, gradient, *ctx.geometry) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            *(None, None, None),
        )

    @staticmethod
    def jvp(
        ctx: Any, x_along: Tensor | None, weight_along: Tensor | None, bias_along: Any, *_: Any
    ) -> Tensor:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        pairs = ((x_along, weight), (x, weight_along))
        found = [
            torch.conv2d(one, other, None, stride, padding, dilation, weight.shape[0])
            for one, other in pairs
            if one is not None and other is not None
        ]
        if bias_along is not None:
            found.append(bias_along.reshape(-1, 1, 1))
        return reduce(torch.add, found)


def _weight_gradient(
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    stride: Integers,
    padding: Integers,
    dilation: Integers,
) -> Tensor:
    channels, _, height, width = weight.shape
    total: Tensor | None = None
    for image, slope in zip(x, gradient, strict=True):
        kernels = slope.unsqueeze(1)  # (channels, 1, *its own height and width)
        whole = image.unsqueeze(0)
        part = torch.conv2d(whole, kernels, None, dilation, padding, stride, channels)
        total = part if total is None else total + part
    if total is None:  # an empty batch
        return torch.zeros_like(weight)
    found = total[0, :, :height, :width].contiguous()  # (channels, height, width)
    return axes_moved(found.unsqueeze(-1), CHANNELS_FIRST[2])
