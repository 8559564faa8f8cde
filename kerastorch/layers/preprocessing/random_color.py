"""Random changes of the colors of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..._core.registry import keras_layer
from ..base.weights import Sizes
from .augmentation import Augmentation, check_numbers, check_range, check_seed, check_span

__all__ = [
    *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast"),
    *("RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert"),
    *("RandomPosterization", "RandomSaturation", "RandomSharpness"),
]

Factor = float | Sequence[float]
Range = Sequence[float]

_SEEDED: Mapping[str, Any] = {"seed": check_seed}
_RANGED: Mapping[str, Any] = {"seed": check_seed, "value_range": check_range}


@keras_layer()
class RandomContrast(Augmentation):
    """Changes the contrast at random in training; see `RandomFlip`.

    Integers are kept in their dtype.

    Args:
        factor: The largest change, from 0 to 1, or a pair of bounds.
        value_range: The least and the largest value of a pixel.
        seed, **kwargs: As in `RandomFlip`.
    """

    _in_training = "ColorJitter (`contrast`)"
    _checks: ClassVar = {**_SEEDED, "factor": check_span(0, 1)}

    def __init__(
        self,
        factor: Factor,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._assign(factor=factor, value_range=value_range, seed=seed)


@keras_layer()
class RandomBrightness(Augmentation):
    """Changes the brightness at random in training; see `RandomContrast`.

    Args:
        factor: The largest change, from -1 to 1, or a pair of bounds.
        value_range, seed, **kwargs: As in `RandomContrast`.
    """

    _in_training = "ColorJitter (`brightness`)"
    _checks: ClassVar = {**_RANGED, "factor": check_span(-1, 1, default=0.0)}

    def __init__(
        self,
        factor: Factor,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._assign(factor=factor, value_range=value_range, seed=seed)


class _Ranged(Augmentation):
    """An augmentation with a factor and a range of values."""

    def __init__(
        self,
        factor: Factor,
        value_range: Range = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(factor=factor, value_range=value_range, seed=seed)


@keras_layer()
class RandomHue(_Ranged):
    """Changes the hue at random in training; see `RandomContrast` for the arguments."""

    _in_training = "ColorJitter (`hue`)"
    _checks: ClassVar = {**_SEEDED, "factor": check_span(0, 1)}


@keras_layer()
class RandomSaturation(_Ranged):
    """Changes the saturation at random in training; see `RandomBrightness` for the arguments."""

    _in_training = "ColorJitter (`saturation`)"
    _checks: ClassVar = {**_RANGED, "factor": check_span(-1, 1)}


@keras_layer()
class RandomSharpness(_Ranged):
    """Changes the sharpness at random in training; see `RandomContrast` for the arguments.

    Integers become the layer's compute dtype.
    """

    _in_training = "RandomAdjustSharpness"
    _checks: ClassVar = {**_RANGED, "factor": check_span(0, 1)}
    _casts_integers = True


@keras_layer()
class RandomPosterization(_Ranged):
    """Drops bits of the colors at random in training; see `RandomContrast` for the arguments.

    `factor` is the number of bits that are kept, from 1 to 8, or a pair of bounds.
    """

    _in_training = "RandomPosterize"
    _checks: ClassVar = {**_RANGED, "factor": check_span(1, 8)}


@keras_layer()
class RandomColorDegeneration(_Ranged):
    """Fades colors to gray at random in training; see `RandomBrightness` for the arguments."""

    _in_training = "ColorJitter (`saturation`)"
    _checks: ClassVar = {**_RANGED, "factor": check_span(-1, 1)}

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        found: Sizes = super()._output_shape(shape, argument)
        if found[-1 if self.data_format == "channels_last" else -3] not in (None, 3):
            self._refuse_shape(argument, "a shape with 3 channels", shape)
        return found


def _check_optional(check: Any) -> Any:
    """Return a check of a factor that may be None, and is kept as it is."""

    def keep(layer: Any, argument: str, value: Any) -> Any:
        if value is not None:
            check(layer, argument, value)
        return value

    return keep


@keras_layer()
class RandomColorJitter(Augmentation):
    """Changes the colors at random in training; see `RandomContrast`.

    Args:
        value_range, seed, data_format, **kwargs: As in `RandomContrast`.
        brightness_factor: As `factor` in `RandomBrightness`; None for no change.
        contrast_factor: As `factor` in `RandomContrast`; None for no change.
        saturation_factor: As `factor` in `RandomSaturation`; None for no change.
        hue_factor: As `factor` in `RandomHue`; None for no change.
    """

    _in_training = "ColorJitter"
    _checks: ClassVar = {
        **_SEEDED,
        "brightness_factor": _check_optional(check_span(-1, 1)),
        "contrast_factor": _check_optional(check_span(0, 1)),
        "saturation_factor": _check_optional(check_span(-1, 1)),
        "hue_factor": _check_optional(check_span(0, 1)),
    }

    def __init__(
        self,
        value_range: Range = (0, 255),
        brightness_factor: Factor | None = None,
        contrast_factor: Factor | None = None,
        saturation_factor: Factor | None = None,
        hue_factor: Factor | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(value_range=value_range, seed=seed)
        self._assign(brightness_factor=brightness_factor, contrast_factor=contrast_factor)
        self._assign(saturation_factor=saturation_factor, hue_factor=hue_factor)


def _check_kernel_size(layer: Any, argument: str, value: Any) -> tuple[Any, Any]:
    check_numbers(lambda n: n % 2 == 1, "an odd number")(layer, argument, value)
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)


@keras_layer()
class RandomGaussianBlur(Augmentation):
    """Blurs images at random in training; see `RandomContrast`.

    Integers become the layer's compute dtype.

    Args:
        factor: The probability, or a pair of bounds of it.
        kernel_size: The height and width of the kernel: an odd number for both, or two.
        sigma: The strength, from 0 to 1, or a pair of bounds.
        value_range, data_format, seed, **kwargs: As in `RandomContrast`.
    """

    _in_training = "GaussianBlur"
    _casts_integers = True
    _checks: ClassVar = {
        **_SEEDED,
        "factor": check_span(0, 1),
        "kernel_size": _check_kernel_size,
        "sigma": check_span(0, 1),
    }

    def __init__(
        self,
        factor: Factor = 1.0,
        kernel_size: int | Sequence[int] = 3,
        sigma: Factor = 1.0,
        value_range: Range = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(factor=factor, kernel_size=kernel_size, sigma=sigma)
        self._assign(value_range=value_range, seed=seed)


@keras_layer()
class RandomGrayscale(Augmentation):
    """Makes images gray at random in training; see `RandomContrast`.

    As in Keras, the config has no `seed`.

    Args:
        factor: The probability.
        data_format, seed, **kwargs: As in `RandomContrast`.
    """

    _in_training = "RandomGrayscale"
    _checks: ClassVar = _SEEDED

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._require("factor", "a number from 0 to 1", factor, lambda n: 0 <= n <= 1)
        self._assign(factor=factor, seed=seed)

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config without the seed; see `Layer.get_config`."""
        return {key: value for key, value in super().get_config(target).items() if key != "seed"}


@keras_layer()
class RandomInvert(Augmentation):
    """Inverts the colors at random in training; see `RandomContrast`.

    Args:
        factor: The probability, or a pair of bounds of it.
        value_range, seed, data_format, **kwargs: As in `RandomContrast`.
    """

    _in_training = "RandomInvert"
    _checks: ClassVar = {**_SEEDED, "factor": check_span(0, 1)}

    def __init__(
        self,
        factor: Factor = 1.0,
        value_range: Range = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(factor=factor, value_range=value_range, seed=seed)
