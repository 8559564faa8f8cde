"""Layers of several inputs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from ...layers.merging.concatenate import Concatenate
from ...layers.merging.merge import Add, Average, Maximum, Minimum, Multiply, Subtract
from ..graph import GraphBuilder, Value
from ..registry import lowers

_FUNCTIONS: dict[type, Callable[..., Any]] = {
    Add: operator.add,
    Average: operator.add,
    Subtract: operator.sub,
    Multiply: operator.mul,
    Maximum: torch.maximum,
    Minimum: torch.minimum,
}


@lowers(*_FUNCTIONS, layout="any")
def lower_merge(build: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add, Multiply and the like, from the left to the right."""
    if len({x.rank for x in inputs}) > 1:
        build.refuse("its inputs have different numbers of axes")
    function = _FUNCTIONS[type(layer)]
    y = reduce(lambda a, b: build.function(function, a, b), build.as_alike(inputs))
    if type(layer) is Average:
        y = build.function(operator.truediv, y, len(inputs))
    return y


@lowers(Concatenate, layout="any")
def lower_concatenate(build: GraphBuilder, layer: Concatenate, inputs: list[Value]) -> Value:
    """Concatenation along an axis."""
    values = build.as_alike(inputs)
    axis = layer.axis % values[0].rank
    if values[0].moved:
        axis = 1 if axis == values[0].rank - 1 else axis + (axis > 0)
    return build.function(torch.cat, values, dim=axis)
