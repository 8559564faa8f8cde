"""AutoContrast, Equalization and Solarization: maps of all values of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.registry import keras_layer
from .augmentation import Augmentation, ImageLayer, check_numbers, check_range, check_seed

__all__ = ["AutoContrast", "Equalization", "Solarization"]

Factor = float | Sequence[float]
Range = Sequence[float]


@keras_layer()
class AutoContrast(ImageLayer):
    """Stretches the values of each channel over the whole range.

    Same as `keras.layers.AutoContrast`. A channel of one value is kept. As in Keras, the extremes
    are those over the first two axes of an image, which with "channels_first" are the channels and
    the height. Integers become the layer's compute dtype.

    Args:
        value_range: The least and the largest value of a pixel.
        **kwargs: As in `RandomFlip`, `data_format` too.

    Shape:
        - Input and output: as in `RandomFlip`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> AutoContrast()(torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)).flatten()
        tensor([  0.0000, 127.5000, 255.0000])
    """

    _casts_integers = True
    _checks: ClassVar = {"value_range": check_range}
    value_range: list[float]
    fixed_arguments = ("value_range",)

    def __init__(self, value_range: Range = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._assign(value_range=value_range)

    def _compute(self, x: Tensor) -> Tensor:
        self._require_image(x)
        least, most = self.value_range
        images = (x if x.ndim == 4 else x.unsqueeze(0)).to(self._torch_dtype)
        is_whole = (least, most) == (0, 255)
        images = images if is_whole else (images - least) / (most - least) * 255.0
        low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
        scale = 255.0 / (high - low)
        y = (images * scale + -low * scale).clamp(0.0, 255.0)
        y = y if is_whole else y / 255.0 * (most - least) + least
        y = y if x.ndim == 4 else y.squeeze(0)
        return torch.where(y.isnan(), x, y)


def _check_fraction(layer: Any, argument: str, value: Any) -> tuple[Any, Any]:
    check_numbers(lambda n: 0 <= n <= 1, "a number from 0 to 1")(layer, argument, value)
    if isinstance(value, (list, tuple)):
        lower, upper = sorted(value)
        return lower, upper
    return 0, value


@keras_layer()
class Solarization(Augmentation):
    """Inverts the values above a random threshold in training; see `RandomContrast`.

    Integers become the layer's compute dtype.

    Args:
        addition_factor: The largest addition before that, from 0 to 1, or a pair of bounds.
        threshold_factor: The largest threshold, from 0 to 1, or a pair of bounds.
        value_range, seed, **kwargs: As in `RandomContrast`.
    """

    _in_training = "RandomSolarize"
    _casts_integers = True
    _checks: ClassVar = {
        "seed": check_seed,
        "value_range": check_range,
        "addition_factor": _check_fraction,
        "threshold_factor": _check_fraction,
    }
    _config_order = ("value_range", "addition_factor", "threshold_factor", "seed")

    def __init__(
        self,
        addition_factor: Factor = 0.0,
        threshold_factor: Factor = 0.0,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._assign(addition_factor=addition_factor, threshold_factor=threshold_factor)
        self._assign(value_range=value_range, seed=seed)


@keras_layer()
class Equalization(Augmentation):
    """Equalizes the histograms of the channels in training; see `RandomContrast`.

    Args:
        value_range, **kwargs: As in `RandomContrast`.
        bins: The number of bins of a histogram.
        data_format: As in `RandomFlip`.
    """

    _in_training = "RandomEqualize"
    _checks: ClassVar = {"value_range": check_range}
    _config_order = ("bins", "value_range")

    def __init__(
        self,
        value_range: Range = (0, 255),
        bins: int = 256,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(value_range=value_range, bins=bins)
