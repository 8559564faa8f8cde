"""Preprocessing that runs in a model."""

from __future__ import annotations

import operator

from ...layers.preprocessing.normalization import Rescaling
from ..graph import GraphBuilder, Value
from ..registry import lowers
from .activation import apply_elementwise


@lowers(Rescaling, layout="any")
def lower_rescaling(build: GraphBuilder, layer: Rescaling, x: Value) -> Value:
    """A scale and an offset, each one number."""
    scale, offset = layer.scale, layer.offset
    if not isinstance(scale, (int, float)) or not isinstance(offset, (int, float)):
        build.refuse("its scale or offset is an array")
    if not x.dtype.is_floating_point:
        x = build.method("float", x)
    y = apply_elementwise(build, operator.mul, x, scale) if scale != 1 else x
    return apply_elementwise(build, operator.add, y, offset) if offset else y
