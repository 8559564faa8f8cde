"""Modules that torch lacks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class OnlyInEvaluation(nn.Module):
    """Stands where a Keras layer does something else in training, which this code lacks."""

    def forward(self, x):
        if self.training:
            raise RuntimeError("To train without what Keras does here, call eval() of this module.")
        return x


class GaussianNoise(nn.Module):
    """Adds normal noise in training."""

    def __init__(self, stddev):
        super().__init__()
        self.stddev = stddev

    def forward(self, x):
        return x + self.stddev * torch.randn_like(x) if self.training else x


class GaussianDropout(nn.Module):
    """Multiplies by normal noise of the mean 1 and the variance p / (1 - p) in training."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        return x * (1 + (self.p / (1 - self.p)) ** 0.5 * torch.randn_like(x))


class SharedDropout(nn.Module):
    """Dropout with a mask of the noise shape, which broadcasts; None is the size of the input."""

    def __init__(self, p, noise_shape):
        super().__init__()
        self.p, self.noise_shape = p, noise_shape

    def forward(self, x):
        if not self.training:
            return x
        sizes = [n or x.shape[axis] for axis, n in enumerate(self.noise_shape)]
        return x * F.dropout(x.new_ones(sizes), self.p)


class SharedAlphaDropout(nn.Module):
    """nn.AlphaDropout with a mask of the noise shape; None is the size of the input."""

    def __init__(self, p, noise_shape):
        super().__init__()
        self.p, self.noise_shape = p, noise_shape

    def forward(self, x):
        if not self.training:
            return x
        sizes = [n or x.shape[axis] for axis, n in enumerate(self.noise_shape)]
        kept = (torch.rand(sizes, device=x.device) >= self.p).to(x.dtype)
        least = -1.7580993408473766  # selu(-inf)
        factor = ((1 - self.p) * (1 + self.p * least**2)) ** -0.5
        return factor * (x * kept + least * (1 - kept) - least * self.p)


class DropPath(nn.Module):
    """Drops whole samples in training, and scales up the others."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        return x * F.dropout(x.new_ones(len(x), *(1,) * (x.dim() - 1)), self.p)


class Standardize(nn.Module):
    """Subtracts a mean and divides by a standard deviation, or inverts that."""

    def __init__(self, shape, invert=False, eps=1e-7):
        super().__init__()
        self.shape, self.invert, self.eps = shape, invert, eps
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))

    def forward(self, x):
        deviation = self.variance.sqrt().clamp(min=self.eps)
        return x * deviation + self.mean if self.invert else (x - self.mean) / deviation


class LocallyConnected2d(nn.Module):
    """A convolution with another kernel at each of the positions (height, width)."""

    def __init__(self, in_channels, out_channels, positions, kernel_size, stride, bias=True):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.positions, self.kernel_size, self.stride = positions, kernel_size, stride
        window = in_channels * kernel_size[0] * kernel_size[1]
        count = positions[0] * positions[1]
        self.weight = nn.Parameter(torch.zeros(out_channels, window, count))
        self.bias = nn.Parameter(torch.zeros(out_channels, *positions)) if bias else None

    def forward(self, x):
        windows = F.unfold(x, self.kernel_size, stride=self.stride)
        y = torch.einsum("bwp,fwp->bfp", windows, self.weight).unflatten(2, self.positions)
        return y if self.bias is None else y + self.bias


class FrozenBatchNorm1d(nn.BatchNorm1d):
    """Normalizes by the moving statistics in training, too: Keras does where a layer is frozen."""

    def train(self, mode=True):
        return super().train(False)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Normalizes by the moving statistics in training, too: Keras does where a layer is frozen."""

    def train(self, mode=True):
        return super().train(False)


class FrozenBatchNorm3d(nn.BatchNorm3d):
    """Normalizes by the moving statistics in training, too: Keras does where a layer is frozen."""

    def train(self, mode=True):
        return super().train(False)
