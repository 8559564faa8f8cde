"""Flatten, Reshape, Permute, padding, cropping and upsampling."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

from torch.nn import functional as F

from ...layers.reshaping.padding import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from ...layers.reshaping.reshape import Flatten, Permute, RepeatVector, Reshape
from ...layers.reshaping.upsampling import (
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    _repeating_modes,
)
from ..graph import GraphBuilder, Value, count_elements
from ..passes.merge_padding import OF_NONNEGATIVE
from ..registry import lowers
from .axes import slice_last
from .images.resizing import resample
from .padding import pad_sides, shorten


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


@lowers(Reshape, layout="any")
def lower_reshape(build: GraphBuilder, layer: Reshape, x: Value) -> Value:
    """Reshaping, in Keras's order of the axes; features become the channels of one position."""
    target = tuple(-1 if n is None else n for n in layer.target_shape)
    ones = len(target) - 1
    if x.rank == 2 and x.flattened is None and ones and set(target[:-1]) == {1}:
        pooled: Any = x.node
        spatial = tuple(range(2, 2 + ones))
        if pooled.target in ("mean", "amax") and pooled.args[1:] == (spatial,):
            before = replace(x, node=pooled.args[0])
            return replace(build.method(pooled.target, before, spatial, keepdim=True), moved=True)
        axes = (slice(None), slice(None), *(None,) * ones)
        return replace(build.function(operator.getitem, x, axes), moved=True)
    if x.moved and len(target) == 1 and {*x.spatial} == {1}:
        return replace(build.method("flatten", x, 1), moved=False)
    x = build.as_in_keras(x)
    if x.rank == 2 and target:
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
    y = pad_sides(build, x, layer._sides)
    y.node.meta[OF_NONNEGATIVE] = x.nonnegative
    return replace(y, nonnegative=x.nonnegative)


@lowers(Cropping1D, Cropping2D, Cropping3D, layout="channels_second")
def lower_cropping(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Cropping of the spatial axes."""
    return replace(slice_last(build, x, layer._sides), nonnegative=x.nonnegative)


@lowers(UpSampling1D, UpSampling2D, UpSampling3D, layout="channels_second")
def lower_upsampling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Repetition of rows and columns, or interpolation between the centers of the pixels."""
    factors, mode = layer._factors, getattr(layer, "interpolation", "nearest")
    if mode == "nearest":
        (mode, *_) = _repeating_modes(factors)
        options = {} if mode == "nearest" else {"mode": mode}
        y = build.function(F.interpolate, x, scale_factor=shorten(factors), **options)
        return replace(y, nonnegative=x.nonnegative)
    if mode == "bilinear":
        return build.function(F.interpolate, x, scale_factor=shorten(factors), mode=mode)
    sizes = x.shape[2:] if layer.data_format == "channels_first" else x.shape[1:-1]
    new: list[Any] = []
    for axis, (n, factor) in enumerate(zip(sizes, factors, strict=True), 2):
        live = n or build.method("size", x, axis)
        new.append(live * factor if n else build.function(operator.mul, live, factor))
    return resample(build, x, mode, new)
