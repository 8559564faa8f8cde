"""Layers around another layer."""

from __future__ import annotations

from typing import Any

from ...layers.wrappers.spectral_normalization import SpectralNormalization
from ..graph import GraphBuilder, Value
from ..printed import modules as printed
from ..registry import LOWERINGS, lowers


@lowers(SpectralNormalization, layout="any")
def lower_spectral_normalization(
    build: GraphBuilder, layer: SpectralNormalization, x: Value
) -> Value:
    """The layer inside; each step of training divides its kernel, which is refused."""
    inner: Any = layer.layer
    lowering = LOWERINGS.get(type(inner))
    if lowering is None:
        build.refuse(f"it has a {type(inner).__name__} inside")
    x = build.module(printed.OnlyInEvaluation(), build.as_in_keras(x), name="training")
    x = build.comment(x, "Keras divides the weight by its spectral norm in training")
    if lowering.layout == "channels_second" and inner.data_format == "channels_last":
        x = build.as_channels_second(x)
    found: Value = lowering.function(build, inner, x)
    return found
