"""Resizing, CenterCrop and RandomCrop: images of one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..._core.arguments import as_choice, as_positive_int
from ..._core.registry import keras_layer
from ..._ops.resize import IN_KERAS_2, RADII, resize, round_to
from ..._ops.tracing import is_tracing
from ..._ops.window_arithmetic import larger, smaller
from ..base.weights import Sizes
from .augmentation import Augmentation, ImageLayer, check_seed

__all__ = ["CenterCrop", "RandomCrop", "Resizing"]

_INTERPOLATIONS = ("nearest", "bilinear", *RADII, "area")


class _Sized(ImageLayer):
    """An image layer with a height and a width."""

    height: int
    width: int

    def _assign_size(self, height: Any, width: Any) -> None:
        owner = type(self).__name__
        self.height = as_positive_int(owner, "height", height)
        self.width = as_positive_int(owner, "width", width)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3, with `keras_2` for one of Keras 2."""
        written = "data_format" in config  # by Keras 3, not by Keras 2
        return super().upgrade_config(config if written else {**config, "keras_2": True})

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        sizes: list[int | None] = list(super()._output_shape(shape, argument))
        first = self._find_height(len(sizes))
        sizes[first : first + 2] = self.height, self.width
        return tuple(sizes)

    def _require_pixels(self, x: Tensor) -> None:
        """Refuse an image of which there is nothing to resize."""
        self._require_image(x)
        first = self._find_height(x.ndim)
        if not is_tracing() and 0 in x.shape[first : first + 2]:
            self._refuse_shape("inputs", "of a height and a width of 1 at least", x.shape)

    def _find_height(self, rank: int) -> int:
        """Return the axis of the height; that of the width follows."""
        return rank - (3 if self.data_format == "channels_last" else 2)

    def _resize(self, x: Tensor, kind: str = "bilinear", antialias: bool = False) -> Tensor:
        """Resize images of any dtype; integers become floats but for "nearest"."""
        batch = x if x.ndim == 4 else x.unsqueeze(0)
        exact = kind == "nearest" or batch.dtype in (torch.float32, torch.float64)
        batch = batch if exact else batch.float()
        y = resize(batch, (self.height, self.width), kind, self._find_height(4), antialias)
        return y if x.ndim == 4 else y.squeeze(0)

    def _crop_to_aspect(self, x: Tensor) -> Tensor:
        """Cut out the largest window in the middle that has the new aspect ratio."""
        first = self._find_height(x.ndim)
        height, width = x.shape[first : first + 2]
        new_height = larger(smaller(height, width * self.height // self.width), 1)
        new_width = larger(smaller(width, height * self.width // self.height), 1)
        return self._crop(x, new_height, new_width)

    def _crop(self, x: Tensor, height: int, width: int) -> Tensor:
        """Cut out a window in the middle."""
        first = self._find_height(x.ndim)
        above = (x.shape[first] - height) // 2
        left = (x.shape[first + 1] - width) // 2
        window = (slice(above, above + height), slice(left, left + width))
        return x[(slice(None),) * first + window]


@keras_layer()
class Resizing(_Sized):
    """Resizes images.

    Same as `keras.layers.Resizing`, with TensorFlow's values where Keras's backends disagree: see
    `UpSampling2D`, of which the interpolations are. Integers are rounded and clamped to their
    dtype, except in a layer of Keras 2, where they become the layer's compute dtype.

    Args:
        height: The new height.
        width: The new width.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3", "lanczos5" or "area", which
            Keras has on TensorFlow alone; in a config of Keras 2 "gaussian" or "mitchellcubic",
            too. Upper case is accepted.
        crop_to_aspect_ratio: Whether to crop the image to the new aspect ratio first.
        pad_to_aspect_ratio: Whether to pad the image to the new aspect ratio first.
        fill_mode: "constant".
        fill_value: The value to pad with.
        antialias: Whether the kernel is widened where the image shrinks; not of "nearest" and
            "area".
        data_format: As in `RandomFlip`.
        **kwargs: As in `RandomFlip`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first" (batch, channels,
          height, width); the batch may be missing.
        - Output: the same with the new height and width.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> Resizing(1, 2)(torch.arange(8.0).reshape(2, 4, 1))[..., 0]
        tensor([[2.5000, 4.5000]])
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign_size(height, width)
        owner = type(self).__name__
        allowed = (*_INTERPOLATIONS, *IN_KERAS_2) if self.keras_2 else _INTERPOLATIONS
        self.interpolation = as_choice(owner, "interpolation", interpolation, allowed)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            rule = "False with `crop_to_aspect_ratio`"
            self._refuse_argument("pad_to_aspect_ratio", rule, pad_to_aspect_ratio)
        if fill_mode != "constant":
            self._refuse_argument("fill_mode", "'constant'", fill_mode)
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_mode, self.fill_value = fill_mode, fill_value
        self.antialias = bool(antialias)

    def _compute(self, x: Tensor) -> Tensor:
        self._require_pixels(x)
        dtype = x.dtype
        if self.crop_to_aspect_ratio:
            x = self._crop_to_aspect(x)
        elif self.pad_to_aspect_ratio:
            x = self._pad_to_aspect(x)
        y = self._resize(x, self.interpolation, self.antialias)
        return y if y.dtype is dtype else round_to(y, dtype)

    def _pad_to_aspect(self, x: Tensor) -> Tensor:
        """Add the same on both sides, so that the aspect ratio is about the new one."""
        first = self._find_height(x.ndim)
        height, width = x.shape[first : first + 2]
        new_height = larger(height, width * self.height // self.width)
        new_width = larger(width, height * self.width // self.height)
        above, left = (new_height - height) // 2, (new_width - width) // 2
        after = (0, 0) if self.data_format == "channels_last" else ()
        if not x.is_floating_point():
            x = x.float()  # as Keras on torch: a fill value may be no integer
        return F.pad(x, (*after, left, left, above, above), value=self.fill_value)


@keras_layer()
class CenterCrop(_Sized):
    """Crops the middle of images; resizes smaller ones.

    Same as `keras.layers.CenterCrop`: if either side is too small, the largest window that has the
    new aspect ratio is resized bilinearly. Integers become the layer's compute dtype.

    Args:
        height, width, data_format, **kwargs: As in `Resizing`.

    Shape:
        - Input and output: as in `Resizing`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> CenterCrop(1, 2)(torch.arange(12).reshape(3, 4, 1))[..., 0]
        tensor([[5., 6.]])
    """

    _casts_integers = True

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign_size(height, width)

    def _compute(self, x: Tensor) -> Tensor:
        self._require_pixels(x)
        first = self._find_height(x.ndim)
        if x.shape[first] >= self.height and x.shape[first + 1] >= self.width:
            return self._crop(x, self.height, self.width)
        return self._resize(self._crop_to_aspect(x)).to(x.dtype)


@keras_layer()
class RandomCrop(_Sized, Augmentation):
    """Crops images at random in training; outputs its input in evaluation, of any size.

    Same as `keras.layers.RandomCrop` of Keras 3.15 in evaluation: the input keeps its size and its
    dtype, whatever `compute_output_shape` says. In a file of Keras 2 or of Keras 3.0 to 3.5, and in
    a config of Keras 2, it resizes in evaluation: the largest window that has the new aspect ratio,
    bilinearly, in the layer's compute dtype. A file of Keras 3.6 or 3.7, which cut out other
    windows, is refused, and so is training. Without a `seed` the config has None, where Keras
    writes a random integer.

    Args:
        height, width, data_format: As in `Resizing`.
        seed, **kwargs: As in `RandomFlip`.
        name: The layer's name.

    Shape:
        - Input and output: as in `Resizing`.

    Raises:
        ValueError: An argument is invalid, or the layer is in training.
    """

    compute_layout = "as_given"
    _in_training = "RandomCrop"
    _checks: ClassVar = {"seed": check_seed}

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, name=name, **kwargs)
        self._assign_size(height, width)
        self._assign(seed=seed)

    @classmethod
    def upgrade_config_of_keras_3(cls, config: dict[str, Any], minor: int) -> dict[str, Any]:
        """Add `keras_2` for Keras 3.0 to 3.5, which resize in evaluation, too."""
        if minor in (6, 7):
            raise ValueError(
                f"the RandomCrop of Keras 3.{minor} cut out other windows in evaluation than all "
                "other versions; not supported"
            )
        return {**config, "keras_2": True} if minor < 6 else config

    def _prepare_input(self, inputs: Any) -> Tensor:
        x: Tensor = super()._prepare_input(inputs) if self.keras_2 else self._as_tensor(inputs)
        if x.is_complex():
            self._refuse_argument("inputs", "a tensor of real numbers", x.dtype)
        return x

    def _compute(self, x: Tensor) -> Tensor:
        x = super()._compute(x)
        if not self.keras_2:
            return x
        self._require_pixels(x)
        return self._resize(self._crop_to_aspect(x)).to(x.dtype)
