"""Dense and what has no arithmetic of its own."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ...layers.core.dense import Dense
from ...layers.core.identity import Identity
from ...layers.regularization.activity_regularization import ActivityRegularization
from ...layers.regularization.dropout import Dropout
from ..graph import GraphBuilder, Value
from ..registry import lowers
from .activation import activate
from .convolution import get_weight, set_tensors


@lowers(Dense, layout="any")
def lower_dense(build: GraphBuilder, layer: Dense, x: Value) -> Value:
    """A linear layer; after a flattening its weight takes the features as torch has them."""
    weight = get_weight(layer)
    if x.flattened is not None and not build.is_shared:
        channels, *spatial = x.flattened
        rank = len(spatial)
        # As (units, *spatial, channels) the weight follows Keras's order of the features.
        columns = weight.detach().view(len(weight), *spatial, channels)
        weight = columns.permute(0, rank + 1, *range(1, rank + 1)).flatten(1)
    else:
        x = build.as_in_keras(x)
    linear = nn.Linear(weight.shape[1], layer.units, bias=layer.use_bias, device="meta")
    set_tensors(linear, not layer.trainable, weight=weight, bias=layer.bias)
    y = replace(build.module(linear, x), moved=False)
    if x.flattened is not None:
        y = build.comment_module(y, "the columns are in the order of flattened torch images")
    return activate(build, layer.activation, y)


@lowers(Dropout, layout="any")
def lower_dropout(build: GraphBuilder, layer: Dropout, x: Value) -> Value:
    """Dropout of elements; with a noise shape elements share their fate."""
    if layer.noise_shape is not None:
        build.refuse("it has a noise_shape")
    if not layer.rate:
        return x
    return replace(build.module(nn.Dropout(layer.rate), x), flattened=x.flattened)


@lowers(Identity, ActivityRegularization, layout="any")
def lower_identity(build: GraphBuilder, layer: Identity, x: Value) -> Value:
    """Nothing."""
    return x
