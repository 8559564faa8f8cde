"""Convolution and pooling on (batch, channels, *spatial) tensors of any rank.

"same" is padded here only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ._geometry import same_padding

Integers = tuple[int, ...]
# Older ones may not trace the question whether a size is fixed; the limits are those of 2.13.
_ASKS_FOR_SIZES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: torch.conv1d,
    2: torch.conv2d,
    3: torch.conv3d,
}
_MAXIMA: dict[int, Callable[..., Tensor]] = {
    1: torch.max_pool1d,
    2: torch.max_pool2d,
    3: torch.max_pool3d,
}
_AVERAGES: dict[int, Callable[..., Tensor]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: F.avg_pool3d,
}


def convolve_same(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve with TensorFlow's "same" padding where it depends on the size or is uneven.

    Args:
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        stride: One integer for each spatial axis.
        dilation: One integer for each spatial axis.
        groups: The number of groups of channels.

    Returns:
        (batch, out, *ceil(spatial / stride)), and whether that is all of a fresh tensor; it may
        be a part of one.
    """
    convolution = CONVOLUTIONS[x.ndim - 2]
    if torch.compiler.is_compiling():  # the padded form, without a question, compiles at any size
        sides = _flat(_padding(x.shape[2:], weight.shape[2:], stride, dilation))
    else:
        plan = _plan(x.shape[2:], weight.shape[2:], stride, dilation)
        if plan.even is not None:
            return convolution(x, weight, bias, stride, plan.even, dilation, groups), True
        if groups > 1 and x.is_cpu and not torch.is_grad_enabled():
            # Copies no input: 0.5 to 0.9 of the time of padding it, in grouped inference on a CPU.
            y = convolution(x, weight, bias, stride, plan.wide, dilation, groups)
            for axis, start, length in plan.parts:
                y = y.narrow(axis, start, length)
            return y, False
        sides = plan.sides
    return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups), True


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
        sides = _flat(_padding(sizes, kernel_size, stride, dilation))
        return convolution(F.pad(x, sides), weight, bias, stride, 0, dilation, groups)
    axes = zip(sizes, kernel_size, dilation, strict=True)
    if any(n <= (k - 1) * d for n, k, d in axes):  # no room, as the operation itself says
        return convolution(x, weight, bias, stride, 0, dilation, groups)
    # One step more in any case: one place more then, whatever the size, and never no padding,
    # which would be left out of the graph.
    more = _flat([(0, step) for step in stride])
    y = convolution(F.pad(x, more), weight, bias, stride, 0, dilation, groups)
    return _without_last(y)


def _without_last(y: Tensor) -> Tensor:
    for axis in range(2, y.ndim):
        y = y.narrow(axis, 0, y.shape[axis] - 1)
    return y


def _padding(
    sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis."""
    axes = zip(sizes, kernel_size, stride, dilation, strict=True)
    return [same_padding(n, k, s, d) for n, k, s, d in axes]


def _flat(padding: list[tuple[int, int]]) -> list[int]:
    """Return a padding in the order of `F.pad`: the last axis first."""
    return [amount for sides in reversed(padding) for amount in sides]


class Plan(NamedTuple):
    """Three ways to pad the spatial axes of one size of input.

    Attributes:
        even: The padding of both sides of each axis, or None where the sides differ.
        sides: The padding of each side, in the order of `F.pad`.
        wide: A padding of both sides that leaves no place out: where the sides differ, that
            before and one stride more.
        parts: Where the places that "same" means are in the output of `wide`: (axis, start,
            length).
    """

    even: Integers | None
    sides: list[int]
    wide: Integers
    parts: list[tuple[int, int, int]]


@lru_cache(maxsize=1024)
def _plan(sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers) -> Plan:
    """Return how to pad inputs of these sizes."""
    padding = _padding(sizes, kernel_size, stride, dilation)
    uneven = [before != after for before, after in padding]
    wide = zip(padding, stride, uneven, strict=True)
    parts = enumerate(zip(sizes, stride, uneven, strict=True), 2)
    return Plan(
        None if any(uneven) else tuple(after for _, after in padding),
        _flat(padding),
        tuple(before + s * differs for (before, _), s, differs in wide),
        [(axis, int(differs), (n + s - 1) // s) for axis, (n, s, differs) in parts],
    )


def pool_max(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the largest number of each window; what "same" pads is never the largest.

    Args:
        x: (batch, channels, *spatial).
        size: The window's.
        stride: One integer for each spatial axis.
        same: Whether to pad by TensorFlow's "same".
    """
    op = _MAXIMA[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    padding, ahead = _pool_padding(x, size, stride)
    return _without(ahead, op(x, size, stride, padding, ceil_mode=True))


def pool_average(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the mean of each window; what "same" pads is not counted.

    Args:
        x: (batch, channels, *spatial).
        size: The window's.
        stride: One integer for each spatial axis.
        same: Whether to pad by TensorFlow's "same".
    """
    op = _AVERAGES[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    padding, ahead = _pool_padding(x, size, stride)
    return _without(ahead, op(x, size, stride, padding, True, False))


def _pool_padding(x: Tensor, size: Integers, stride: Integers) -> tuple[list[int], list[bool]]:
    """Return the padding of both sides that gives "same" in torch's ceil mode, without a copy.

    Where the step is above 1, ceil mode reaches one place further at the end, which is what an
    uneven "same" needs. With a step of 1 it does not: there both sides get the larger padding,
    and the first place is one too many.

    Returns:
        The padding of each axis, and for which axes the first place is to be dropped.
    """
    axes = zip(x.shape[2:], size, stride, strict=True)
    sides = [(same_padding(n, k, s, 1), s) for n, k, s in axes]
    ahead = [s == 1 and before != after for (before, after), s in sides]
    return [
        max(pad) if more else pad[0] for (pad, _), more in zip(sides, ahead, strict=True)
    ], ahead


def _without(ahead: list[bool], y: Tensor) -> Tensor:
    for axis, more in enumerate(ahead, 2):
        if more:
            y = y.narrow(axis, 1, y.shape[axis] - 1)
    return y
