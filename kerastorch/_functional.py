"""Convolution and pooling on (batch, channels, *spatial) tensors of any rank.

"same" is padded here only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ._geometry import same_padding

Integers = tuple[int, ...]
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
    convolution: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Integers,
    stride: Integers,
    dilation: Integers,
    groups: int,
) -> tuple[Tensor, bool]:
    """Convolve with TensorFlow's "same" padding where it depends on the size or is uneven.

    Args:
        convolution: What convolves, as `torch.conv2d` does.
        x: (batch, channels, *spatial).
        weight: (out, channels / groups, *spatial).
        bias: (out,) or None.
        kernel_size: That of the weight, in integers: while tracing, a shape has tensors.
        stride: One integer for each spatial axis.
        dilation: One integer for each spatial axis.
        groups: The number of groups of channels.

    Returns:
        (batch, out, *ceil(spatial / stride)), and whether that is all of a fresh tensor; it may
        be a part of one.
    """
    if any_size():  # the padded form asks the size no question
        sides = flat(padding_of(x.shape[2:], kernel_size, stride, dilation))
    else:
        plan = _plan(x.shape[2:], kernel_size, stride, dilation)
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


def any_size() -> bool:
    """Return whether the sizes stand for others, too: while compiling, exporting or tracing."""
    compiling = torch.compiler.is_compiling()
    return compiling or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def padding_of(
    sizes: Integers, kernel_size: Integers, stride: Integers, dilation: Integers
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis."""
    axes = zip(sizes, kernel_size, stride, dilation, strict=True)
    return [same_padding(n, k, s, d) for n, k, s, d in axes]


def flat(padding: list[tuple[int, int]]) -> list[int]:
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
    padding = padding_of(sizes, kernel_size, stride, dilation)
    uneven = [before != after for before, after in padding]
    wide = zip(padding, stride, uneven, strict=True)
    parts = enumerate(zip(sizes, stride, uneven, strict=True), 2)
    return Plan(
        None if any(uneven) else tuple(after for _, after in padding),
        flat(padding),
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
    if any_size():
        sides = _pool_sides(x, size, stride)
        if x.is_floating_point():
            return op(F.pad(x, sides, value=-math.inf), size, stride)
        padded = F.pad(x, sides, value=torch.iinfo(x.dtype).min)
        return op(padded.contiguous(), size, stride)  # torch refuses bytes in channels_last order
    padding, ahead = _pool_padding(x.shape[2:], size, stride)
    return _without(ahead, op(x, size, stride, padding, ceil_mode=True))


def pool_average(x: Tensor, size: Integers, stride: Integers, same: bool) -> Tensor:
    """Return the mean of each window; what "same" pads is not counted. Args as `pool_max` has."""
    op = _AVERAGES[x.ndim - 2]
    if not same:
        return op(x, size, stride)
    if any_size():
        sides = _pool_sides(x, size, stride)
        inside = F.pad(torch.ones_like(x[:1, :1]), sides)
        return op(F.pad(x, sides), size, stride) / op(inside, size, stride)
    padding, ahead = _pool_padding(x.shape[2:], size, stride)
    return _without(ahead, op(x, size, stride, padding, True, False))


def _pool_sides(x: Tensor, size: Integers, stride: Integers) -> list[int]:
    """Return the padding of a window's "same" in the order of `F.pad`.

    Ceil mode asks the size whether the last window begins inside, and the answer would be that of
    the size traced: another size would then be refused, or in ONNX pooled wrongly.
    """
    return flat(padding_of(x.shape[2:], size, stride, (1,) * len(size)))


@lru_cache(maxsize=1024)
def _pool_padding(
    sizes: Integers, size: Integers, stride: Integers
) -> tuple[list[int], list[bool]]:
    """Return the padding of both sides that gives "same" in torch's ceil mode, without a copy.

    Where the step is above 1, ceil mode reaches one place further at the end, which is what an
    uneven "same" needs. With a step of 1 it does not: there both sides get the larger padding,
    and the first place is one too many.

    Returns:
        The padding of each axis, and for which axes the first place is to be dropped.
    """
    axes = zip(sizes, size, stride, strict=True)
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
