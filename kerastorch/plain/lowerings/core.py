"""Dense layers of all kinds, and what has no arithmetic of its own."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..._core.layout import to_channels_second
from ...layers.applications.convnext import LayerScale
from ...layers.core.dense import Dense
from ...layers.core.einsum_dense import EinsumDense
from ...layers.core.highway import Highway
from ...layers.core.identity import Identity
from ...layers.core.input import InputLayer
from ...layers.core.maxout import MaxoutDense
from ..graph import GraphBuilder, Value
from ..registry import has_no_plain_form, lowers
from .activation import activate
from .convolution import get_weight, set_tensors

has_no_plain_form("an InputLayer is not called", InputLayer)


@lowers(Dense, layout="any")
def lower_dense(build: GraphBuilder, layer: Dense, x: Value) -> Value:
    """A linear layer; after a flattening its weight takes the features as torch has them."""
    weight = get_weight(layer)
    if x.flattened is not None and not build.is_shared:
        channels, *spatial = x.flattened
        # As (units, *spatial, channels) the weight follows Keras's order of the features.
        columns = weight.detach().view(len(weight), *spatial, channels)
        weight = to_channels_second(columns, -1).flatten(1)
    else:
        x = build.as_in_keras(x)
    y = replace(apply_linear(build, x, weight, layer.bias), moved=False)
    if x.flattened is not None:
        y = build.comment_module(y, "the columns are in the order of flattened torch images")
    return activate(build, layer.activation, y)


def apply_linear(
    build: GraphBuilder, x: Value, weight: Tensor, bias: Tensor | None, name: str = ""
) -> Value:
    """Call an `nn.Linear` with weights of the layer."""
    units, features = weight.shape
    linear = nn.Linear(features, units, bias=bias is not None, device="meta")
    set_tensors(linear, not build.layer.trainable, weight=weight, bias=bias)
    return build.module(linear, x, name=name)


@lowers(EinsumDense)
def lower_einsum_dense(build: GraphBuilder, layer: EinsumDense, x: Value) -> Value:
    """A linear layer where the equation is that of one, else an einsum with the weight."""
    weight, bias, equation = get_weight(layer), layer.bias, layer._equation
    *others, last = equation.inputs
    is_linear = equation.kernel[:1] == last and equation.more != "right"
    is_linear = is_linear and equation.outputs == "".join([*others, equation.kernel[1:]])
    if is_linear and weight.ndim == 2 and (bias is None or bias.ndim == 1):
        return activate(build, layer.activation, apply_linear(build, x, weight.T, bias))
    y = build.function(torch.einsum, layer.equation, x, build.parameter(weight, "weight"))
    if bias is not None:
        y = build.function(operator.add, y, build.parameter(bias, "bias"))
    return activate(build, layer.activation, y)


@lowers(Highway)
def lower_highway(build: GraphBuilder, layer: Highway, x: Value) -> Value:
    """A dense layer and the input, mixed by a gate."""
    gate = apply_linear(build, x, layer.carry_weight, layer._tensor("carry_bias"), name="gate")
    gate = build.function(torch.sigmoid, gate)
    y = activate(build, layer.activation, apply_linear(build, x, layer.weight, layer.bias))
    y = build.function(operator.mul, y, gate)
    kept = build.function(operator.mul, build.function(operator.sub, 1, gate), x)
    return build.function(operator.add, y, kept)


@lowers(MaxoutDense)
def lower_maxout_dense(build: GraphBuilder, layer: MaxoutDense, x: Value) -> Value:
    """The maximum of several linear layers, which are one."""
    bias = layer._tensor("bias")
    bias = None if bias is None else bias.flatten()
    y = apply_linear(build, x, layer.weight.flatten(0, 1), bias)
    y = build.method("unflatten", y, 1, (layer.nb_feature, layer.units))
    return build.method("amax", y, 1)


@lowers(LayerScale, layout="any")
def lower_layer_scale(build: GraphBuilder, layer: LayerScale, x: Value) -> Value:
    """A trained factor for each channel."""
    if x.flattened is not None:
        x = build.as_in_keras(x)
    sizes: Any = (-1, *(1,) * (x.rank - 2)) if x.moved else (-1,)
    return build.function(operator.mul, x, build.parameter(layer.gamma.view(sizes), "gamma"))


@lowers(Identity, layout="any")
def lower_identity(build: GraphBuilder, layer: Identity, x: Value) -> Value:
    """Nothing."""
    return x
