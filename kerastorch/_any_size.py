"""The form of a convolution that inductor compiles, training included, at any size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ._functional import CONVOLUTIONS, Integers, flat, padding_of

# Older ones may not trace the question whether a size is fixed; the limits are those of 2.13.
_ASKS_FOR_SIZES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def is_training_any_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that is to train with inputs of other sizes.

    Args:
        x: (batch, channels, *spatial).
    """
    if not (_ASKS_FOR_SIZES and torch.is_grad_enabled() and torch.compiler.is_dynamo_compiling()):
        return False
    if torch.compiler.is_exporting():  # what is exported goes on to others than inductor
        return False
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return not all(has_static_value(n) for n in x.shape[2:])


def convolve_any_size(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
    same: bool,
) -> Tensor:
    """Convolve a permuted view in a form that inductor compiles, training included, at any size.

    Inductor of torch 2.13 cannot order the strides of a permuted view that it keeps for the
    gradient ("cannot determine truth value of Relational"), nor those of the gradient where a size
    is a difference ("Invalid ranges"). A padded input is no view, and what the padding adds to
    "valid" is cut off afterwards. It costs a copy of the input, and for "valid" one of the output.

    Args:
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        stride: One integer for each spatial axis.
        dilation: One integer for each spatial axis.
        groups: The number of groups of channels.
        same: Whether to pad by TensorFlow's "same".

    Returns:
        (batch, out, *spatial).
    """
    convolution = CONVOLUTIONS[x.ndim - 2]
    sizes, kernel_size = x.shape[2:], weight.shape[2:]
    if same and max(kernel_size) > 1:
        sides = flat(padding_of(sizes, kernel_size, stride, dilation))
        return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups)
    axes = zip(sizes, kernel_size, dilation, strict=True)
    if any(n <= (k - 1) * d for n, k, d in axes):  # no room, as the operation itself says
        return convolution(x, weight, bias, stride, 0, dilation, groups)
    # One step more in any case: one place more then, whatever the size, and never no padding,
    # which would be left out of the graph.
    more = flat([(0, step) for step in stride])
    y = convolution(F.pad(x, more), weight, bias, stride, 0, dilation, groups)
    return _without_last(y)


def _without_last(y: Tensor) -> Tensor:
    for axis in range(2, y.ndim):
        y = y.narrow(axis, 0, y.shape[axis] - 1)
    return y
