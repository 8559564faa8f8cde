"""RandomHeight and RandomWidth of Keras 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..._core.registry import keras_layer
from .augmentation import Augmentation, check_seed

__all__ = ["RandomHeight", "RandomWidth"]

_INTERPOLATIONS = (
    *("area", "bicubic", "bilinear", "gaussian", "lanczos3", "lanczos5", "mitchellcubic"),
    "nearest",
)


def _check_factor(layer: Any, argument: str, value: Any) -> Any:
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    valid = len(pair) == 2 and all(isinstance(n, (int, float)) and n >= -1 for n in pair)
    if not valid or pair[0] > pair[1] or (pair is not value and value < 0):
        rule = "a number >= 0, or a pair of bounds >= -1"
        layer._refuse_argument(argument, rule, value)
    return value


def _check_interpolation(layer: Any, argument: str, value: Any) -> Any:
    if not isinstance(value, str) or value.lower() not in _INTERPOLATIONS:
        rule = " or ".join(map(repr, _INTERPOLATIONS))
        layer._refuse_argument(argument, rule, value, error=NotImplementedError)
    return value


class _Stretch(Augmentation):
    """An augmentation that changes the size of images; integers are kept."""

    differs_in_keras_2 = False  # Keras 3 lacks them
    _in_training = "RandomResize"
    _checks: ClassVar = {
        "seed": check_seed,
        "factor": _check_factor,
        "interpolation": _check_interpolation,
    }

    def __init__(
        self,
        factor: float | Sequence[float],
        interpolation: str = "bilinear",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._assign(factor=factor, interpolation=interpolation, seed=seed)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config without `rng_type`."""
        return {key: value for key, value in config.items() if key != "rng_type"}

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with the keys of Keras 2; see `Layer.get_config`."""
        written = super().get_config(target)
        return {key: value for key, value in written.items() if key != "data_format"}


@keras_layer(removed=True)
class RandomHeight(_Stretch):
    """Stretches images to a random height in training; see `RandomFlip`.

    Same as `keras.layers.RandomHeight` of Keras 2 in evaluation: the image keeps its height, which
    `compute_output_shape` returns, and integers their dtype. Keras 3 has no such layer.

    Args:
        factor: The largest change, of the height, in either direction, or a pair of both.
        interpolation: A method of `tf.image.resize`.
        seed, **kwargs: As in `RandomFlip`.
    """


@keras_layer(removed=True)
class RandomWidth(_Stretch):
    """Stretches images to a random width in training; see `RandomHeight`."""
