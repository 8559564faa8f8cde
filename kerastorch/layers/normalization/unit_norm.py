"""Unit normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..._core.registry import keras_layer
from ..base.stateless import StatelessLayer
from ..base.weights import Sizes
from .base import as_list, check_axes

__all__ = ["UnitNormalization"]


@keras_layer()
class UnitNormalization(StatelessLayer):
    """Scales each sample to an L2 norm of 1 over one or several axes.

    Same as `keras.layers.UnitNormalization`: the factor is at most 1e12. In a model from a file of
    Keras 2 it is at most 1e6, as it was there. Integers are cast to the layer's compute dtype.

    Args:
        axis: The axis or axes over which the norm is 1.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: any that have the axes.

    Raises:
        TypeError: `axis` is neither an integer nor a list of integers.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> UnitNormalization()(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    supports_masking = True
    differs_in_keras_2 = True
    returns_new_tensor = True
    keeps_flatten_order = True
    _casts_integers = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = check_axes(self, axis)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        axes, rank = as_list(self.axis), len(shape)
        kept = {axis % rank for axis in axes if -rank <= axis < rank} if rank else set()
        if len(kept) < len(axes):
            rule = "a shape that has each axis of `axis` once"
            self._refuse_argument(argument, rule, tuple(shape), axis=self.axis)
        return tuple(shape)

    def _compute(self, x: Tensor) -> Tensor:
        self._output_shape(tuple(x.shape), "inputs")
        norm: Tensor = torch.linalg.vector_norm(x, 2, as_list(self.axis), keepdim=True)
        return x * norm.clamp(min=1e-6 if self.keras_2 else 1e-12).reciprocal()
