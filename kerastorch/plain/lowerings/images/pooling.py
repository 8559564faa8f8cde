"""Pooling."""

from __future__ import annotations

import operator
from dataclasses import replace
from math import inf
from typing import Any

import torch
from torch.nn import functional as F

from ...._ops.window_arithmetic import same_padding
from ....layers.pooling.adaptive_pooling import (
    AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D,
)
from ....layers.pooling.global_pooling import (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
from ....layers.pooling.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from ...graph import GraphBuilder, Value
from ...printed import functions as printed
from ...registry import lowers
from ..axes import slice_last
from ..padding import get_sizes, shorten

_MAXIMA: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGES: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE: dict[type, Any] = {
    AdaptiveAveragePooling1D: F.adaptive_avg_pool1d,
    AdaptiveAveragePooling2D: F.adaptive_avg_pool2d,
    AdaptiveAveragePooling3D: F.adaptive_avg_pool3d,
    AdaptiveMaxPooling1D: F.adaptive_max_pool1d,
    AdaptiveMaxPooling2D: F.adaptive_max_pool2d,
    AdaptiveMaxPooling3D: F.adaptive_max_pool3d,
}


@lowers(MaxPooling1D, MaxPooling2D, MaxPooling3D, layout="channels_second")
def lower_max_pooling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """The maximum of each window; "same" padding never is it."""
    pool, window = _MAXIMA[layer.rank], (layer.pool_size, layer.strides)
    if layer._same and _plan_padding(layer, x) is None:
        x = build.function(printed.pad_same, x, *window, (1,) * layer.rank, value=-inf)
        return build.function(pool, x, shorten(layer.pool_size), **_list_stride(layer))
    y = _pool(build, layer, x, pool)
    return replace(y, nonnegative=x.nonnegative)


@lowers(AveragePooling1D, AveragePooling2D, AveragePooling3D, layout="channels_second")
def lower_average_pooling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """The mean of each window; "same" padding never counts."""
    pool, window = _AVERAGES[layer.rank], (layer.pool_size, layer.strides, (1,) * layer.rank)
    if layer._same and _plan_padding(layer, x) is None:
        counts = build.function(printed.pad_same, build.function(torch.ones_like, x), *window)
        padded = build.function(printed.pad_same, x, *window)
        size, stride = shorten(layer.pool_size), _list_stride(layer)
        means = [build.function(pool, one, size, **stride) for one in (padded, counts)]
        y = build.function(operator.truediv, *means)
        return build.comment(y, "the padding does not count")
    y = _pool(build, layer, x, pool, count_include_pad=False)
    return replace(y, nonnegative=x.nonnegative)


def _list_stride(layer: Any) -> dict[str, Any]:
    """Return the argument for the stride, which is that of the window if left out."""
    same = layer.strides == layer.pool_size
    return {} if same else {"stride": shorten(layer.strides)}


def _plan_padding(layer: Any, x: Value) -> list[tuple[int, bool, bool]] | None:
    """Return how torch pads each axis as "same" does, None where the size decides.

    That is the padding of both sides, and whether it needs one window more at the end, or one less
    in front.
    """
    plan = []
    for n, k, s in zip(get_sizes(layer, x), layer.pool_size, layer.strides, strict=True):
        sizes = [n] if n is not None else range(k + s, k + 2 * s)
        sides = {same_padding(size, k, s, 1) for size in sizes}
        if s == 1:
            ((before, after),) = sides
            plan.append((after, False, before != after))
        elif len({before for before, _ in sides}) == 1:
            (before,) = {before for before, _ in sides}
            plan.append((before, any(after != before for _, after in sides), False))
        else:
            return None
    return plan


def _pool(build: GraphBuilder, layer: Any, x: Value, pool: Any, **padded: Any) -> Value:
    """Pool by a function of torch; `padded` are the options that it needs with a padding."""
    options: dict[str, Any] = {}
    stride = _list_stride(layer)
    plan = _plan_padding(layer, x) if layer._same else None
    surplus: Any = ()
    if plan is not None:
        padding, partial, surplus = zip(*plan, strict=True)
        if any(padding):
            options["padding"] = shorten(padding)
        if any(partial):
            options["ceil_mode"] = True
        options |= padded if options else {}
    y = build.function(pool, x, shorten(layer.pool_size), **stride, **options)
    if any(surplus):
        y = slice_last(build, y, [(int(drops), 0) for drops in surplus])
        y = build.comment(y, 'without the first window, "same" pads at the end')
    elif "ceil_mode" in options:
        y = build.comment(y, '"same" has a last window that is cut off')
    return y


@lowers(*_ADAPTIVE, layout="channels_second")
def lower_adaptive_pooling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Pooling to given sizes, with torch's windows."""
    y = build.function(_ADAPTIVE[type(layer)], x, shorten(layer.output_size))
    return replace(y, nonnegative=x.nonnegative)


@lowers(
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    layout="any",
)
def lower_global_pooling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """The mean or maximum over all spatial positions."""
    second = x.moved if layer.data_format == "channels_last" else True
    if layer.data_format == "channels_first":
        x = build.as_in_keras(x)
    axes = tuple(range(2, x.rank)) if second else tuple(range(1, x.rank - 1))
    name = "mean" if "Average" in type(layer).__name__ else "amax"
    options = {"keepdim": True} if layer.keepdims else {}
    y = build.method(name, x, axes, **options)
    return y if layer.keepdims else replace(y, moved=False)
