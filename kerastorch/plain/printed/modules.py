"""Modules that torch lacks."""

from __future__ import annotations

from torch import nn


class OnlyInEvaluation(nn.Module):
    """Stands for a Keras layer that changes images at random in training."""

    def forward(self, x):
        if self.training:
            raise RuntimeError("Augment the images before the model, and call eval() of this.")
        return x


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
