"""The activation functions.

Values and gradients equal those of the Keras function of the same name; inputs are tensors.
Integers and booleans give the results of Keras on TensorFlow, or are converted to
`kerastorch.config.floatx()` where it raises an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .integers import (
    compute_integer_relu,
    convert_booleans,
    convert_integers,
    is_integer,
    relu_accepts,
)

__all__ = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid",
    "hard_sigmoid_keras2", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax",
    "squareplus", "swish", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip


def relu(
    x: Tensor,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
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
        return leaky_relu(x, negative_slope) if negative_slope else F.relu(convert_booleans(x))
    if not x.is_floating_point():
        if relu_accepts(x.dtype, negative_slope, max_value, threshold):
            return compute_integer_relu(x, negative_slope, max_value, threshold)
        x = convert_integers(x)
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
    return F.leaky_relu(convert_integers(x, torch.float32), negative_slope)


def relu6(x: Tensor) -> Tensor:
    """Rectified linear unit with a limit of 6: `min(max(x, 0), 6)`."""
    return F.relu6(convert_booleans(x))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Exponential linear unit: `x` above 0, `alpha * (exp(x) - 1)` below."""
    return F.elu(convert_integers(x), alpha)


def selu(x: Tensor) -> Tensor:
    """Scaled exponential linear unit: `scale * elu(x, alpha)` with fixed factors."""
    return F.selu(convert_integers(x))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Continuously differentiable elu: `max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)`."""
    return F.celu(convert_integers(x), alpha)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Gaussian error linear unit: `x * P(X <= x)` for a standard normal X.

    Args:
        x: The input.
        approximate: Whether to use the tanh approximation.
    """
    return F.gelu(convert_integers(x), approximate="tanh" if approximate else "none")


def silu(x: Tensor) -> Tensor:
    """Sigmoid linear unit, also called swish: `x * sigmoid(x)`."""
    return F.silu(convert_integers(x))


def mish(x: Tensor) -> Tensor:
    """`x * tanh(softplus(x))`."""
    return F.mish(convert_integers(x))


def hard_silu(x: Tensor) -> Tensor:
    """Piecewise approximation of silu, also called hard swish: `x * relu6(x + 3) / 6`."""
    return F.hardswish(convert_integers(x))


def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return torch.sigmoid(convert_integers(x))


def hard_sigmoid(x: Tensor) -> Tensor:
    """Piecewise linear sigmoid: `relu6(x + 3) / 6`. See also `hard_sigmoid_keras2`."""
    return F.hardsigmoid(convert_integers(x))


def hard_sigmoid_keras2(x: Tensor) -> Tensor:
    """The `hard_sigmoid` of Keras 1 and 2: `0.2 * x + 0.5`, clipped to [0, 1]."""
    return torch.clamp(0.2 * convert_integers(x) + 0.5, 0.0, 1.0)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """`(x + 1) / 2`, clipped to [0, 1]."""
    x = convert_integers(x)
    return torch.where(x <= -1, 0.0, torch.where(x >= 1, 1.0, 0.5 * (x + 1)))


def log_sigmoid(x: Tensor) -> Tensor:
    """`log(sigmoid(x))`."""
    return F.logsigmoid(convert_integers(x))


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(convert_integers(x))


def hard_tanh(x: Tensor) -> Tensor:
    """`x`, clipped to [-1, 1]."""
    return F.hardtanh(convert_integers(x))


def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)`."""
    return F.tanhshrink(convert_integers(x))


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`sign(x) * max(abs(x) - threshold, 0)`."""
    return F.softshrink(convert_integers(x), threshold)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` where `abs(x) > threshold`, else 0."""
    return F.hardshrink(convert_integers(x), threshold)


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """`x` where it is above `threshold`, else `default_value`."""
    if x.dtype is torch.bool or not (is_integer(threshold) and is_integer(default_value)):
        x = convert_integers(x)
    return F.threshold(x, threshold, default_value)


def softplus(x: Tensor) -> Tensor:
    """`log(exp(x) + 1)`."""
    return F.softplus(convert_integers(x))


def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, `(x + 1) ** 2 / 4` from there to 1, and `x` above."""
    x = convert_integers(x)
    return torch.where(x <= -1, 0.0, torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """`(x + sqrt(x ** 2 + b)) / 2`."""
    x = convert_integers(x)
    return (x + torch.sqrt(x**2 + b)) / 2


def softsign(x: Tensor) -> Tensor:
    """`x / (abs(x) + 1)`."""
    return F.softsign(convert_integers(x))


def exponential(x: Tensor) -> Tensor:
    """`exp(x)`."""
    return torch.exp(convert_integers(x))


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
    if isinstance(axis, int) and -x.ndim <= axis < x.ndim and x.shape[axis] == 1:
        _warn_size_one(axis, x)
    return _apply_over_axes(F.softmax, convert_integers(x), axis)


def log_softmax(x: Tensor, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """`log(softmax(x, axis))`. Args as in `softmax`."""
    return _apply_over_axes(F.log_softmax, convert_integers(x), axis)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """Gated linear unit: the first half along `axis` times the sigmoid of the second."""
    return F.glu(convert_integers(x), axis)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """`max(x - tau, 0)` with one `tau` for each vector along `axis`, as Keras computes it.

    It equals the published function (Martins and Astudillo, 2016) only where one output is above 0;
    elsewhere Keras's `tau` is larger, and the outputs do not sum to 1.
    """
    x = convert_integers(x)
    ordered = x.sort(dim=axis, descending=True).values
    totals = ordered.cumsum(axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    ranks = torch.arange(1, x.shape[axis] + 1, device=x.device, dtype=x.dtype).view(shape)
    support = ordered - (totals - 1) / ranks > 0
    total = torch.where(support, totals, 0.0).sum(axis, keepdim=True)
    tau = (total - 1) / support.sum(axis, keepdim=True)
    return (x - tau).clamp(min=0.0)


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


def _warn_size_one(axis: int, x: Tensor) -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(
            f"softmax: axis {axis} of shape {tuple(x.shape)} has size 1, so every value becomes 1. "
            "Did you mean sigmoid?",
            stacklevel=3,
        )


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
