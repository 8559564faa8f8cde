"""Layers of several inputs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch.nn import functional as F

from ... import config
from ...layers.applications.inception_resnet import CustomScaleLayer
from ...layers.merging.concatenate import Concatenate
from ...layers.merging.dot import Dot
from ...layers.merging.merge import Add, Average, Maximum, Minimum, Multiply, Subtract
from ..graph import GraphBuilder, Value
from ..registry import lowers
from .axes import find_axis

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
    function = _FUNCTIONS[type(layer)]
    y = reduce(lambda a, b: build.function(function, a, b), _align(build, inputs))
    if type(layer) is Average:
        y = build.function(operator.truediv, y, len(inputs))
    return y


def _align(build: GraphBuilder, inputs: list[Value]) -> list[Value]:
    """Return the inputs in one order of the axes; axes that one lacks come after its batch."""
    rank = max(x.rank for x in inputs)
    moved = any(x.moved and x.rank == rank for x in inputs)
    inputs = [(build.as_channels_second if moved else build.as_in_keras)(x) for x in inputs]
    return [_insert_axes(build, x, rank, moved) for x in inputs]


def _insert_axes(build: GraphBuilder, x: Value, rank: int, moved: bool) -> Value:
    missing = (None,) * (rank - x.rank)
    if not missing:
        return x
    kept = [slice(None)] * (2 if moved and x.rank > 1 else 1)
    return replace(build.function(operator.getitem, x, (*kept, *missing)), moved=moved)


@lowers(CustomScaleLayer, layout="any")
def lower_custom_scale(build: GraphBuilder, layer: CustomScaleLayer, inputs: list[Value]) -> Value:
    """The first input plus a multiple of the second."""
    first, second = build.as_alike(inputs)
    return build.function(operator.add, first, build.function(operator.mul, second, layer.scale))


@lowers(Concatenate, layout="any")
def lower_concatenate(build: GraphBuilder, layer: Concatenate, inputs: list[Value]) -> Value:
    """Concatenation along an axis."""
    values = build.as_alike(inputs)
    return build.function(torch.cat, values, dim=find_axis(values[0], layer.axis))


@lowers(Dot)
def lower_dot(build: GraphBuilder, layer: Dot, inputs: list[Value]) -> Value:
    """The dot products along one axis of each input."""
    axes = layer._find_axes([x.shape for x in inputs])
    if layer.normalize:
        options = {"eps": 1e-6 if layer.keras_2 else config.epsilon()}
        inputs = [
            build.function(F.normalize, x, dim=axis, **options)
            for x, axis in zip(inputs, axes, strict=True)
        ]
    if all(x.rank == 2 for x in inputs):
        product = build.function(operator.mul, *inputs)
        return build.method("sum", product, 1, keepdim=True)
    letters = iter("cdefghijklm")
    terms = []
    for x, axis in zip(inputs, axes, strict=True):
        terms.append(["b", *("a" if n == axis else next(letters) for n in range(1, x.rank))])
    result = [letter for term in terms for letter in term if letter not in "ab"]
    equation = f"{','.join(map(''.join, terms))}->b{''.join(result)}"
    return build.function(torch.einsum, equation, *inputs)
