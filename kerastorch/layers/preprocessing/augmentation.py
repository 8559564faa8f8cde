"""Augmentation: the base of the layers that change images at random in training alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..base.config import COMMON
from ..base.stateless import StatelessLayer, resolve_data_format
from ..base.weights import Sizes

Check = Callable[[Any, str, Any], Any]  # layer, argument, value -> the value that is kept

RANGE_RULE = "a list or tuple of the least and the largest value"


class ImageLayer(StatelessLayer):
    """A layer over one image or a batch of them, with Keras's arguments for all such layers.

    In Keras 2 integers become the compute dtype, and the channels are last.
    """

    differs_in_keras_2 = True
    _least_rank = 3
    _shape_arguments = ("data_format",)
    _omit_config_if_unset = ("activity_regularizer", "bounding_box_format")
    _checks: ClassVar[Mapping[str, Check]] = {}  # of the arguments that are not kept as they are
    _config_order: ClassVar[tuple[str, ...]] = ()  # if it is not that of the constructor

    def __init__(
        self,
        *,
        data_format: str | None = None,
        bounding_box_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = resolve_data_format(type(self).__name__, data_format)
        self.bounding_box_format = bounding_box_format

    def _assign(self, **arguments: Any) -> None:
        """Check the constructor's arguments and keep them under their names."""
        for name, value in arguments.items():
            check = self._checks.get(name)
            setattr(self, name, value if check is None else check(self, name, value))

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with Keras's keys in its order; see `Layer.get_config`."""
        written = super().get_config(target)
        first = (*COMMON, "activity_regularizer", "data_format", "bounding_box_format")
        order = dict.fromkeys((*first, *self._config_order, *written))
        return {key: written[key] for key in order if key in written}

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3, with `keras_2` for one of Keras 2."""
        upgraded = super().upgrade_config(config)
        if upgraded.pop("rng_type", None) is not None:  # of the random layers of Keras 2
            upgraded["keras_2"] = True
        if upgraded.get("keras_2"):
            upgraded.setdefault("data_format", "channels_last")
        return upgraded

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        return self._casts_integers or self.keras_2

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        if not 3 <= len(shape) <= 4:
            self._refuse_shape(argument, "of 3 dimensions, or of 4 with the batch", shape)
        return tuple(shape)

    def _require_image(self, x: Tensor) -> None:
        if not 3 <= x.ndim <= 4:
            self._refuse_shape("inputs", "of 3 dimensions, or of 4 with the batch", x.shape)


class Augmentation(ImageLayer):
    """An image layer that outputs its input in evaluation, and refuses training.

    Augment the training data before it reaches the model, where torchvision has the transforms.
    """

    compute_layout = "any"
    depends_on_training_mode = True
    _in_training: ClassVar[str]  # torchvision's equivalent

    def _compute(self, x: Tensor) -> Tensor:
        if self.training:
            transform = f"torchvision.transforms.v2.{self._in_training}"
            remedy = (
                f"To train, apply {transform} to the data, and keep this layer in evaluation: call "
                "its `eval()` after the model's `train()`."
            )
            self._refuse_argument("training", "False", True, remedy)
        self._require_image(x)
        return x


# Checks of arguments


def check_seed(layer: Any, argument: str, value: Any) -> Any:
    """Require an integer or None."""
    if value is not None and not isinstance(value, int):
        layer._refuse_argument(argument, "an integer or None", value)
    return value


def check_range(layer: Any, argument: str, value: Any) -> list[Any]:
    """Return a pair of values, sorted."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        layer._refuse_argument(argument, RANGE_RULE, value)
    return sorted(value)


def check_span(least: float, most: float, default: Any = None) -> Check:
    """Return the check of a factor that is kept as the pair of its bounds."""
    rule = f"a number from {least} to {most}, or a pair of them"

    def check(layer: Any, argument: str, value: Any) -> tuple[Any, Any]:
        value = default if value is None else value
        if isinstance(value, (list, tuple)):
            if len(value) != 2 or value[0] > most or value[1] < least:
                layer._refuse_argument(argument, rule, value)
            lower, upper = sorted(value)
            return lower, upper
        if not isinstance(value, (int, float)) or not least <= value <= most:
            layer._refuse_argument(argument, rule, value)
        return max(-abs(value), least), abs(value)

    return check


def check_numbers(is_valid: Callable[[Any], bool], rule: str, optional: bool = False) -> Check:
    """Return the check of a factor that is kept as it is: one valid number, or a pair of them."""

    def check(layer: Any, argument: str, value: Any) -> Any:
        if value is None and optional:
            return value
        pair = value if isinstance(value, (list, tuple)) else (value, value)
        if len(pair) != 2 or not all(isinstance(n, (int, float)) and is_valid(n) for n in pair):
            layer._refuse_argument(argument, f"{rule}, or a pair of them", value)
        return value

    return check


def check_choice(*allowed: str) -> Check:
    """Return the check of a word."""

    def check(layer: Any, argument: str, value: Any) -> Any:
        if value not in allowed:
            rule = " or ".join(map(repr, allowed))
            layer._refuse_argument(argument, rule, value, error=NotImplementedError)
        return value

    return check


FILL_MODE = check_choice("reflect", "wrap", "constant", "nearest")
INTERPOLATION = check_choice("nearest", "bilinear")
