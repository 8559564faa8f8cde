"""Pooling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.nn import functional as F

from ...layers.pooling.global_pooling import (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
from ...layers.pooling.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from ..graph import GraphBuilder, Value
from ..registry import lowers
from .padding import pad_input

_MAXIMA: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGES: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _list_options(layer: Any, **others: Any) -> dict[str, Any]:
    strides = {} if layer.strides == layer.pool_size else {"stride": layer.strides}
    return {**strides, **others}


@lowers(MaxPooling1D, MaxPooling2D, MaxPooling3D, layout="channels_second")
def lower_max_pooling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """The maximum of each window; "same" padding never is it."""
    window = layer.pool_size, layer.strides, (1,) * layer.rank
    padding = "same" if layer._same else "valid"
    x, own = pad_input(build, layer, x, padding, window, value=float("-inf"))
    options = {"padding": own} if any(own) else {}
    return build.function(
        _MAXIMA[layer.rank], x, layer.pool_size, **_list_options(layer, **options)
    )


@lowers(AveragePooling1D, AveragePooling2D, AveragePooling3D, layout="channels_second")
def lower_average_pooling(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """The mean of each window; "same" padding never counts."""
    average = _AVERAGES[layer.rank]
    if not layer._same:
        return build.function(average, x, layer.pool_size, **_list_options(layer))
    build.refuse("its padding is 'same'")


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
    axes = tuple(range(2, x.rank)) if second else tuple(range(1, x.rank - 1))
    name = "mean" if "Average" in type(layer).__name__ else "amax"
    options = {"keepdim": True} if layer.keepdims else {}
    y = build.method(name, x, axes, **options)
    return y if layer.keepdims else replace(y, moved=False)
