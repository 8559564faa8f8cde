"""What is random in training: dropout and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from ...layers.applications.convnext import StochasticDepth
from ...layers.regularization.activity_regularization import ActivityRegularization
from ...layers.regularization.dropout import (
    Dropout,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from ...layers.regularization.noise import AlphaDropout, GaussianDropout, GaussianNoise
from ..graph import GraphBuilder, Value
from ..printed import modules as printed
from ..registry import lowers

_SPATIAL: dict[int, Any] = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}


@lowers(Dropout, layout="any")
def lower_dropout(build: GraphBuilder, layer: Dropout, x: Value) -> Value:
    """Dropout of elements; with a noise shape elements share their fate."""
    if layer.noise_shape == (None, *(1,) * (x.rank - 1)):
        return _call(build, printed.DropPath(layer.rate), layer.rate, x)
    if layer.noise_shape is not None:
        return _share(build, printed.SharedDropout, layer, x)
    return _call(build, nn.Dropout(layer.rate), layer.rate, x)


@lowers(AlphaDropout, layout="any")
def lower_alpha_dropout(build: GraphBuilder, layer: AlphaDropout, x: Value) -> Value:
    """Alpha dropout."""
    if layer.rate == 1:
        build.refuse("its rate is 1, which Keras refuses in training")
    if layer.noise_shape is not None:
        return _share(build, printed.SharedAlphaDropout, layer, x)
    return _call(build, nn.AlphaDropout(layer.rate), layer.rate, x)


@lowers(SpatialDropout1D, SpatialDropout2D, SpatialDropout3D, layout="channels_second")
def lower_spatial_dropout(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Dropout of whole channels."""
    return _call(build, _SPATIAL[layer.rank](layer.rate), layer.rate, x)


@lowers(GaussianNoise, layout="any")
def lower_gaussian_noise(build: GraphBuilder, layer: GaussianNoise, x: Value) -> Value:
    """Additive noise."""
    return _call(build, printed.GaussianNoise(layer.stddev), layer.stddev, x)


@lowers(GaussianDropout, layout="any")
def lower_gaussian_dropout(build: GraphBuilder, layer: GaussianDropout, x: Value) -> Value:
    """Multiplicative noise."""
    return _call(build, printed.GaussianDropout(layer.rate), layer.rate, x)


@lowers(StochasticDepth, layout="any")
def lower_stochastic_depth(build: GraphBuilder, layer: StochasticDepth, x: Value) -> Value:
    """Dropout of whole samples."""
    rate = layer.drop_path_rate
    return _call(build, printed.DropPath(rate), rate, x)


@lowers(ActivityRegularization, layout="any")
def lower_activity_regularization(
    build: GraphBuilder, layer: ActivityRegularization, x: Value
) -> Value:
    """Nothing: a penalty is no output."""
    return x


def _call(build: GraphBuilder, module: nn.Module, amount: float, x: Value) -> Value:
    """Call a module that treats all elements alike, unless it does nothing."""
    if not amount:
        return x
    return replace(build.module(module, x), flattened=x.flattened)


def _share(build: GraphBuilder, kind: Any, layer: Any, x: Value) -> Value:
    """Call a module whose mask broadcasts, with the noise shape as the axes lie."""
    if not layer.rate:
        return x
    shape = tuple(layer.noise_shape)
    if kind is printed.SharedDropout and shape == (None, *(1,) * (x.rank - 1)):
        return _call(build, printed.DropPath(layer.rate), layer.rate, x)
    if len(shape) < x.rank or x.flattened is not None:
        x = build.as_in_keras(x)
    if x.moved:
        shape = (shape[0], shape[-1], *shape[1:-1])
    return build.module(kind(layer.rate, shape), x)
