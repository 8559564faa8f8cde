"""Group normalization without three faults of torch's on a CPU.

With channels_last values it computes the variance as E[x²] - E[x]², which loses all digits where
the mean exceeds the deviation by far: the mean is subtracted before, which changes nothing else.
Its backward pass then crashes the process if the input needs no gradient: such an input is copied.
And its backward pass fails for a beta without a gamma: gamma is then all ones.
"""

from __future__ import annotations

import torch
from torch import Tensor


def normalize_by_group(
    x: Tensor, groups: int, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> Tensor:
    """Normalize each group of channels of (batch, channels, ...) by its mean and variance."""
    if x.ndim == 3:  # as an image: torch would copy channels-last sequences
        return normalize_by_group(x.unsqueeze(2), groups, gamma, beta, epsilon).squeeze(2)
    if gamma is None and beta is not None:
        gamma = torch.ones_like(beta)
    if x.is_cpu and x.ndim > 3 and x.stride(1) == 1 and x.shape[1] > 1:
        trained = any(one is not None and one.requires_grad for one in (gamma, beta))
        crashes = trained and torch.is_grad_enabled() and not x.requires_grad
        x = x - _mean_of_groups(x, groups)
        x = x.contiguous() if crashes else x
    cudnn = torch.backends.cudnn.enabled
    try:
        return torch.group_norm(x, groups, gamma, beta, epsilon, cudnn)
    except RuntimeError:  # vmap takes contiguous values only
        return torch.group_norm(x.contiguous(), groups, gamma, beta, epsilon, cudnn)


@torch.no_grad()  # a shift has no influence, thus no gradient
def _mean_of_groups(x: Tensor, groups: int) -> Tensor:
    """Return the mean of its group for each channel: (batch, channels, 1, ...)."""
    means = x.mean(tuple(range(2, x.ndim)))
    by_group = means.reshape(x.shape[0], groups, x.shape[1] // groups).mean(2, keepdim=True)
    channels = by_group.expand(-1, -1, x.shape[1] // groups)
    return channels.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
