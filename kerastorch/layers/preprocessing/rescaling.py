"""Rescaling and Normalization: shifting and scaling by numbers that are not trained."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ... import config, dtype_policies
from ..._core.arrays import from_array
from ..._core.config_arrays import plain
from ..._core.registry import keras_layer
from ..base.stateless import Weightless

__all__ = ["Rescaling"]


@keras_layer()
class Rescaling(Weightless):
    """Multiplies by `scale` and adds `offset`.

    Same as `keras.layers.Rescaling`. The output always has the layer's compute dtype.

    Args:
        scale: A number, or numbers that are broadcast to the input. With the image data format
            "channels_first" of `kerastorch.config`, up to three axes of them are aligned to
            (channels, height, width).
        offset: The same for what is added; it is always aligned to the last axes.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: any.
        - Output: the same.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> Rescaling(1 / 127.5, offset=-1)(np.array([0, 255]))
        tensor([-1.,  1.])
    """

    _floats = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        constants = from_array(scale), from_array(offset)
        for argument, value, found in zip(
            ("scale", "offset"), (scale, offset), constants, strict=True
        ):
            if found is None:
                self._refuse(argument, "a number, or an array or a list of them", value)
        self._constants: Any = constants
        self.scale = scale
        self.offset = offset

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config as every layer does, arrays as Keras writes them."""
        written = super().get_config(target)
        return {**written, "scale": plain(self.scale), "offset": plain(self.offset)}

    def _compute(self, x: Tensor) -> Tensor:
        compute = dtype_policies.torch_dtype(self.compute_dtype)
        scale, offset = (
            c.to(dtype=compute, device=x.device if c.ndim else None) for c in self._constants
        )
        if scale.ndim and config.image_data_format() == "channels_first":
            scale = scale.reshape(*scale.shape, *(1,) * (3 - scale.ndim))
        outputs: Tensor = x.to(compute) * scale + offset
        return outputs
