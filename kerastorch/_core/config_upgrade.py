"""Layer configs of Keras 1 in the words of Keras 2 and 3, where only the words differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

_WORDS = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "bias": "use_bias",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "output_dim": "units",
    "p": "rate",
    "gamma_init": "gamma_initializer",
    "beta_init": "beta_initializer",
}
_INITIALIZERS = {"normal": "random_normal", "uniform": "random_uniform"}
_FORMATS = {"tf": "channels_last", "th": "channels_first"}
# The layers that are renamed here, and the words of Keras 1 by which their configs are told.
_LAYERS = {
    "Convolution2D": ("nb_filter",),
    "Dense": ("output_dim",),
    "Dropout": ("p",),
    "BatchNormalization": ("mode", "gamma_init"),
    "MaxPooling2D": ("border_mode",),
    "AveragePooling2D": ("border_mode",),
    "ZeroPadding2D": ("dim_ordering",),
    "UpSampling2D": ("dim_ordering",),
    "Cropping2D": ("dim_ordering",),
    "GlobalAveragePooling2D": ("dim_ordering",),
    "GlobalMaxPooling2D": ("dim_ordering",),
    "SpatialDropout2D": ("p",),
}


def modernised(class_name: str, config: Config) -> tuple[str, Config]:
    """Return a layer's class and config in the words of Keras 2 and 3.

    Args:
        class_name: The class.
        config: Its config, of any Keras; it is left as it is.

    Raises:
        ValueError: Keras 1 wrote it, and its layer was another one than today's.
    """
    if not any(word in config for word in ("input_dtype", *_LAYERS.get(class_name, ()))):
        return class_name, config
    found = {_WORDS.get(key, key): value for key, value in config.items()}
    _require(found.pop("mode", 0) == 0, class_name, "mode", 0)
    if "dim_ordering" in found:
        given = found.pop("dim_ordering")
        _require(given in _FORMATS, class_name, "dim_ordering", "'tf' or 'th'")
        found["data_format"] = _FORMATS[given]
    if "nb_row" in found:
        found["kernel_size"] = (found.pop("nb_row", None), found.pop("nb_col", None))
    for key in [key for key in found if key.endswith("_initializer")]:
        if isinstance(found[key], str):
            found[key] = _INITIALIZERS.get(found[key], found[key])
    _require(
        found.pop("activity_regularizer", None) is None, class_name, "activity_regularizer", None
    )
    for key in [key for key in found if key.endswith("_regularizer")]:
        found[key] = _regularizer(found[key], class_name)
    found.pop("input_dim", None)
    kind = found.pop("input_dtype", None)
    if kind is not None:
        found["dtype"] = kind
    return class_name, found


def _regularizer(given: Any, class_name: str) -> Any:
    """Return a regularizer's config, in which Keras 1 has the name beside the factors."""
    if not isinstance(given, Mapping) or "name" not in given:
        return given
    factors = {key: given.get(key, 0.0) for key in ("l1", "l2")}
    _require(given["name"] in ("L1L2Regularizer", "WeightRegularizer"), class_name, "name", "L1L2")
    return {"class_name": "L1L2", "config": factors}


def _require(good: bool, class_name: str, argument: str, rule: object) -> None:
    if not good:
        raise ValueError(
            f"the `{argument}` of a {class_name} of Keras 1 must be {rule}. Rebuild the model in "
            "PyTorch, and load the weights with `load_weights`."
        )
