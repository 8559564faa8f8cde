"""UpSampling2D: rows and columns repeated, or new ones between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..._core import arguments as arguments_module
from ..._core.arguments import Integers
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved
from ..._core.registry import keras_layer
from ..._ops.resize import RADII, resampled
from ..._ops.tracing import under_autocast
from ..base.spatial import Spatial, data_format_of
from ..base.stateless import Sizes

__all__ = ["UpSampling2D"]

_INTERPOLATIONS = ("nearest", "bilinear", *RADII)


@keras_layer()
class UpSampling2D(Spatial):
    """An image made larger by repeating or interpolating its rows and columns.

    Same as `keras.layers.UpSampling2D`, with TensorFlow's numbers where Keras's backends disagree:

    - for "bicubic" its torch backend takes another cubic, and JAX differs in the third digit by a
      factor that is no power of 2, since TensorFlow looks the cubic up in a table of 1024 steps;
    - "lanczos3" and "lanczos5", which its torch backend lacks, are the same on JAX.

    Integers are rounded, and kept within their type, where TensorFlow lets the largest ones of
    32 and 64 bits wrap around. They and half types are computed in float32.

    Args:
        size: The factors for height and width: an integer for both, or two.
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        interpolation: "nearest", which repeats, or "bilinear", "bicubic", "lanczos3" or
            "lanczos5"; in any case. The last three are matrix products along each axis, so that
            a number that is not finite spreads over its channel of its image.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: the same with height and width times their factors.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> UpSampling2D((1, 2))(torch.arange(4).reshape(1, 2, 2, 1))[0, ..., 0]
        tensor([[0, 0, 1, 1],
                [2, 2, 3, 3]])
        >>> layer = UpSampling2D((1, 2), interpolation="bicubic")
        >>> layer(torch.tensor([0.0, 4.0, 4.0]).reshape(1, 1, 3, 1)).flatten()
        tensor([-0.3529,  0.7591,  3.1145,  4.2748,  4.0876,  4.0000])
    """

    rank = 2

    def __init__(
        self,
        size: Integers = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.data_format = data_format_of(owner, data_format)
        self.size = arguments_module.positive_integers(owner, "size", size, self.rank)
        self.interpolation = arguments_module.choice(
            owner, "interpolation", interpolation, _INTERPOLATIONS
        )

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.size, strict=True)
        return tuple(None if n is None else n * factor for n, factor in axes)

    def _compute(self, x: Tensor) -> Tensor:
        return self._repeated(x) if self.interpolation == "nearest" else self._between(x)

    def _repeated(self, x: Tensor) -> Tensor:
        """Repeat each row and column, with one copy and for any type of numbers."""
        before, sizes, after = self._split(x.shape)
        apart = [n for size in sizes for n in (size, 1)]
        many = [n for pair in zip(sizes, self.size, strict=True) for n in pair]
        new = self._new_sizes("inputs", (), sizes)
        wide: Any = x.reshape(*before, *apart, *after).expand(*before, *many, *after)  # type: ignore[arg-type]
        repeated: Tensor = wide.reshape(*before, *new, *after)
        return repeated

    def _between(self, x: Tensor) -> Tensor:
        """Interpolate between the centres of the pixels; integers are rounded, as in Keras."""
        exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
        y = self._bilinear(exact) if self.interpolation == "bilinear" else self._resampled(exact)
        if exact is x:
            return y
        if x.dtype is torch.bool:
            return y.bool()
        if not x.is_floating_point():
            least, most = torch.iinfo(x.dtype).min, torch.iinfo(x.dtype).max
            whole = y.round().clamp(min=least).to(x.dtype)
            return torch.where(y >= most, most, whole)  # as a float, `most` may be beyond the type
        if self.interpolation != "bilinear":  # only that one stays between the pixels
            y = y.clamp(torch.finfo(x.dtype).min, torch.finfo(x.dtype).max)
        return y.to(x.dtype)

    def _bilinear(self, x: Tensor) -> Tensor:
        sizes: Any = self._new_sizes("inputs", (), self._split(x.shape)[1])
        last = self.data_format == "channels_last"
        x = axes_moved(x, CHANNELS_FIRST[2]) if last else x
        y = F.interpolate(x, sizes, mode="bilinear", align_corners=False)
        return axes_moved(y, CHANNELS_LAST[2]) if last else y

    def _resampled(self, x: Tensor) -> Tensor:
        height, width = self.size
        if under_autocast(x.device.type):  # which leaves torch's own interpolation alone, too
            with torch.autocast(x.device.type, enabled=False):
                return resampled(x, self.interpolation, (height, width), self._first_axis)
        return resampled(x, self.interpolation, (height, width), self._first_axis)
