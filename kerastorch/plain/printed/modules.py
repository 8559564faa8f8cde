"""Modules that torch lacks."""

from __future__ import annotations

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
