"""Upgrades of layer configs from Keras 1 and 2 to 3, and downgrades to earlier Keras 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import argument_error

Config = dict[str, Any]

NEWEST = (3, 15)
_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}
_REGULARIZERS = ("L1L2Regularizer", "WeightRegularizer")


def upgrade_config(
    class_name: str, config: Mapping[str, Any], renamed: Mapping[str, str]
) -> Config:
    """Return a layer's config of any Keras as Keras 3 writes it, where only the names differ.

    `renamed` maps the class's argument names in Keras 1 or 2 to those in Keras 3.
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


def read_standalone_version(version: str | None) -> tuple[int, int] | None:
    """Return the version of a Keras before 2.4 without its patch, None for another one.

    TensorFlow's own Keras marked its versions, as "2.2.4-tf", until later ones were the only Keras.
    """
    found = re.fullmatch(r"([12])\.(\d{1,4})(\.\d+)*", version or "")
    numbers = (int(found[1]), int(found[2])) if found else (3, 0)
    return numbers if numbers < (2, 4) else None


def require_keras_1(good: bool, class_name: str, argument: str, rule: object) -> None:
    """Raise ValueError unless an argument of Keras 1 is one that later versions compute, too."""
    if not good:
        raise ValueError(
            f"the `{argument}` of a {class_name} of Keras 1 must be {rule}. Rebuild the model in "
            "PyTorch, and load the weights with `load_weights`."
        )


def _upgrade_regularizer(class_name: str, argument: str, given: Mapping[str, Any]) -> Config:
    """Return the config of a regularizer of Keras 1, which holds its name next to the factors."""
    require_keras_1(argument != "activity_regularizer", class_name, argument, None)
    require_keras_1(given["name"] in _REGULARIZERS, class_name, "name", "L1L2")
    factors = {key: given.get(key, 0.0) for key in ("l1", "l2")}
    return {"class_name": "L1L2", "config": factors}


def downgrade_config(config: Config, target: str) -> Config:
    """Return a layer's config of Keras 3.15 as Keras `target`, "3.0" to "3.15", reads it.

    Keras 3.15 added `input_axes` and `output_axes` to initializers, 3.13 `quantization_config`,
    3.10 `lora_alpha`, 3.7 named OrthogonalInitializer Orthogonal, and 3.4 made `dtype` a dict.
    """
    version = _parse_version(target)
    written = dict(config)
    if version < (3, 4) and isinstance(config.get("dtype"), dict):
        written["dtype"] = config["dtype"]["config"]["name"]
    rank = config.get("lora_rank")
    added = ((13, "quantization_config", None), (10, "lora_alpha", rank), (3, "lora_rank", None))
    for minor, key, default in added:
        if version < (3, minor):
            _drop(written, key, default, target)
    for argument, value in written.items():
        if argument.endswith("_initializer") and isinstance(value, dict):
            written[argument] = _downgrade_initializer(value, version, target)
    return written


def drop_newer(config: Config, since: int, key: str, default: object, target: str | None) -> None:
    """Remove a key that Keras has since 3.`since` from a config for an earlier one."""
    if target is not None and _parse_version(target) < (3, since):
        _drop(config, key, default, target)


def _downgrade_initializer(config: Config, version: tuple[int, int], target: str) -> Config:
    written = dict(config)
    if isinstance(config["config"], dict) and version < (3, 15):
        written["config"] = dict(config["config"])
        for axes in ("input_axes", "output_axes"):
            _drop(written["config"], axes, None, target)
    if version < (3, 7) and config["class_name"] == "Orthogonal":
        written["class_name"] = "OrthogonalInitializer"
    return written


def _drop(config: Config, key: str, default: object, target: str) -> None:
    """Remove a key that Keras `target` does not know, if its value is the default."""
    if config.get(key, default) != default:
        rule = f"{default!r} for Keras {target}, which does not know it"
        raise ValueError(argument_error("get_config", key, rule, config[key]))
    config.pop(key, None)


def _parse_version(target: Any) -> tuple[int, int]:
    text = target if isinstance(target, str) else ""
    found = re.fullmatch(r"([0-9]+)\.([0-9]+)(\.[0-9]+)*", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (3, 0) <= version <= NEWEST:
        rule = 'a version of Keras from "3.0" to "3.15"'
        raise ValueError(argument_error("get_config", "target", rule, target))
    return version
