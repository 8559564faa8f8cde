"""What a layer computes before its activation, as functions whose weights can be exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ..._core.layout import from_channels_second, to_channels_second
from ..._ops.convolution import convolve_causal, convolve_same
from ..._ops.convolution_cpu import select_convolution
from ..._ops.pooling import avg_pool, max_pool
from ..._ops.window_arithmetic import Integers, TransposedPadding, to_f_pad_order

Padding: TypeAlias = Integers | Literal["same", "causal"]
SAME: Literal["same"] = "same"


@dataclass(frozen=True)
class Convolution:
    """A convolution of (batch, channels, *spatial); `padding` is Keras's, or that of both sides."""

    weight: Tensor
    bias: Tensor | None
    stride: Integers
    padding: Padding
    dilation: Integers
    groups: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output."""
        if x.ndim == 3:
            return self._as_image()(x.unsqueeze(2)).squeeze(2)
        size = tuple(self.weight.shape[2:])
        convolve = select_convolution(size, self.stride, self.groups)
        given = x.to(self.weight), self.weight, self.bias
        if isinstance(self.padding, str):
            pad = convolve_same if self.padding == SAME else convolve_causal
            return pad(convolve, *given, size, self.stride, self.dilation, self.groups)[0]
        return convolve(*given, self.stride, self.padding, self.dilation, self.groups)

    def _as_image(self) -> Convolution:
        """Return the convolution of sequences as images of height 1."""
        weight, padding = self.weight.unsqueeze(2), self.padding
        fixed = padding if isinstance(padding, str) else (0, *padding)
        window = (1, *self.stride), fixed, (1, *self.dilation)
        return Convolution(weight, self.bias, *window, self.groups)


@dataclass(frozen=True)
class TransposedConvolution:
    """A transposed convolution of (batch, channels, *spatial); the weight is (in, out, ...)."""

    weight: Tensor
    bias: Tensor | None
    stride: Integers
    padding: TransposedPadding
    dilation: Integers

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output."""
        convolve: Any = getattr(torch, f"conv_transpose{self.weight.ndim - 2}d")
        both, more, cropped = self.padding
        given = x.to(self.weight), self.weight, self.bias, self.stride
        y = convolve(*given, both, more, 1, self.dilation)
        return F.pad(y, to_f_pad_order([(0, -n) for n in cropped]))


@dataclass(frozen=True)
class MatrixProduct:
    """A matrix product with the last axis."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output."""
        return F.linear(x.to(self.weight), self.weight, self.bias)


@dataclass(frozen=True)
class BatchNorm:
    """A normalization along all axes but one; without a mean, by batch statistics."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    epsilon: float
    axis: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output."""
        weight, bias, mean, variance = (
            None if tensor is None else tensor.to(x.device, x.dtype)
            for tensor in (self.weight, self.bias, self.mean, self.variance)
        )
        x = to_channels_second(x, self.axis)
        y = F.batch_norm(x, mean, variance, weight, bias, mean is None, 0.0, self.epsilon)
        return from_channels_second(y, self.axis)


@dataclass(frozen=True)
class SampleNorm:
    """A normalization of each sample: `normalize(x, weight, bias, epsilon)`."""

    normalize: Callable[[Tensor, Tensor | None, Tensor | None, float], Tensor]
    weight: Tensor | None
    bias: Tensor | None
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output."""
        weight, bias = (None if one is None else one.to(x) for one in (self.weight, self.bias))
        return self.normalize(x, weight, bias, self.epsilon)


@dataclass(frozen=True)
class Pooling:
    """A pooling of (batch, channels, *spatial) that excludes the padding."""

    kind: Literal["max", "average"]
    size: Integers
    stride: Integers
    padding: Padding

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output."""
        pool = max_pool if self.kind == "max" else avg_pool
        if isinstance(self.padding, str):
            return pool(x, self.size, self.stride, True)
        if self.kind == "max":
            sides = [n for n in reversed(self.padding) for _ in range(2)]
            return max_pool(F.pad(x, sides, value=-torch.inf), self.size, self.stride, False)
        average: Any = getattr(F, f"avg_pool{len(self.size)}d")
        pooled: Tensor = average(x, self.size, self.stride, self.padding, False, False)
        return pooled


@dataclass(frozen=True)
class Chain:
    """Functions, or modules, one after another."""

    parts: tuple[Callable[[Tensor], Tensor], ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output of the last one."""
        x = x.clone()  # the first part may overwrite it
        for part in self.parts:
            x = part(x)
        return x


Function: TypeAlias = (
    Convolution | TransposedConvolution | MatrixProduct | BatchNorm | SampleNorm | Pooling | Chain
)
