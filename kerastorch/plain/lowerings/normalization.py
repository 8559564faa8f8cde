"""Normalizations."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...layers.normalization.base import as_list
from ...layers.normalization.batch_norm import BatchNormalization
from ...layers.normalization.group_norm import GroupNormalization
from ...layers.normalization.layer_norm import LayerNormalization
from ...layers.normalization.rms_norm import RMSNormalization
from ...layers.normalization.unit_norm import UnitNormalization
from ...layers.wrappers.spectral_normalization import SpectralNormalization
from ..graph import GraphBuilder, Value
from ..printed import modules as printed
from ..registry import LOWERINGS, lowers
from .axes import find_axes
from .convolution import set_tensors

_BATCH_NORMS: dict[int, Any] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_FROZEN: dict[Any, Any] = {
    nn.BatchNorm1d: printed.FrozenBatchNorm1d,
    nn.BatchNorm2d: printed.FrozenBatchNorm2d,
    nn.BatchNorm3d: printed.FrozenBatchNorm3d,
}


@lowers(BatchNormalization, layout="any")
def lower_batch_norm(build: GraphBuilder, layer: BatchNormalization, x: Value) -> Value:
    """Batch normalization; one that Keras froze normalizes by the moving statistics always."""
    if x.rank not in _BATCH_NORMS:
        build.refuse(f"its input has {x.rank} axes")
    kind = _BATCH_NORMS[x.rank]
    kind = kind if layer.trainable and not layer.renorm else _FROZEN[kind]
    if layer.renorm and layer.trainable:
        x = build.module(printed.OnlyInEvaluation(), build.as_in_keras(x), name="renorm")
    momentum = float(1 - Decimal(repr(layer.momentum)))
    norm = kind(layer.running_mean.shape[0], eps=layer.epsilon, momentum=momentum)
    set_tensors(norm, running_mean=layer.running_mean, running_var=layer.running_var)
    _set_affine(norm, layer)
    return _call_on_channels(build, x, layer.axis, lambda y: build.module(norm, y))


@lowers(GroupNormalization, layout="any")
def lower_group_norm(build: GraphBuilder, layer: GroupNormalization, x: Value) -> Value:
    """Group normalization."""
    channels: Any = x.shape[layer.axis]
    groups = channels if layer.groups == -1 else layer.groups
    norm = nn.GroupNorm(groups, channels, eps=layer.epsilon, affine=_has_weights(layer))
    _set_affine(norm, layer)
    return _call_on_channels(build, x, layer.axis, lambda y: build.module(norm, y))


@lowers(LayerNormalization)
def lower_layer_norm(build: GraphBuilder, layer: LayerNormalization, x: Value) -> Value:
    """Layer normalization over the last axes, or over others, which are moved there."""
    axes = layer._sort_axes(x.shape, "inputs")
    if layer.rms_scaling:
        return _scale_by_deviation(build, layer, x, axes)
    sizes: Any = [x.shape[axis] for axis in axes]
    affine = _has_weights(layer)
    norm = nn.LayerNorm(
        sizes,
        eps=layer._get_epsilon(),
        elementwise_affine=affine,
        bias=layer.bias is not None or not affine,
    )
    _set_affine(norm, layer, sizes)
    return _call_on_last(build, x, axes, norm)


@lowers(RMSNormalization)
def lower_rms_norm(build: GraphBuilder, layer: RMSNormalization, x: Value) -> Value:
    """Normalization by the root mean square."""
    axes = layer._sort_axes(x.shape, "inputs")
    sizes: Any = [x.shape[axis] for axis in axes]
    norm = nn.RMSNorm(sizes, eps=layer._get_epsilon())
    set_tensors(norm, not layer.trainable, weight=layer.weight.reshape(sizes))
    return _call_on_last(build, x, axes, norm)


@lowers(UnitNormalization, layout="any")
def lower_unit_norm(build: GraphBuilder, layer: UnitNormalization, x: Value) -> Value:
    """Division by the L2 norm."""
    if x.flattened is not None:
        x = build.as_in_keras(x)
    axes = find_axes(x, as_list(layer.axis))
    options = {"eps": 1e-6} if layer.keras_2 else {}
    return build.function(F.normalize, x, dim=axes[0] if len(axes) == 1 else axes, **options)


def _has_weights(layer: Any) -> bool:
    return layer.weight is not None or layer.bias is not None


def _set_affine(norm: Any, layer: Any, sizes: Any = (-1,)) -> None:
    """Set gamma and beta; where a layer has one of them alone, the other is constant."""
    for name, default in (("weight", torch.ones_like), ("bias", torch.zeros_like)):
        given: Tensor | None = getattr(layer, name)
        own: Tensor | None = getattr(norm, name)
        if own is not None:
            tensor = default(own) if given is None else given.reshape(sizes)
            set_tensors(norm, given is None or not layer.trainable, **{name: tensor})


def _call_on_channels(
    build: GraphBuilder, x: Value, axis: int, call: Callable[[Value], Value]
) -> Value:
    """Call a normalization on a value with the axis of the channels moved to position 1."""
    axis %= x.rank
    if axis == x.rank - 1:
        return call(build.as_channels_second(x))
    x = build.as_in_keras(x)
    if axis == 1:
        return call(x)
    y = call(build.method("movedim", x, axis, 1))
    return build.method("movedim", y, 1, axis)


def _call_on_last(build: GraphBuilder, x: Value, axes: list[int], norm: nn.Module) -> Value:
    """Call a normalization on a value with some axes moved to the end."""
    last = list(range(x.rank - len(axes), x.rank))
    if axes == last:
        return build.module(norm, x)
    source, target = (axes[0], last[0]) if len(axes) == 1 else (tuple(axes), tuple(last))
    y = build.module(norm, build.method("movedim", x, source, target))
    return build.method("movedim", y, target, source)


def _scale_by_deviation(
    build: GraphBuilder, layer: LayerNormalization, x: Value, axes: list[int]
) -> Value:
    """Divide by the deviation, without subtracting the mean."""
    over = axes[0] if len(axes) == 1 else tuple(axes)
    variance = build.method("var", x, over, correction=0, keepdim=True)
    deviation = build.function(operator.add, variance, layer._get_epsilon())
    y = build.function(operator.mul, x, build.function(torch.rsqrt, deviation))
    if layer.weight is None:
        return y
    sizes: Any = [x.shape[axis] if axis in axes else 1 for axis in range(x.rank)]
    gamma = build.parameter(layer.weight.reshape(sizes), "weight")
    return build.function(operator.mul, y, gamma)


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
