"""The difference of two tensors, either of which may have its channels last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .._core.layout import to_channels_last, to_channels_second


class Measure(NamedTuple):
    """The difference of two tensors."""

    absolute: float  # the largest one; infinite where the shapes differ
    relative: float  # that, divided by the largest absolute value expected


APART = Measure(math.inf, math.inf)


def measure_difference(found: Tensor, expected: Tensor) -> Measure:
    """Return the difference of two tensors; infinities and nan equal themselves.

    Of the two layouts of `found` that fit the expected shape, the nearer counts.
    """
    fitting = [view for view in iterate_output_layouts(found) if view.shape == expected.shape]
    return min((_measure_same_shape(view, expected) for view in fitting), default=APART)


def iterate_output_layouts(found: Tensor) -> Iterator[Tensor]:
    """Yield an output as it is, and with its axis 1 moved to the end."""
    yield found
    if found.ndim > 2:
        yield to_channels_last(found)


def iterate_input_layouts(recorded: Tensor) -> Iterator[Tensor]:
    """Yield a recorded input as it is, and with its last axis moved to axis 1."""
    yield recorded
    if recorded.ndim > 2:
        yield to_channels_second(recorded, -1)


def _measure_same_shape(found: Tensor, expected: Tensor) -> Measure:
    if not expected.numel():
        return Measure(0.0, 0.0)
    a, b = found.detach().cpu().double(), expected.detach().cpu().double()
    equal = (a == b) | (a.isnan() & b.isnan())
    difference = torch.where(equal, 0.0, (a - b).abs())
    absolute = difference.nan_to_num(nan=math.inf, posinf=math.inf).max().item()
    largest = torch.where(b.isfinite(), b.abs(), 0.0).max().item()
    if not absolute:
        return Measure(0.0, 0.0)
    return Measure(absolute, absolute / largest if largest else math.inf)
