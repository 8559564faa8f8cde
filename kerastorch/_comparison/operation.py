"""What a module of torch.nn or of this package computes before its activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn

from ..layers.convolution.conv import Conv
from ..layers.core.dense import Dense
from ..layers.normalization.batch_norm import BatchNormalization
from ..layers.pooling.pooling import BasePooling, _MaxPooling
from ..saving.weights.computations import (
    SAME,
    Computation,
    Convolution,
    MatrixProduct,
    Normalization,
    Pooling,
    detach,
)
from ..saving.weights.torch_modules import find_adapter

Activation: TypeAlias = Callable[[Tensor], Tensor]


def get_computation(module: nn.Module) -> Computation | None:
    """Return what a module computes, or None if that is unknown."""
    own: Any = module
    if isinstance(own, BasePooling):
        padding: Any = SAME if own._same else (0,) * own.rank
        kind: Any = "max" if isinstance(own, _MaxPooling) else "average"
        return Pooling(kind, own.pool_size, own.strides, padding)
    if isinstance(own, BatchNormalization):
        tensors = (own.weight, own.bias, own.running_mean, own.running_var)
        weight, bias, mean, variance = map(detach, tensors)
        return Normalization(weight, bias, mean, variance, own.epsilon)
    if not isinstance(own, (Conv, Dense)):
        adapter = find_adapter(module, any_forward=True)
        return None if adapter is None else adapter.computation(module)
    kernel = detach(own._weight_with_lora(own.weight) if own.lora_enabled else own.weight)
    if isinstance(own, Dense):
        return MatrixProduct(kernel, detach(own.bias))
    padding = SAME if own.padding == SAME else (0,) * len(own.kernel_size)
    return Convolution(
        kernel, detach(own.bias), own.strides, padding, own.dilation_rate, own.groups
    )
