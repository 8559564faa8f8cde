"""The difference of two tensors, either of which may have its channels last."""

from __future__ import annotations

import math
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
    """Return the difference in the nearer layout; infinities and nan equal themselves."""
    fitting = [view for view in list_output_layouts(found) if view.shape == expected.shape]
    return min((_measure_same_shape(view, expected) for view in fitting), default=APART)


def list_output_layouts(found: Tensor) -> list[Tensor]:
    """Return an output as it is, and with its axis 1 moved to the end."""
    return [found, to_channels_last(found)] if found.ndim > 2 else [found]


def list_input_layouts(recorded: Tensor) -> list[Tensor]:
    """Return a recorded input as it is, and with its last axis moved to axis 1."""
    return [recorded, to_channels_second(recorded, -1)] if recorded.ndim > 2 else [recorded]


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
