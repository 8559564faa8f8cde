"""Masking: the mask of the steps in which a sequence has values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._core.arrays import to_tensor
from ..._core.registry import keras_layer
from ..base.stateless import StatelessLayer

__all__ = ["Masking"]


@keras_layer()
class Masking(StatelessLayer):
    """Masks the steps in which all values are `mask_value`, and sets them to 0.

    Same as `keras.layers.Masking`. `compute_mask` returns the mask.

    Args:
        mask_value: A number, or an array that broadcasts to the input.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: (batch, ..., channels).
        - The mask: (batch, ...).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> layer, x = Masking(), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        >>> layer.compute_mask(x)
        tensor([[ True, False]])
    """

    compute_layout = "as_given"
    returns_new_tensor = True
    _gradient_needs_output = False
    keeps_flatten_order = True
    supports_masking = True
    creates_mask = True
    _least_rank = 1

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        numbers = not isinstance(mask_value, str) and to_tensor(mask_value) is not None
        if not numbers:
            self._refuse_argument("mask_value", "a number or an array of numbers", mask_value)
        self.mask_value = mask_value

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor:
        """Return whether any value of each step is other than `mask_value`."""
        steps = self._find_steps(self._prepare_input(inputs))
        return steps.squeeze(-1)

    def _find_steps(self, x: Tensor) -> Tensor:
        value: Any = self.mask_value
        if not isinstance(value, (bool, int, float)):
            value = torch.as_tensor(value, device=x.device)
            if x.is_floating_point():
                value = value.to(x.dtype)
        different: Tensor = x != value
        return different.any(-1, keepdim=True)

    def _prepare_input(self, inputs: Any) -> Any:
        x = super()._prepare_input(inputs)
        self._require_rank(x)
        return x

    def _compute(self, x: Tensor) -> Tensor:
        return torch.where(self._find_steps(x), x, torch.zeros((), dtype=x.dtype, device=x.device))
