"""Transposed convolutions of (batch, channels, *spatial) tensors with Keras's crop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .convolution import Convolution
from .tracing import is_saving_graph
from .window_arithmetic import Integers

_TRANSPOSED: dict[int, Convolution] = {
    1: torch.conv_transpose2d,  # as a height of 1: `conv_transpose1d` copies a permuted view
    2: torch.conv_transpose2d,
    3: torch.conv_transpose3d,
}


def select_transposed_convolution(filters: int, strides: Integers) -> Convolution:
    """Return a function with the signature of `torch.conv_transpose2d`, or of the one in 3-D."""
    if filters == 1 and strides[-1] > 1:
        return _convolve_one_filter
    return _TRANSPOSED[len(strides)]


def convolve_cropped(
    convolution: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kept: tuple[slice, ...],
    activated: bool,
    *geometry: Any,
) -> tuple[Tensor, bool]:
    """Convolve, and crop one position at the end of some axes: `kept` is what remains.

    Such a crop is uneven, which torch's `padding` cannot
    express. The second result is whether an activation, which is `activated`, should overwrite the
    output: in training, a view of what was computed costs more than a new tensor.
    """
    y = convolution(x, weight, bias, *geometry)[kept]
    return y, not (activated and y.requires_grad)


# `geometry` stands for the further arguments of `torch.conv_transpose2d`, in their order.
def _convolve_one_filter(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """Convolve with a stride of 1 along a width of 1, where the stride means nothing.

    With another one oneDNN 3.12 computes a wrong gradient of the input in channels_last: the
    convolution that it is has one input channel, an output of width 1 and a stride above 1.
    """
    convolution = _TRANSPOSED[x.ndim - 2]
    if x.shape[-1] != 1 or not torch.is_grad_enabled() or is_saving_graph():
        return convolution(x, weight, bias, *geometry)
    stride, padding, output_padding, *others = geometry
    more = output_padding[-1]  # torch refuses as many as the stride
    geometry = (*stride[:-1], 1), padding, (*output_padding[:-1], 0), *others
    if not more:
        return convolution(x, weight, bias, *geometry)
    y = F.pad(convolution(x, weight, None, *geometry), (0, more))
    return y if bias is None else y + bias
