"""UpSampling2D: repeat or interpolate rows and columns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._core.arguments import IntOrInts, as_choice, as_positive_ints
from ..._core.registry import keras_layer
from ..._ops.resize import RADII, resize, round_to
from ..base.stateless import SpatialLayer
from ..base.weights import Sizes

__all__ = ["UpSampling2D"]

_INTERPOLATIONS = ("nearest", "bilinear", *RADII)


@keras_layer()
class UpSampling2D(SpatialLayer):
    """Upsamples height and width by repeating or interpolating rows and columns.

    Same as `keras.layers.UpSampling2D`, with TensorFlow's values where Keras's backends disagree:
    for "bicubic" its torch backend uses another cubic, and JAX differs in the third digit for a
    factor that is no power of 2, since TensorFlow looks the cubic up in a table of 1024 steps. Its
    torch backend lacks "lanczos3" and "lanczos5". Integers are rounded and clamped to their dtype,
    where TensorFlow lets the largest ones of 32 and 64 bits wrap around. They and half precision
    are computed in float32.

    Args:
        size: The factors for height and width: an integer for both, or two.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5"; upper case is
            accepted. The last three are matrix products along each axis, so that a value that is
            not finite spreads over its channel.
        data_format, **kwargs: As in `ZeroPadding2D`.

    Shape:
        - Input: as in `Conv2D`.
        - Output: the same with height and width times their factors.

    Example:
        >>> import torch
        >>> UpSampling2D((1, 2))(torch.arange(4).reshape(1, 2, 2, 1))[0, ..., 0]
        tensor([[0, 0, 1, 1],
                [2, 2, 3, 3]])
    """

    rank = 2

    def __init__(
        self,
        size: IntOrInts = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        owner = type(self).__name__
        self.size = as_positive_ints(owner, "size", size, self.rank)
        self.interpolation = as_choice(owner, "interpolation", interpolation, _INTERPOLATIONS)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.size, strict=True)
        return tuple(None if n is None else n * factor for n, factor in axes)

    def _compute(self, x: Tensor) -> Tensor:
        return self._repeat(x) if self.interpolation == "nearest" else self._interpolate(x)

    def _repeat(self, x: Tensor) -> Tensor:
        """Repeat each row and column, with one copy and for any dtype."""
        before, sizes, after = self._split(x.shape)
        split = [n for size in sizes for n in (size, 1)]
        expanded = [n for pair in zip(sizes, self.size, strict=True) for n in pair]
        new = self._new_sizes("inputs", (), sizes)
        y: Any = x.reshape(*before, *split, *after).expand(*before, *expanded, *after)  # type: ignore[arg-type]
        repeated: Tensor = y.reshape(*before, *new, *after)
        return repeated

    def _interpolate(self, x: Tensor) -> Tensor:
        """Interpolate between pixel centers; integers are rounded, as in Keras."""
        exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
        sizes: Any = self._new_sizes("inputs", (), self._split(x.shape)[1])
        y = resize(exact, sizes, self.interpolation, self._first_axis)
        return y if exact is x else round_to(y, x.dtype, clamp=self.interpolation != "bilinear")
