"""Batch and group normalization without the faults of torch's on a CPU.

Batch normalization accumulates channels_last values of a channel in one running sum: for 400,000
values the variance and the output are off by 1e-4. Here they are summed in many columns, which
takes little longer and leaves an error of 1e-6.

Group normalization computes the variance of channels_last values as E[x²] - E[x]², which loses all
digits where the mean exceeds the deviation by far, accumulates a whole image in one running sum,
and is slow for groups of few channels in small images, which it takes one by one. Here, of the ways
that are as accurate as TensorFlow's, the fastest is taken:

- few values: on a copy in channels-first memory;
- large images, and where torch is slow: on such a copy in training, otherwise by the formula;
- else: after the mean is subtracted, which changes nothing else.

Torch's backward pass also crashes the process for a channels_last input that needs no gradient,
which is therefore normalized by the formula, and fails for a beta without a gamma, which is then
all ones.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .._core.layout import to_channels_last
from .tracing import is_tracing

_MAX_COLUMN = 1024  # values that one running sum adds accurately
_MAX_SUMS = 2048  # sums that fit in a fast cache
_MANY = 32768  # values from which on a copy to another memory format takes too long
_SMALL_IMAGE = 1024  # positions, below which torch takes the groups of an image one by one
_LARGE_IMAGE = 16384  # positions, up to which one running sum leaves an error of 1e-5
_FEW_CHANNELS = {True: 2, False: 4}  # of a group, for which torch is slow: in training, and not


def normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
) -> Tensor:
    """Normalize the channels of (batch, channels, ...) by a given mean and variance."""
    cudnn = x.is_cuda and torch.backends.cudnn.enabled
    return torch.batch_norm(x, gamma, beta, mean, variance, False, 0.0, epsilon, cudnn)


def normalize_by_batch(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize the channels of (batch, channels, ...) by their mean and variance in the batch.

    Returns:
        The output, and the mean and biased variance of each channel, without gradients and zero
        for an empty batch.
    """
    count = x.numel() // max(x.shape[1], 1)
    if is_tracing() or not x.is_cpu or count < 2:
        return _normalize_by_torch(x, gamma, beta, epsilon)
    if count > _MAX_COLUMN and x.ndim == 4 and x.stride(1) == 1 and x.dtype is torch.float32:
        try:
            found: tuple[Tensor, Tensor, Tensor] = _NormalizeByBatch.apply(x, gamma, beta, epsilon)  # type: ignore[no-untyped-call]
            return found
        except RuntimeError:  # a transform of `torch.func`, or forward-mode differentiation
            return _normalize_by_torch(x, gamma, beta, epsilon)
    unused, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    momentum = (count - 1) / count  # makes the unbiased variance a biased one
    y, mean, _ = torch.native_batch_norm(x, gamma, beta, unused, variance, True, momentum, epsilon)
    return y, mean, variance


def _normalize_by_torch(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    count = x.numel() // max(x.shape[1], 1)
    mean, variance = (x.new_zeros(x.shape[1]) for _ in range(2))
    cudnn = torch.backends.cudnn.enabled
    y = torch.batch_norm(x, gamma, beta, mean, variance, True, 1.0, epsilon, cudnn)
    if count == 1:  # torch's unbiased variance is NaN
        return y, mean, torch.zeros_like(variance)
    return y, mean, variance * ((count - 1) / count) if count else variance


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance of each channel, from those of columns of equal size."""
    channels = x.shape[1]
    count = _count_columns(x.numel() // channels, channels)
    columns = to_channels_last(x).reshape(-1, count * channels, 1, 1)
    moments = torch.batch_norm_update_stats(columns, None, None, 0.0)
    means, variances = (moment.view(count, channels, 1, 1) for moment in moments)
    mean, between = torch.batch_norm_update_stats(means, None, None, 0.0)
    within, _ = torch.batch_norm_update_stats(variances, None, None, 0.0)  # faster than `mean(0)`
    return mean, within.add_(between)


@lru_cache(maxsize=1024)
def _count_columns(size: int, channels: int) -> int:
    """Return a divisor of `size` that gives short columns and, if possible, cached sums."""
    divisors = [n for n in range(1, min(size, _MAX_COLUMN) + 1) if size % n == 0]
    short = [n for n in divisors if size // n <= _MAX_COLUMN]
    cached = [n for n in short if n * channels <= _MAX_SUMS]
    return max(cached) if cached else min(short) if short else max(divisors)


class _NormalizeByBatch(torch.autograd.Function):
    """torch's normalization with accurate statistics."""

    # A `setup_context` would allow the transforms of `torch.func`, but makes each call slower.
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics(x)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, gamma, mean, variance)
        return normalize(x, gamma, beta, mean, variance, epsilon), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return None, None, None, None
        x, gamma, mean, variance = ctx.saved_tensors
        scale = (variance + ctx.epsilon).rsqrt()
        mask = ctx.needs_input_grad[:3]
        gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, x, gamma, None, None, mean, scale, True, ctx.epsilon, mask
        )
        return *gradients, None


def normalize_by_group(
    x: Tensor, groups: int, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> Tensor:
    """Normalize each group of channels of (batch, channels, ...) by its mean and variance."""
    if x.ndim == 3:  # as an image: torch would copy channels-last sequences
        return normalize_by_group(x.unsqueeze(2), groups, gamma, beta, epsilon).squeeze(2)
    if gamma is None and beta is not None:
        gamma = torch.ones_like(beta)
    if not (x.is_cpu and x.ndim > 3 and x.stride(1) == 1 and x.shape[1] > 1):
        return _group_norm(x.contiguous(), groups, gamma, beta, epsilon)
    trained = x.requires_grad and torch.is_grad_enabled()
    copies = is_tracing() or x.numel() < _MANY
    is_fit = not copies and _is_fit_for_torch(x, groups, trained)
    if copies or (trained and not is_fit):
        return torch.empty_like(x).copy_(_group_norm(x.contiguous(), groups, gamma, beta, epsilon))
    mean = _mean_of_groups(x, groups)
    if is_fit and (trained or not torch.is_grad_enabled()):
        # A shift has no influence, thus no gradient.
        return _group_norm(x - mean.detach(), groups, gamma, beta, epsilon)
    centered = x - mean
    scale = (_mean_of_groups(centered * centered, groups) + epsilon).rsqrt()
    if gamma is not None:
        scale = scale * gamma.view(-1, *mean.shape[2:])
    if beta is None:
        return centered * scale
    return torch.addcmul(beta.view(-1, *mean.shape[2:]), centered, scale)


def _is_fit_for_torch(x: Tensor, groups: int, trained: bool) -> bool:
    """Return whether torch normalizes centered channels_last images fast and accurately."""
    positions = x.shape[2:].numel()
    if trained and groups == x.shape[1]:
        return False
    is_slow = positions < _SMALL_IMAGE and x.shape[1] <= _FEW_CHANNELS[trained] * groups
    return positions <= _LARGE_IMAGE and not is_slow


def _mean_of_groups(x: Tensor, groups: int) -> Tensor:
    """Return the mean of its group for each channel: (batch, channels, 1, ...)."""
    means = x.mean(tuple(range(2, x.ndim)), keepdim=True)
    by_group = means.view(x.shape[0], groups, -1, *means.shape[2:])
    return by_group.mean(2, keepdim=True).expand_as(by_group).reshape(means.shape)


def _group_norm(
    x: Tensor, groups: int, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> Tensor:
    return torch.group_norm(x, groups, gamma, beta, epsilon, torch.backends.cudnn.enabled)
