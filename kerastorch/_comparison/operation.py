"""What a module computes before its activation, in a form whose parts can be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import activations
from .._ops.convolution import CONVOLUTIONS, convolve_same
from .._ops.pooling import pool_average, pool_max
from ..layers.convolution.base import Conv
from ..layers.core.dense import Dense
from ..layers.normalization.batch_norm import BatchNormalization
from ..layers.pooling.pooling import BasePooling, _MaxPooling

Integers: TypeAlias = tuple[int, ...]
Padding: TypeAlias = Integers | Literal["same"]
Activation: TypeAlias = Callable[[Tensor], Tensor]

SAME: Literal["same"] = "same"


@dataclass(frozen=True)
class Convolution:
    """A convolution of (batch, channels, *spatial); `padding` is TensorFlow's "same" or even."""

    weight: Tensor
    bias: Tensor | None
    stride: Integers
    padding: Padding
    dilation: Integers
    groups: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for an input."""
        convolve = CONVOLUTIONS[self.weight.ndim - 2]
        given = x.to(self.weight), self.weight, self.bias
        if self.padding == SAME:
            size = tuple(self.weight.shape[2:])
            same = convolve_same(convolve, *given, size, self.stride, self.dilation, self.groups)
            return same[0]
        return convolve(*given, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True)
class Product:
    """A matrix product with the last axis."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for an input."""
        return F.linear(x.to(self.weight), self.weight, self.bias)


@dataclass(frozen=True)
class Normalization:
    """A normalization of (batch, channels, ...); without a mean, by the batch's statistics."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for an input."""
        held = (self.weight, self.bias, self.mean, self.variance)
        weight, bias, mean, variance = (
            None if tensor is None else tensor.to(x.device, x.dtype) for tensor in held
        )
        return F.batch_norm(x, mean, variance, weight, bias, mean is None, 0.0, self.epsilon)


@dataclass(frozen=True)
class Pooling:
    """A pooling of (batch, channels, *spatial) that counts nothing it pads with."""

    kind: Literal["max", "average"]
    size: Integers
    stride: Integers
    padding: Padding

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for an input."""
        pool = pool_max if self.kind == "max" else pool_average
        if self.padding == SAME:
            return pool(x, self.size, self.stride, True)
        if self.kind == "max":
            sides = [n for n in reversed(self.padding) for _ in range(2)]
            return pool_max(F.pad(x, sides, value=-torch.inf), self.size, self.stride, False)
        averages = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
        average: Any = averages[len(self.size)]
        pooled: Tensor = average(x, self.size, self.stride, self.padding, False, False)
        return pooled


Operation: TypeAlias = Convolution | Product | Normalization | Pooling


def operation_of(module: nn.Module) -> Operation | None:
    """Return what a module of PyTorch or of this package computes, None where it is not known."""
    for kinds, parts in _PARTS.items():
        if isinstance(module, kinds):
            found: Operation | None = parts(module)
            return found
    return None


def activation_of(module: nn.Module) -> Activation | None:
    """Return the activation that a module ends with, or None where it has none."""
    activation = getattr(module, "activation", None)
    if not callable(activation) or activation is activations.linear:
        return None
    return activation  # type: ignore[no-any-return]


def _weights(module: Any) -> tuple[Tensor, Tensor | None]:
    weight = module._merged(module.weight) if getattr(module, "lora_enabled", 0) else module.weight
    return weight.detach(), None if module.bias is None else module.bias.detach()


def _convolution(module: Any) -> Convolution | None:
    weight, bias = _weights(module)
    padding = module.padding
    if isinstance(padding, str):
        padding = SAME if padding == SAME else (0,) * len(module.kernel_size)
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return None
    stride = module.strides if isinstance(module, Conv) else module.stride
    dilation = module.dilation_rate if isinstance(module, Conv) else module.dilation
    return Convolution(weight, bias, stride, padding, dilation, module.groups)


def _product(module: Any) -> Product:
    return Product(*_weights(module))


def _normalization(module: Any) -> Normalization:
    epsilon = module.epsilon if isinstance(module, BatchNormalization) else module.eps
    held = (module.weight, module.bias, module.running_mean, module.running_var)
    parts = [None if tensor is None else tensor.detach() for tensor in held]
    return Normalization(parts[0], parts[1], parts[2], parts[3], epsilon)


def _pooling(module: Any) -> Pooling | None:
    if isinstance(module, BasePooling):
        kind: Literal["max", "average"] = "max" if isinstance(module, _MaxPooling) else "average"
        padding: Padding = SAME if module._same else (0,) * module.rank
        return Pooling(kind, module.pool_size, module.strides, padding)
    kind = "max" if isinstance(module, _MAX_POOLS) else "average"
    rank = int(type(module).__name__[-2])
    spread = [
        n if isinstance(n, tuple) else (n,) * rank
        for n in (module.kernel_size, module.stride, module.padding)
    ]
    return Pooling(kind, *spread)


_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_PARTS: Mapping[tuple[type[nn.Module], ...], Callable[[Any], Any]] = {
    (Conv, nn.Conv1d, nn.Conv2d, nn.Conv3d): _convolution,
    (Dense, nn.Linear): _product,
    (BatchNormalization, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d): _normalization,
    (BasePooling, *_MAX_POOLS, *_AVERAGE_POOLS): _pooling,
}
