"""Layers of other families that compute with a mask, called with one."""

from __future__ import annotations

import operator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import torch

from ...layers.activation.activation import Softmax
from ...layers.merging.merge import Maximum, Minimum, Multiply
from ...layers.normalization.batch_norm import BatchNormalization
from ...layers.pooling.global_pooling import GlobalAveragePooling1D
from ..graph import GraphBuilder, Value
from ..masking import cast_mask, combine_masks
from ..printed import functions as printed
from ..printed import modules as printed_modules
from ..registry import LOWERINGS, lowers_masked
from .convolution import set_tensors


@lowers_masked(GlobalAveragePooling1D)
def lower_masked_average(
    build: GraphBuilder, layer: GlobalAveragePooling1D, x: Value, mask: Value
) -> Value:
    """The mean over the steps that count."""
    first = layer.data_format == "channels_first"
    x = build.method("transpose", x, 1, 2) if first else x
    y = build.function(printed.average_steps, x, cast_mask(build, mask))
    return build.method("unsqueeze", y, 2 if first else 1) if layer.keepdims else y


@lowers_masked(Softmax)
def lower_masked_softmax(build: GraphBuilder, layer: Softmax, x: Value, mask: Value) -> Value:
    """Softmax of the elements that count; the others are 0."""
    if mask.dtype is not torch.bool:
        limit = 0.5 if mask.dtype.is_floating_point else 0
        mask = replace(build.function(operator.gt, mask, limit), dtype=torch.bool)
    least = replace(build.function(torch.where, mask, x, -1e9), shape=x.shape, dtype=x.dtype)
    y = LOWERINGS[Softmax].function(build, layer, least)
    return build.function(torch.where, mask, y, 0.0)


@lowers_masked(Multiply, Maximum, Minimum, layout="any")
def lower_masked_merge(build: GraphBuilder, layer: Any, inputs: list[Value], mask: Any) -> Value:
    """Elements that are masked do not count; in Keras 2 they do."""
    if layer.masks_of_keras_2:
        found: Value = LOWERINGS[type(layer)].function(build, layer, inputs)
        return found
    values = [build.as_in_keras(x) for x in inputs]
    rank = max(x.rank for x in values)
    masks = [None if x.rank < rank else own for x, own in zip(values, mask, strict=True)]
    if type(layer) is Multiply:
        return _multiply(build, layer, values, masks)
    y, valid = values[0], masks[0]
    for x, own in zip(values[1:], masks[1:], strict=True):
        if own is not None:
            x = _select(build, own, x, y)
        if valid is not None:
            y = _select(build, valid, y, x)
        valid = (
            None if own is None or valid is None else combine_masks(build, operator.or_, valid, own)
        )
        y = LOWERINGS[type(layer)].function(build, layer, [y, x])
    return y


def _multiply(
    build: GraphBuilder, layer: Any, values: list[Value], masks: list[Value | None]
) -> Value:
    """Return the product of the elements that count, 0 where none does."""
    pairs = zip(values, masks, strict=True)
    factors = [x if own is None else _select(build, own, x, 1.0) for x, own in pairs]
    y: Value = LOWERINGS[Multiply].function(build, layer, factors)
    if None in masks:
        return y
    counts = combine_masks(build, operator.or_, *masks)
    return y if counts is None else _select(build, counts, y, 0.0)


def _select(build: GraphBuilder, mask: Value, x: Value, other: Value | float) -> Value:
    wide = build.function(operator.getitem, cast_mask(build, mask), (..., None))
    return replace(x, node=build.function(torch.where, wide, x, other).node)


@lowers_masked(BatchNormalization, layout="any")
def lower_masked_batch_norm(
    build: GraphBuilder, layer: BatchNormalization, x: Value, mask: Value
) -> Value:
    """Batch normalization whose statistics in training are those of the steps that count."""
    if not layer.trainable:
        found: Value = LOWERINGS[BatchNormalization].function(build, layer, x)
        return found
    if x.rank != 3 or layer.axis % 3 != 2 or layer.renorm:
        build.refuse("its input has a mask, and is not (batch, steps, channels)")
    x = build.as_in_keras(x)
    momentum = float(1 - Decimal(repr(layer.momentum)))
    count = layer.running_mean.shape[0]
    norm = printed_modules.MaskedBatchNorm(count, eps=layer.epsilon, momentum=momentum)
    ones, zeros = torch.ones_like(layer.running_mean), torch.zeros_like(layer.running_mean)
    set_tensors(
        norm,
        weight=ones if layer.weight is None else layer.weight,
        bias=zeros if layer.bias is None else layer.bias,
        running_mean=layer.running_mean,
        running_var=layer.running_var,
    )
    norm.weight.requires_grad_(layer.weight is not None)
    norm.bias.requires_grad_(layer.bias is not None)
    return build.module(norm, x, cast_mask(build, mask))
