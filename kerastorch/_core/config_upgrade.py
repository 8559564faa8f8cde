"""Layer configs of Keras 1 and 2 in the words of Keras 3, where only the words differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}
_REGULARIZERS = ("L1L2Regularizer", "WeightRegularizer")


def upgrade_config(class_name: str, config: Config, renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return a layer's config as Keras 3 writes it.

    Args:
        class_name: The layer's class.
        config: Its config of any Keras; it is left as it is.
        renamed: The class's arguments of other names in Keras 1 or 2 -> their names in Keras 3.

    Raises:
        ValueError: Keras 1 computed something else.
    """
    upgraded = dict(config)
    for old, new in {**renamed, "input_dtype": "dtype"}.items():
        if old in upgraded and new not in upgraded:
            upgraded[new] = upgraded.pop(old)
    if "dim_ordering" in upgraded:
        given = upgraded.pop("dim_ordering")
        require_keras_1(given in _DATA_FORMATS, class_name, "dim_ordering", "'tf' or 'th'")
        upgraded["data_format"] = _DATA_FORMATS[given]
    for argument, value in upgraded.items():
        if isinstance(value, Mapping) and "name" in value and "class_name" not in value:
            upgraded[argument] = _upgrade_regularizer(class_name, argument, value)
    return upgraded


def require_keras_1(good: bool, class_name: str, argument: str, rule: object) -> None:
    """Raise where an argument of Keras 1 asks for what no later Keras computes.

    Raises:
        ValueError: it does.
    """
    if not good:
        raise ValueError(
            f"the `{argument}` of a {class_name} of Keras 1 must be {rule}. Rebuild the model in "
            "PyTorch, and load the weights with `load_weights`."
        )


def _upgrade_regularizer(class_name: str, argument: str, given: Config) -> dict[str, Any]:
    """Return a regularizer's config, in which Keras 1 has the name next to the factors."""
    require_keras_1(argument != "activity_regularizer", class_name, argument, None)
    require_keras_1(given["name"] in _REGULARIZERS, class_name, "name", "L1L2")
    factors = {key: given.get(key, 0.0) for key in ("l1", "l2")}
    return {"class_name": "L1L2", "config": factors}
