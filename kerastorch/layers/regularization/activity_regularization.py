"""ActivityRegularization: a penalty on what passes through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import regularizers
from ..._core.registry import keras_layer
from ..base.stateless import StatelessLayer

__all__ = ["ActivityRegularization"]


@keras_layer()
class ActivityRegularization(StatelessLayer):
    """Outputs its input, and adds a penalty on it to `losses`.

    Same as `keras.layers.ActivityRegularization`, except that booleans and uint8, which Keras on
    TensorFlow refuses, are cast to the layer's compute dtype. The loss is divided by the batch
    size.

    Args:
        l1: The factor of the sum of the absolute values, >= 0.
        l2: The factor of the sum of the squares, >= 0.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `input_shape`.

    Shape:
        - Input and output: any.

    Raises:
        TypeError: `activity_regularizer` is given.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> layer = ActivityRegularization(l1=0.5)
        >>> _ = layer(torch.ones(2, 3))
        >>> layer.losses
        [tensor(1.5000)]
    """

    supports_masking = True
    keeps_flatten_order = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        given = kwargs.pop("activity_regularizer", None)
        super().__init__(**kwargs)
        if given is not None:
            rule = "left out: it follows from `l1` and `l2`"
            self._refuse_argument("activity_regularizer", rule, given, error=TypeError)
        try:
            self.activity_regularizer = regularizers.L1L2(l1, l2)
        except ValueError:
            rule = "a finite number >= 0, as `l2`"
            self._refuse_argument("l1", rule, l1, l2=l2)
        self.l1, self.l2 = l1, l2

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config without the regularizer that follows; see `Layer.get_config`."""
        written = super().get_config(target)
        return {key: value for key, value in written.items() if key != "activity_regularizer"}

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        return dtype in (torch.bool, torch.uint8)

    def _compute(self, x: Tensor) -> Tensor:
        return x
