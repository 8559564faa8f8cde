"""Modules that torch lacks."""

from __future__ import annotations

import torch
from torch import nn


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


class EachStep(nn.Module):
    """Calls a module on one step after the other, so that batch statistics are those of a step."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return torch.stack([self.module(step) for step in x.unbind(1)], 1)
