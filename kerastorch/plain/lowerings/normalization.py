"""Normalizations."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import torch
from torch import nn

from ...layers.normalization.batch_norm import BatchNormalization
from ..graph import GraphBuilder, Value
from ..printed import modules as printed
from ..registry import lowers
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
    axis = layer.axis % x.rank
    if layer.renorm:
        build.refuse("it has renorm")
    if x.rank not in _BATCH_NORMS:
        build.refuse(f"its input has {x.rank} axes")
    if axis == x.rank - 1:
        x = build.as_channels_second(x)
    elif axis == 1:
        x = build.as_in_keras(x)
    else:
        build.refuse(f"it normalizes axis {axis}")
    kind = _BATCH_NORMS[x.rank]
    kind = kind if layer.trainable else _FROZEN[kind]
    momentum = float(1 - Decimal(repr(layer.momentum)))
    norm = kind(layer.running_mean.shape[0], eps=layer.epsilon, momentum=momentum)
    ones, zeros = torch.ones_like(layer.running_mean), torch.zeros_like(layer.running_mean)
    set_tensors(norm, weight=_or(layer.weight, ones), bias=_or(layer.bias, zeros))
    set_tensors(norm, running_mean=layer.running_mean, running_var=layer.running_var)
    norm.weight.requires_grad_(layer.trainable and layer.weight is not None)
    norm.bias.requires_grad_(layer.trainable and layer.bias is not None)
    return build.module(norm, x)


def _or(tensor: Any, default: Any) -> Any:
    return default if tensor is None else tensor
