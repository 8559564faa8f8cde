"""Normalizing the channels of a batch, by given statistics or exactly by its own.

On a CPU, torch sums the numbers of a channel one after the other where the memory is channels_last:
among 400,000 of them the variance is off by 1e-4, and the output with it. Here they are summed in
many columns apart, which takes no longer and leaves 1e-6.
"""

from __future__ import annotations

import inspect
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from .._core.layout import channels_last
from .tracing import any_size

_FEW = 1024  # so many numbers are summed exactly enough
_IN_CACHE = 4096  # so many sums stay where they are quickly reached


def normalized(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
) -> Tensor:
    """Normalize each channel by a given mean and variance.

    Args:
        x: (batch, channels, ...), float32 or float64.
        gamma: (channels,), what the result is multiplied by, or None.
        beta: (channels,), what is added to it then, or None.
        mean: (channels,).
        variance: (channels,).
        epsilon: What is added to the variance.
    """
    cudnn = x.is_cuda and torch.backends.cudnn.enabled
    return torch.batch_norm(x, gamma, beta, mean, variance, False, 0.0, epsilon, cudnn)


def normalized_by_batch(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize each channel by its mean and variance in the batch.

    Args:
        x: (batch, channels, ...), float32 or float64.
        gamma: (channels,), what the result is multiplied by, or None.
        beta: (channels,), what is added to it then, or None.
        epsilon: What is added to the variance.

    Returns:
        The result, and without gradients the mean and the biased variance of each channel; both
        are zero for an empty batch.
    """
    count = x.numel() // max(x.shape[1], 1)
    if any_size() or not x.is_cpu or count < 2:
        return _by_torch(x, gamma, beta, epsilon)
    if count > _FEW and x.ndim == 4 and x.stride(1) == 1 and x.dtype is torch.float32:
        found: tuple[Tensor, Tensor, Tensor] = _Normalized.apply(x, gamma, beta, epsilon)  # type: ignore[no-untyped-call]
        return found
    unused, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    share = (count - 1) / count  # of the new, which makes an unbiased variance a biased one
    y, mean, _ = torch.native_batch_norm(x, gamma, beta, unused, variance, True, share, epsilon)
    return y, mean, variance


def _by_torch(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    count = x.numel() // max(x.shape[1], 1)
    mean, variance = (x.new_zeros(x.shape[1]) for _ in range(2))
    cudnn = torch.backends.cudnn.enabled
    y = torch.batch_norm(x, gamma, beta, mean, variance, True, 1.0, epsilon, cudnn)
    if count == 1:  # torch's unbiased variance is not a number then
        return y, mean, torch.zeros_like(variance)
    return y, mean, variance * ((count - 1) / count) if count else variance


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the biased variance of each channel: first of each column, then of all.

    A column is every n-th of all places, and n divides their number: columns of equal counts, whose
    means and variances simply average.
    """
    channels = x.shape[1]
    count = _columns(x.numel() // channels, channels)
    columns = channels_last(x).reshape(-1, count * channels, 1, 1)
    means, variances = torch.batch_norm_update_stats(columns, None, None, 0.0)
    means, variances = means.view(count, channels, 1, 1), variances.view(count, channels)
    mean, apart = torch.batch_norm_update_stats(means, None, None, 0.0)
    return mean, variances.mean(0).add_(apart)


@lru_cache(maxsize=1024)
def _columns(places: int, channels: int) -> int:
    """Return into how many columns to part the places: that none is long, and all are at hand."""
    divisors = [n for n in range(1, min(places, _FEW) + 1) if places % n == 0]
    enough = [n for n in divisors if places // n <= _FEW]
    at_hand = [n for n in enough if n * channels <= _IN_CACHE]
    return max(at_hand) if at_hand else min(enough) if enough else max(divisors)


class _Normalized(torch.autograd.Function):
    """torch's own normalization, with exact statistics."""

    @staticmethod
    def forward(
        x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics(x)
        return normalized(x, gamma, beta, mean, variance, epsilon), mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, gamma, _, ctx.epsilon = inputs
        _, mean, variance = output
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, gamma, mean, variance)
        ctx.save_for_forward(x, gamma, mean, variance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return None, None, None, None
        x, gamma, mean, variance = ctx.saved_tensors
        scale = (variance + ctx.epsilon).rsqrt()
        wanted = ctx.needs_input_grad[:3]
        of_x, of_gamma, of_beta = torch.ops.aten.native_batch_norm_backward(
            gradient, x, gamma, None, None, mean, scale, True, ctx.epsilon, wanted
        )
        return of_x, of_gamma, of_beta, None

    @staticmethod
    def jvp(
        ctx: Any, x_along: Tensor | None, gamma_along: Any, beta_along: Any, *_: None
    ) -> tuple[Tensor, None, None]:
        x, gamma, mean, variance = ctx.saved_tensors
        axes, wide = (0, 2, 3), (-1, 1, 1)
        scale = (variance + ctx.epsilon).rsqrt().view(wide)
        normal = (x - mean.view(wide)) * scale
        along = torch.zeros_like(x)
        if x_along is not None:
            apart = x_along - x_along.mean(axes, keepdim=True)
            along = scale * (apart - normal * (normal * apart).mean(axes, keepdim=True))
        if gamma is not None:
            along = along * gamma.view(wide)
        if gamma_along is not None:
            along = along + normal * gamma_along.view(wide)
        if beta_along is not None:
            along = along + beta_along.view(wide)
        return along, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        """Leave it to torch, which has no rule for the statistics alone."""
        several = torch.vmap(partial(_by_torch, epsilon=epsilon), in_dims[:3])
        return several(x, gamma, beta), (0, 0, 0)


# `Function.apply` asks for it at each call, and finds it quickly where it is given.
_Normalized.forward.__signature__ = inspect.signature(_Normalized.forward)  # type: ignore[attr-defined]
