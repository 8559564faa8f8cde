"""The activation functions.

Each is the same as the Keras function of that name, values and gradients, except that it takes
tensors only. Integers and booleans give what they give in Keras on TensorFlow; what it refuses is
converted to `kerastorch.config.floatx()`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .integers import convert_booleans, convert_integers, is_integer, relu_of_integers, relu_takes

_Activation = Callable[..., Tensor]


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
        threshold: Inputs up to this one are flattened, or sloped.

    Raises:
        ValueError: the input's type is an integer one that does not hold a limit.

    >>> relu(torch.tensor([-2.0, 1.0, 9.0]), negative_slope=0.5, max_value=6.0)
    tensor([-1.,  1.,  6.])
    """
    if max_value is None and threshold == 0:
        return leaky_relu(x, negative_slope) if negative_slope else F.relu(convert_booleans(x))
    if not x.is_floating_point():
        if relu_takes(x.dtype, negative_slope, max_value, threshold):
            return relu_of_integers(x, negative_slope, max_value, threshold)
        x = convert_integers(x)
    if max_value == 6 and threshold == 0:
        y = F.relu6(x)
    else:
        y = torch.where(x > threshold, x, 0) if threshold != 0 else F.relu(x)
        if max_value is not None:  # torch's ONNX exporter wants both limits of one type
            y = y.clamp(0.0 if isinstance(max_value, float) else 0, max_value)
    return y - negative_slope * F.relu(threshold - x) if negative_slope else y


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """`x` above 0, `negative_slope * x` below. PyTorch's own default slope is 0.01.

    Integers and booleans give float32, whatever `kerastorch.config.floatx()` is.
    """
    return F.leaky_relu(convert_integers(x, torch.float32), negative_slope)


def relu6(x: Tensor) -> Tensor:
    """Rectified linear unit that ends at 6: `min(max(x, 0), 6)`."""
    return F.relu6(convert_booleans(x))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Exponential linear unit: `x` above 0, `alpha * (exp(x) - 1)` below."""
    return F.elu(convert_integers(x), alpha)


def selu(x: Tensor) -> Tensor:
    """Scaled exponential linear unit: `scale * elu(x, alpha)` with the self-normalising pair."""
    return F.selu(convert_integers(x))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Continuously differentiable elu: `max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)`."""
    return F.celu(convert_integers(x), alpha)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Gaussian error linear unit: `x * P(X <= x)` for a standard normal X.

    Args:
        x: The input.
        approximate: Whether to use the formula with tanh.
    """
    return F.gelu(convert_integers(x), approximate="tanh" if approximate else "none")


def silu(x: Tensor) -> Tensor:
    """Sigmoid linear unit, also called swish: `x * sigmoid(x)`."""
    return F.silu(convert_integers(x))


def mish(x: Tensor) -> Tensor:
    """`x * tanh(softplus(x))`."""
    return F.mish(convert_integers(x))


def hard_silu(x: Tensor) -> Tensor:
    """Silu made of straight and square pieces, also called hard swish: `x * relu6(x + 3) / 6`."""
    return F.hardswish(convert_integers(x))


def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return torch.sigmoid(convert_integers(x))


def hard_sigmoid(x: Tensor) -> Tensor:
    """Sigmoid made of straight pieces: `relu6(x + 3) / 6`.

    In Keras 1 and 2 it was `hard_sigmoid_keras2`.
    """
    return F.hardsigmoid(convert_integers(x))


def hard_sigmoid_keras2(x: Tensor) -> Tensor:
    """The `hard_sigmoid` of Keras 1 and 2: `0.2 * x + 0.5`, limited to 0 and 1."""
    return torch.clamp(0.2 * convert_integers(x) + 0.5, 0.0, 1.0)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """`(x + 1) / 2`, held between 0 and 1."""
    x = convert_integers(x)
    return torch.where(x <= -1, 0.0, torch.where(x >= 1, 1.0, 0.5 * (x + 1)))


def log_sigmoid(x: Tensor) -> Tensor:
    """`log(sigmoid(x))`."""
    return F.logsigmoid(convert_integers(x))


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(convert_integers(x))


def hard_tanh(x: Tensor) -> Tensor:
    """`x`, held between -1 and 1."""
    return F.hardtanh(convert_integers(x))


def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)`."""
    return F.tanhshrink(convert_integers(x))


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` moved towards 0 by `threshold`; 0 where that would pass it."""
    return F.softshrink(convert_integers(x), threshold)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` where its size is above `threshold`, else 0."""
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
    """0 up to -1, `(x + 1) ** 2 / 4` between -1 and 1, `x` from there."""
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
        axis: The axis or axes that sum to 1; None for all. The last axis is the channels of the
            default `data_format`, but the width of "channels_first".

    >>> softmax(torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if isinstance(axis, int) and -x.ndim <= axis < x.ndim and x.shape[axis] == 1:
        _warn_of_one(axis, x)
    return _along(F.softmax, convert_integers(x), axis)


def log_softmax(x: Tensor, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """`log(softmax(x, axis))`.

    Args:
        x: The input.
        axis: The axis or axes whose exponentials sum to 1; None for all.
    """
    return _along(F.log_softmax, convert_integers(x), axis)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """Gated linear unit: the first half along `axis` times the sigmoid of the second."""
    return F.glu(convert_integers(x), axis)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """`max(x - tau, 0)` with one `tau` for each vector along `axis`.

    This is the function that Keras computes. It equals the published one (Martins and Astudillo,
    2016) where a single entry is above 0; where several are, Keras's `tau` is a larger one, and
    the outputs do not sum to 1.
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


def _along(
    function: Callable[..., Tensor], x: Tensor, axis: int | tuple[int, ...] | None
) -> Tensor:
    """Return `function` of `x` over one axis, several, or all of them."""
    if x.dtype is torch.float16 and x.is_cpu:  # Keras does not trust half precision here
        return _along(function, x.float(), axis).half()
    if isinstance(axis, int):
        return function(x, dim=axis)
    axes = tuple(range(x.ndim)) if axis is None else tuple(n % x.ndim for n in axis)
    last = tuple(range(-len(axes), 0))
    moved = x.movedim(axes, last)
    return function(moved.flatten(-len(axes)), dim=-1).view(moved.shape).movedim(last, axes)


def _warn_of_one(axis: int, x: Tensor) -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(
            f"softmax: axis {axis} of shape {tuple(x.shape)} has size 1, so every value becomes 1. "
            "Did you mean sigmoid?",
            stacklevel=3,
        )


swish = silu
hard_swish = hard_silu
