"""Flatten, Reshape, Permute, padding, cropping and upsampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...layers.reshaping.padding import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from ...layers.reshaping.reshape import Flatten, Permute, RepeatVector, Reshape
from ..graph import GraphBuilder, Value, count_elements
from ..registry import lowers
from .padding import pad_sides


@lowers(Flatten, layout="any")
def lower_flatten(build: GraphBuilder, layer: Flatten, x: Value) -> Value:
    """Flattening; an image's features stay in torch's order where the sizes are known."""
    sizes = x.shape[1:]
    if x.rank == 1:
        return build.method("unsqueeze", x, 1)
    if x.moved and layer.data_format == "channels_last" and None not in sizes:
        flat = build.method("flatten", x, 1)
        known: Any = (sizes[-1], *sizes[:-1])
        return replace(flat, moved=False, flattened=known)
    x = build.as_in_keras(x)
    if x.rank == 2:
        return x
    if layer.data_format == "channels_first" and x.rank > 2:
        x = build.method("movedim", x, 1, -1)
    return build.method("flatten", x, 1)


@lowers(Reshape)
def lower_reshape(build: GraphBuilder, layer: Reshape, x: Value) -> Value:
    """Reshaping, in Keras's order of the axes."""
    target = tuple(-1 if n is None else n for n in layer.target_shape)
    if x.rank == 2:
        return build.method("unflatten", x, 1, target)
    total = count_elements(x.shape[1:])
    if total is not None:  # the size left open is that of the batch
        target = layer._resolve_target((1, total), "inputs")
    elif -1 in target:
        return build.method("unflatten", build.method("flatten", x, 1), 1, target)
    return build.method("reshape", x, -1, *target)


@lowers(Permute)
def lower_permute(build: GraphBuilder, layer: Permute, x: Value) -> Value:
    """Permuting axes."""
    return build.method("permute", x, 0, *layer.dims)


@lowers(RepeatVector)
def lower_repeat_vector(build: GraphBuilder, layer: RepeatVector, x: Value) -> Value:
    """Repeating a vector as the steps of a sequence."""
    return build.method("expand", build.method("unsqueeze", x, 1), -1, layer.n, -1)


@lowers(ZeroPadding1D, ZeroPadding2D, ZeroPadding3D, layout="channels_second")
def lower_zero_padding(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Padding of the spatial axes by zeros."""
    sides = [layer.padding] if layer.rank == 1 else layer.padding
    return replace(pad_sides(build, x, sides), nonnegative=x.nonnegative)


@lowers(Cropping1D, Cropping2D, Cropping3D, layout="channels_second")
def lower_cropping(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Cropping of the spatial axes."""
    sides = [layer.cropping] if layer.rank == 1 else layer.cropping
    return pad_sides(build, x, [(-before, -after) for before, after in sides])
