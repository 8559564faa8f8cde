"""The forms that inductor compiles best: a convolution at any size, the rest at a fixed one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ._functional import CONVOLUTIONS, Integers, flat, padding_of
from ._layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved

# Older ones may not trace the question whether a size is fixed; the limits are those of 2.13.
_ASKS_FOR_SIZES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def is_training_any_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that is to train with inputs of other sizes.

    Args:
        x: (batch, channels, *spatial).
    """
    return torch.is_grad_enabled() and _is_for_inductor() and not _is_fixed(x)


def is_inferring_one_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that is to infer from inputs of this size only.

    There inductor joins what is done to each element of a convolution's output with it, if the
    axes are still the convolution's. At any size it cannot compile that form.
    """
    return not torch.is_grad_enabled() and is_compiling_one_size(x)


def is_compiling_one_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that takes inputs of this size only."""
    return _is_for_inductor() and _is_fixed(x)


def by_element(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Return what a function makes of each element, in a graph with the axes of convolutions."""
    if torch.compiler.is_compiling() and all(map(_is_image, tensors)):
        moved = [axes_moved(x, CHANNELS_FIRST[2]) for x in tensors]
        return axes_moved(function(*moved), CHANNELS_LAST[2])
    return function(*tensors)


def _is_image(x: Tensor) -> bool:
    return x.ndim == 4 and x.stride(-1) == 1 and is_inferring_one_size(x)


def _is_for_inductor() -> bool:
    """Return whether Dynamo is at work, and not for what is exported to others."""
    return (
        _ASKS_FOR_SIZES
        and torch.compiler.is_dynamo_compiling()
        and not torch.compiler.is_exporting()
    )


def _is_fixed(x: Tensor) -> bool:
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return all(has_static_value(n) for n in x.shape[1:])


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
