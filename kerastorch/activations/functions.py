"""The activation functions, with the values and gradients of Keras's of the same name.

Integers and booleans give the results of Keras on TensorFlow, or are converted to
`kerastorch.config.floatx()` where it raises an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import config
from .._core.errors import argument_error

__all__ = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid",
    "hard_sigmoid_keras2", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax",
    "squareplus", "swish", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip


def relu(
    x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Tensor:
    """Rectified linear unit: `max(x, 0)` with the default arguments.

    Args:
        x: The input.
        negative_slope: The slope below `threshold`.
        max_value: The largest output; None for no limit.
        threshold: The inputs up to which `negative_slope` applies.

    Raises:
        ValueError: the input has an integer dtype that cannot represent a limit.

    >>> relu(torch.tensor([-2.0, 1.0, 9.0]), negative_slope=0.5, max_value=6.0)
    tensor([-1.,  1.,  6.])
    """
    if max_value is None and threshold == 0:
        return leaky_relu(x, negative_slope) if negative_slope else F.relu(_convert_booleans(x))
    if not x.is_floating_point():
        if relu_accepts(x.dtype, negative_slope, max_value, threshold):
            return _compute_integer_relu(x, negative_slope, max_value, threshold)
        x = _convert_integers(x)
    if max_value == 6 and threshold == 0:
        y = F.relu6(x)
    else:
        y = torch.where(x > threshold, x, 0) if threshold != 0 else F.relu(x)
        if max_value is not None:  # torch's ONNX exporter needs two limits of one type
            y = y.clamp(0.0 if isinstance(max_value, float) else 0, max_value)
    return y - negative_slope * F.relu(threshold - x) if negative_slope else y


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """`x` above 0, `negative_slope * x` below. PyTorch's default slope is 0.01.

    Integers and booleans give float32, whatever `kerastorch.config.floatx()` is.
    """
    return F.leaky_relu(_convert_integers(x, torch.float32), negative_slope)


def relu6(x: Tensor) -> Tensor:
    """Rectified linear unit with a limit of 6: `min(max(x, 0), 6)`."""
    return F.relu6(_convert_booleans(x))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Exponential linear unit: `x` above 0, `alpha * (exp(x) - 1)` below."""
    return F.elu(_convert_integers(x), alpha)


def selu(x: Tensor) -> Tensor:
    """Scaled exponential linear unit: `scale * elu(x, alpha)` with fixed factors."""
    return F.selu(_convert_integers(x))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Continuously differentiable elu: `max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)`."""
    return F.celu(_convert_integers(x), alpha)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Gaussian error linear unit: `x * P(X <= x)` for a standard normal X.

    Args:
        x: The input.
        approximate: Whether to use the tanh approximation.
    """
    return F.gelu(_convert_integers(x), approximate="tanh" if approximate else "none")


def silu(x: Tensor) -> Tensor:
    """Sigmoid linear unit, also called swish: `x * sigmoid(x)`."""
    return F.silu(_convert_integers(x))


def mish(x: Tensor) -> Tensor:
    """`x * tanh(softplus(x))`."""
    return F.mish(_convert_integers(x))


def hard_silu(x: Tensor) -> Tensor:
    """Piecewise approximation of silu, also called hard swish: `x * relu6(x + 3) / 6`."""
    return F.hardswish(_convert_integers(x))


def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return torch.sigmoid(_convert_integers(x))


def hard_sigmoid(x: Tensor) -> Tensor:
    """Piecewise linear sigmoid: `relu6(x + 3) / 6`. See also `hard_sigmoid_keras2`."""
    return F.hardsigmoid(_convert_integers(x))


def hard_sigmoid_keras2(x: Tensor) -> Tensor:
    """The `hard_sigmoid` of Keras 1 and 2: `0.2 * x + 0.5`, clipped to [0, 1]."""
    return torch.clamp(0.2 * _convert_integers(x) + 0.5, 0.0, 1.0)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """`(x + 1) / 2`, clipped to [0, 1]."""
    x = _convert_integers(x)
    return torch.where(x <= -1, 0.0, torch.where(x >= 1, 1.0, 0.5 * (x + 1)))


def log_sigmoid(x: Tensor) -> Tensor:
    """`log(sigmoid(x))`."""
    return F.logsigmoid(_convert_integers(x))


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(_convert_integers(x))


def hard_tanh(x: Tensor) -> Tensor:
    """`x`, clipped to [-1, 1]."""
    return F.hardtanh(_convert_integers(x))


def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)`."""
    return F.tanhshrink(_convert_integers(x))


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`sign(x) * max(abs(x) - threshold, 0)`."""
    return F.softshrink(_convert_integers(x), threshold)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` where `abs(x) > threshold`, else 0."""
    return F.hardshrink(_convert_integers(x), threshold)


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """`x` where it is above `threshold`, else `default_value`."""
    if x.dtype is torch.bool or not (_is_integer(threshold) and _is_integer(default_value)):
        x = _convert_integers(x)
    return F.threshold(x, threshold, default_value)


def softplus(x: Tensor) -> Tensor:
    """`log(exp(x) + 1)`."""
    return F.softplus(_convert_integers(x))


def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, `(x + 1) ** 2 / 4` from there to 1, and `x` above."""
    x = _convert_integers(x)
    return torch.where(x <= -1, 0.0, torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """`(x + sqrt(x ** 2 + b)) / 2`."""
    x = _convert_integers(x)
    return (x + torch.sqrt(x**2 + b)) / 2


def softsign(x: Tensor) -> Tensor:
    """`x / (abs(x) + 1)`."""
    return F.softsign(_convert_integers(x))


def exponential(x: Tensor) -> Tensor:
    """`exp(x)`."""
    return torch.exp(_convert_integers(x))


def linear(x: Tensor) -> Tensor:
    """`x` itself."""
    return x


def softmax(x: Tensor, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """`exp(x)`, divided by its sum along `axis`.

    Args:
        x: The input.
        axis: The axis or axes that sum to 1; None for all. The default is the channels in
            "channels_last", but the width in "channels_first".

    >>> softmax(torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    size = x.shape[axis] if isinstance(axis, int) and -x.ndim <= axis < x.ndim else None
    if size == 1 and not torch.compiler.is_compiling():
        given = f"softmax: axis {axis} of shape {tuple(x.shape)}"
        message = f"{given} has size 1, so every value becomes 1. Did you mean sigmoid?"
        warnings.warn(message, stacklevel=2)
    return _apply_over_axes(F.softmax, _convert_integers(x), axis)


def log_softmax(x: Tensor, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """`log(softmax(x, axis))`. Args as in `softmax`."""
    return _apply_over_axes(F.log_softmax, _convert_integers(x), axis)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """Gated linear unit: the first half along `axis` times the sigmoid of the second."""
    return F.glu(_convert_integers(x), axis)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """`max(x - tau, 0)` with one `tau` for each vector along `axis`, as Keras computes it.

    It equals the published function (Martins and Astudillo, 2016) only where one output is above 0;
    elsewhere Keras's `tau` is larger, and the outputs do not sum to 1.
    """
    x = _convert_integers(x)
    ordered = x.sort(dim=axis, descending=True).values
    totals = ordered.cumsum(axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    ranks = torch.arange(1, x.shape[axis] + 1, device=x.device, dtype=x.dtype).view(shape)
    support = ordered - (totals - 1) / ranks > 0
    total = torch.where(support, totals, 0.0).sum(axis, keepdim=True)
    tau = (total - 1) / support.sum(axis, keepdim=True)
    return (x - tau).clamp(min=0.0)


def _convert_integers(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Convert integers and booleans to a float dtype, by default `config.floatx()`."""
    if x.is_floating_point() or x.is_complex():
        return x
    return x.to(dtype or getattr(torch, config.floatx()))


def _convert_booleans(x: Tensor) -> Tensor:
    """Convert booleans to `config.floatx()`."""
    return _convert_integers(x) if x.dtype is torch.bool else x


def _is_integer(value: Any) -> bool:
    """Return whether a number has an integer type; TensorFlow distinguishes 1 and 1.0."""
    return hasattr(value, "__index__")


def relu_accepts(
    dtype: torch.dtype, negative_slope: float, max_value: float | None, threshold: float
) -> bool:
    """Return whether Keras on TensorFlow accepts a dtype other than float in `relu`."""
    if dtype is torch.bool:
        return False
    if not negative_slope or (max_value is None and threshold == 0):
        return True
    return dtype.is_signed and all(map(_is_integer, (negative_slope, threshold or 0)))


def _compute_integer_relu(
    x: Tensor, negative_slope: float, max_value: float | None, threshold: float
) -> Tensor:
    """Compute `relu` with limits cast to the input's dtype, as in Keras."""
    y = F.relu(x)
    if threshold != 0:
        y = torch.where(x > _cast_limit("threshold", threshold, x.dtype), x, 0)
    if max_value is not None:
        y = y.clamp(0, _cast_limit("max_value", max_value, x.dtype))
    if negative_slope:
        y = y - negative_slope * F.relu(threshold - x if threshold else -x)  # 0.0 would be a float
    return y


def _cast_limit(argument: str, value: float, dtype: torch.dtype) -> int:
    info = torch.iinfo(dtype)
    if not info.min <= value < info.max + 1:
        raise ValueError(argument_error("relu", argument, f"a number that {dtype} holds", value))
    return int(value)


def _apply_over_axes(
    function: Callable[..., Tensor], x: Tensor, axis: int | tuple[int, ...] | None
) -> Tensor:
    """Apply `function` over one axis, several, or all (None)."""
    if x.dtype is torch.float16 and x.is_cpu:  # as Keras does
        return _apply_over_axes(function, x.float(), axis).half()
    if isinstance(axis, int):
        return function(x, dim=axis)
    axes = tuple(range(x.ndim)) if axis is None else tuple(n % x.ndim for n in axis)
    last = tuple(range(-len(axes), 0))
    moved = x.movedim(axes, last)
    return function(moved.flatten(-len(axes)), dim=-1).view(moved.shape).movedim(last, axes)


swish = silu
hard_swish = hard_silu

ELEMENTWISE = frozenset({
    relu, leaky_relu, relu6, elu, selu, celu, gelu, silu, mish, hard_silu, sigmoid, hard_sigmoid,
    hard_sigmoid_keras2, sparse_sigmoid, log_sigmoid, tanh, hard_tanh, tanh_shrink, soft_shrink,
    hard_shrink, softplus, sparse_plus, squareplus, softsign, exponential, linear,
})  # fmt: skip
BUILT_IN = ELEMENTWISE | {softmax, log_softmax, glu, sparsemax, threshold}
OF_BOOLEANS = frozenset({linear, tanh, exponential})  # Keras on TensorFlow accepts booleans
OF_INTEGERS = OF_BOOLEANS | {relu, relu6, leaky_relu}  # and integers
