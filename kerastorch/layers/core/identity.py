"""Identity: a placeholder that computes nothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..._core.registry import keras_layer
from ..base.stateless import StatelessLayer
from ..base.torch_conversion import TorchCounterpart

__all__ = ["Identity"]


@keras_layer()
class Identity(StatelessLayer, TorchCounterpart):
    """Outputs its input.

    Same as `keras.layers.Identity` for one tensor.

    Args:
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: any.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> Identity()(torch.tensor([1, 2]))
        tensor([1, 2])
    """

    supports_masking = True
    keeps_flatten_order = True
    compute_layout = "any"
    torch_name = "Identity"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the input's mask, which Keras 2 drops."""
        return None if self.masks_of_keras_2 else mask

    def _compute(self, x: Tensor) -> Tensor:
        return x
