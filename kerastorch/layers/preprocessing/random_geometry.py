"""Random flips, rotations and the like of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..._core.registry import keras_layer
from .augmentation import (
    FILL_MODE,
    INTERPOLATION,
    Augmentation,
    check_choice,
    check_numbers,
    check_seed,
    check_span,
)

__all__ = [
    *("RandomElasticTransform", "RandomFlip", "RandomPerspective", "RandomRotation"),
    *("RandomShear", "RandomTranslation", "RandomZoom"),
]

Factor = float | Sequence[float]

_PLACED: dict[str, Any] = {
    "seed": check_seed,
    "fill_mode": FILL_MODE,
    "interpolation": INTERPOLATION,
}
_FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


class _Geometry(Augmentation):
    """An augmentation that moves pixels; integers are cast to the compute dtype."""

    _casts_integers = True


def _check_mode(layer: Any, argument: str, value: Any) -> Any:
    if value not in _FLIPS:
        layer._refuse_argument(argument, " or ".join(map(repr, _FLIPS)), value)
    return value


@keras_layer()
class RandomFlip(_Geometry):
    """Flips images at random in training; outputs its input in evaluation.

    Same as `keras.layers.RandomFlip` in evaluation; training is refused. A dict of images, labels
    and boxes is refused, too. Integers become the layer's compute dtype.

    Args:
        mode: "horizontal", "vertical" or "horizontal_and_vertical".
        seed: An integer, or None; unused.
        data_format: "channels_last" or "channels_first"; by default that of `kerastorch.config`.
        **kwargs: `bounding_box_format`, `name`, `dtype`, `trainable`, `autocast`,
            `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: (batch, height, width, channels), or with "channels_first" (batch,
          channels, height, width); the batch may be missing.

    Raises:
        ValueError: An argument is invalid, or the layer is in training.
        NotImplementedError: A `fill_mode` or an `interpolation` is not known.

    Example:
        >>> import torch
        >>> RandomFlip().eval()(torch.arange(4).reshape(2, 2, 1))[..., 0]
        tensor([[0., 1.],
                [2., 3.]])
    """

    _in_training = "RandomHorizontalFlip and RandomVerticalFlip"
    _checks: ClassVar = {"seed": check_seed, "mode": _check_mode}
    _config_order = ("seed", "mode")

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(mode=mode, seed=seed)


@keras_layer()
class RandomRotation(_Geometry):
    """Rotates images at random in training; see `RandomFlip`.

    Args:
        factor: The largest angle, of 2 pi, in either direction, or a pair of both.
        fill_mode: "reflect", "wrap", "constant" or "nearest".
        interpolation: "nearest" or "bilinear".
        seed, **kwargs: As in `RandomFlip`.
        fill_value: The value outside the image.
    """

    _in_training = "RandomRotation"
    _checks: ClassVar = {**_PLACED, "factor": check_span(-1, 1, default=0.0)}
    _config_order = ("factor", "fill_mode", "fill_value", "interpolation", "seed")

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        placed = {"fill_mode": fill_mode, "fill_value": fill_value, "interpolation": interpolation}
        self._assign(factor=factor, seed=seed, **placed)


@keras_layer()
class RandomZoom(_Geometry):
    """Zooms images at random in training; see `RandomFlip`.

    Args:
        height_factor: The largest zoom, from -1 to 1, or a pair of both.
        width_factor: The same for the width; None for that of the height.
        fill_mode, interpolation, seed, fill_value, **kwargs: As in `RandomRotation`.
    """

    _in_training = "RandomAffine (`scale`)"
    _checks: ClassVar = {
        **_PLACED,
        "height_factor": check_numbers(lambda n: -1 < n <= 1, "a number above -1 and up to 1"),
        "width_factor": check_numbers(
            lambda n: -1 < n <= 1, "a number above -1 and up to 1", optional=True
        ),
    }

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        placed = {"fill_mode": fill_mode, "fill_value": fill_value, "interpolation": interpolation}
        self._assign(height_factor=height_factor, width_factor=width_factor, seed=seed, **placed)


@keras_layer()
class RandomTranslation(_Geometry):
    """Shifts images at random in training; see `RandomFlip`.

    Args:
        height_factor: The largest shift, of the height, in either direction, or a pair of both.
        width_factor: The same of the width.
        fill_mode, interpolation, seed, fill_value, **kwargs: As in `RandomRotation`.
    """

    _in_training = "RandomAffine (`translate`)"
    _checks: ClassVar = {
        **_PLACED,
        "height_factor": check_numbers(lambda n: -1 <= n <= 1, "a number from -1 to 1"),
        "width_factor": check_numbers(lambda n: -1 <= n <= 1, "a number from -1 to 1"),
    }

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        placed = {"fill_mode": fill_mode, "fill_value": fill_value, "interpolation": interpolation}
        self._assign(height_factor=height_factor, width_factor=width_factor, seed=seed, **placed)


def _check_shear(layer: Any, argument: str, value: Any) -> tuple[Any, Any]:
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == -value[1]:
        value = value[1]  # Keras writes a number so, and refuses to read it
    check_numbers(lambda n: 0 <= n <= 1, "a number from 0 to 1")(layer, argument, value)
    if isinstance(value, (list, tuple)):
        lower, upper = sorted(value)
        return lower, upper
    return -value, value


@keras_layer()
class RandomShear(_Geometry):
    """Shears images at random in training; see `RandomFlip`.

    Args:
        x_factor: The largest shear along the width, from 0 to 1, or a pair of bounds.
        y_factor: The same along the height.
        interpolation, fill_mode, fill_value, seed, **kwargs: As in `RandomRotation`.
    """

    _in_training = "RandomAffine (`shear`)"
    _checks: ClassVar = {**_PLACED, "x_factor": _check_shear, "y_factor": _check_shear}
    _config_order = ("x_factor", "y_factor", "fill_mode", "interpolation", "seed", "fill_value")

    def __init__(
        self,
        x_factor: Factor = 0.0,
        y_factor: Factor = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        placed = {"fill_mode": fill_mode, "fill_value": fill_value, "interpolation": interpolation}
        self._assign(x_factor=x_factor, y_factor=y_factor, seed=seed, **placed)


@keras_layer()
class RandomElasticTransform(_Geometry):
    """Distorts images at random in training; see `RandomFlip`.

    Args:
        factor: The probability, or a pair of bounds of it.
        scale: The strength, from 0 to 1, or a pair of bounds.
        interpolation, fill_value, seed, data_format, **kwargs: As in `RandomRotation`.
        fill_mode: As in `RandomRotation`, or "mirror".
        value_range: The least and the largest value of a pixel.
    """

    _in_training = "ElasticTransform"
    _checks: ClassVar = {
        **_PLACED,
        "factor": check_span(0, 1),
        "scale": check_span(0, 1),
        "fill_mode": check_choice("constant", "nearest", "wrap", "mirror", "reflect"),
    }

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        placed = {"fill_mode": fill_mode, "fill_value": fill_value, "interpolation": interpolation}
        self._assign(factor=factor, scale=scale, value_range=value_range, seed=seed, **placed)


def _check_scale(layer: Any, argument: str, value: Any) -> Any:
    layer._require(argument, "a number from 0 to 1", value, lambda n: 0 <= n <= 1)
    return value


@keras_layer()
class RandomPerspective(_Geometry):
    """Changes the perspective of images at random in training; see `RandomFlip`.

    Args:
        factor: The probability, or a pair of bounds of it.
        scale: The strength, from 0 to 1.
        interpolation, fill_value, seed, data_format, **kwargs: As in `RandomRotation`.
    """

    _in_training = "RandomPerspective"
    _checks: ClassVar = {**_PLACED, "factor": check_span(0, 1), "scale": _check_scale}

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(factor=factor, scale=scale, interpolation=interpolation)
        self._assign(fill_value=fill_value, seed=seed)
