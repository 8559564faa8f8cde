"""Activations."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ... import activations
from ..._core.layout import to_channels_second
from ...activations.functions import ELEMENTWISE
from ...layers.activation.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from ...layers.activation.prelu import PReLU
from ..graph import GraphBuilder, Value
from ..printed import functions as printed
from ..registry import LOWERINGS, lowers
from .axes import find_axes, find_axis

# Keras's functions with their default arguments -> a function of torch, and keyword arguments.
_FUNCTIONS: dict[Callable[..., Any], tuple[Callable[..., Any], dict[str, Any]]] = {
    activations.relu: (F.relu, {}),
    activations.relu6: (F.relu6, {}),
    activations.leaky_relu: (F.leaky_relu, {"negative_slope": 0.2}),
    activations.elu: (F.elu, {}),
    activations.selu: (F.selu, {}),
    activations.celu: (F.celu, {}),
    activations.gelu: (F.gelu, {}),
    activations.silu: (F.silu, {}),
    activations.mish: (F.mish, {}),
    activations.hard_silu: (F.hardswish, {}),
    activations.sigmoid: (torch.sigmoid, {}),
    activations.hard_sigmoid: (F.hardsigmoid, {}),
    activations.log_sigmoid: (F.logsigmoid, {}),
    activations.tanh: (torch.tanh, {}),
    activations.hard_tanh: (F.hardtanh, {}),
    activations.tanh_shrink: (F.tanhshrink, {}),
    activations.soft_shrink: (F.softshrink, {}),
    activations.hard_shrink: (F.hardshrink, {}),
    activations.softplus: (F.softplus, {}),
    activations.softsign: (F.softsign, {}),
    activations.exponential: (torch.exp, {}),
    activations.hard_sigmoid_keras2: (printed.hard_sigmoid_keras2, {}),
    activations.sparse_sigmoid: (printed.sparse_sigmoid, {}),
    activations.sparse_plus: (printed.sparse_plus, {}),
    activations.squareplus: (printed.squareplus, {}),
}
_ALONG_LAST_AXIS: dict[Callable[..., Any], Callable[..., Any]] = {
    activations.softmax: F.softmax,
    activations.log_softmax: F.log_softmax,
    activations.glu: F.glu,
    activations.sparsemax: printed.sparsemax,
}
_NONNEGATIVE = (activations.relu, activations.relu6, activations.sigmoid, activations.exponential)


def activate(build: GraphBuilder, activation: Callable[..., Any], x: Value) -> Value:
    """Apply the activation of a layer: a function of Keras, or an activation layer."""
    if activation is activations.linear:
        return x
    if activation in _FUNCTIONS:
        function, options = _FUNCTIONS[activation]
        y = apply_elementwise(build, function, x, **options)
        return replace(y, nonnegative=activation in _NONNEGATIVE)
    if activation in _ALONG_LAST_AXIS:
        if x.flattened is not None:
            x = build.as_in_keras(x)
        return build.function(_ALONG_LAST_AXIS[activation], x, dim=1 if x.moved else -1)
    if type(activation) in (ReLU, LeakyReLU, ELU, Softmax):  # Keras takes layers, too
        own = LOWERINGS[type(activation)]
        x = x if own.layout == "any" else build.as_in_keras(x)
        return own.function(build, activation, x)  # type: ignore[no-any-return]
    build.refuse("its activation is a function of your own")


def apply_elementwise(
    build: GraphBuilder, function: Callable[..., Any], x: Value, *args: Any, **kwargs: Any
) -> Value:
    """Call a function that treats all elements alike, whatever their order."""
    return replace(build.function(function, x, *args, **kwargs), flattened=x.flattened)


@lowers(Activation, layout="any")
def lower_activation(build: GraphBuilder, layer: Activation, x: Value) -> Value:
    """An activation layer."""
    if layer.activation not in ELEMENTWISE:
        x = build.as_in_keras(x)
    return activate(build, layer.activation, x)


@lowers(ReLU, layout="any")
def lower_relu(build: GraphBuilder, layer: ReLU, x: Value) -> Value:
    """`max(x, 0)` with a slope, a limit and a threshold."""
    return apply_relu(build, x, layer.negative_slope, layer.max_value, layer.threshold)


def apply_relu(
    build: GraphBuilder,
    x: Value,
    slope: float = 0.0,
    most: float | None = None,
    threshold: float = 0.0,
) -> Value:
    """Apply Keras's `relu` with all its arguments."""
    if most is None and not threshold:
        if slope:
            return apply_elementwise(build, F.leaky_relu, x, slope)
        y = apply_elementwise(build, F.relu, x)
    elif most == 6 and not threshold and not slope:
        y = apply_elementwise(build, F.relu6, x)
    else:
        y = _limit(build, x, most, threshold)
        if slope:
            below = apply_elementwise(build, operator.sub, x, threshold)
            below = apply_elementwise(build, torch.clamp, below, max=0)
            scaled = apply_elementwise(build, operator.mul, below, slope)
            return replace(build.function(operator.add, y, scaled), flattened=x.flattened)
    return replace(y, nonnegative=True)


def _limit(build: GraphBuilder, x: Value, most: float | None, threshold: float) -> Value:
    """Return 0 up to the threshold, the input from there to `most`, and `most` above."""
    y = x
    if threshold:
        y = apply_elementwise(build, F.threshold, x, threshold, 0.0)
        return y if most is None else apply_elementwise(build, torch.clamp, y, max=most)
    return apply_elementwise(build, torch.clamp, y, 0, most)


@lowers(LeakyReLU, layout="any")
def lower_leaky_relu(build: GraphBuilder, layer: LeakyReLU, x: Value) -> Value:
    """`x` above 0, a slope below."""
    return apply_elementwise(build, F.leaky_relu, x, layer.negative_slope)


@lowers(ELU, layout="any")
def lower_elu(build: GraphBuilder, layer: ELU, x: Value) -> Value:
    """The exponential linear unit."""
    return apply_elementwise(build, F.elu, x, **_unless(1.0, alpha=layer.alpha))


@lowers(Softmax, layout="any", takes_masks=True)
def lower_softmax(build: GraphBuilder, layer: Softmax, x: Value) -> Value:
    """Softmax over one or several axes."""
    if x.mask is not None:
        build.refuse("its input has a mask")
    return apply_softmax(build, x, layer.axis)


def apply_softmax(build: GraphBuilder, x: Value, axis: Any, *, log: bool = False) -> Value:
    """Apply the softmax, or its logarithm, over an axis, several, or all (None)."""
    if x.flattened is not None:
        x = build.as_in_keras(x)
    axes = range(x.rank) if axis is None else axis if isinstance(axis, (list, tuple)) else [axis]
    if len(axes) == 1:
        function = F.log_softmax if log else F.softmax
        dim = axes[0] if not x.moved and axes[0] == -1 else find_axis(x, axes[0])
        return build.function(function, x, dim=dim)
    total = build.method("logsumexp", x, find_axes(x, axes), keepdim=True)
    y = build.function(operator.sub, x, total)
    return y if log else build.function(torch.exp, y)


@lowers(PReLU, layout="any")
def lower_prelu(build: GraphBuilder, layer: PReLU, x: Value) -> Value:
    """PReLU; `nn.PReLU` where only the channels have slopes of their own."""
    if x.flattened is not None:
        x = build.as_in_keras(x)
    alpha = layer.alpha.detach()
    channels = alpha.shape[-1]
    if alpha.numel() == channels and (x.moved or x.rank == 2):
        prelu = nn.PReLU(channels, device="meta")
        prelu.weight = nn.Parameter(alpha.flatten().clone(), requires_grad=layer.trainable)
        y = build.module(prelu, x)
        return build.comment(y, "where x is 0, the gradient is 0 in Keras")
    if x.moved:
        alpha = to_channels_second(alpha.unsqueeze(0), -1)[0]
    slope = build.own_parameter(alpha, "alpha")
    below = build.function(F.relu, build.function(operator.neg, x))
    scaled = build.function(operator.mul, below, slope)
    return build.function(operator.sub, build.function(F.relu, x), scaled)


def _unless(default: Any, **options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value != default}
