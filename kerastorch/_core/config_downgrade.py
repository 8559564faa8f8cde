"""Layer configs in the words of earlier versions of Keras 3. Plain Python."""

from __future__ import annotations

import re
from typing import Any

from .errors import problem

Config = dict[str, Any]
NEWEST = (3, 15)


def as_read_by(config: Config, target: str) -> Config:
    """Return a layer's config as the Keras of version `target` reads it.

    Keras 3.15 added `input_axes` and `output_axes` to initializers, 3.13 `quantization_config`,
    3.10 `lora_alpha`, 3.7 named OrthogonalInitializer Orthogonal, and 3.4 made `dtype` a dict.

    Args:
        config: A layer's config as Keras 3.15 has it.
        target: "3.0" to "3.15".

    Raises:
        ValueError: there is no such version, or the config uses what came after it.
    """
    version = _version(target)
    written = dict(config)
    if version < (3, 4) and isinstance(config.get("dtype"), dict):
        written["dtype"] = config["dtype"]["config"]["name"]
    if version < (3, 13) and "quantization_config" in config:
        _drop(written, "quantization_config", None, target)
    if version < (3, 10) and "lora_alpha" in config:
        _drop(written, "lora_alpha", config["lora_rank"], target)
    if version < (3, 3) and "lora_rank" in config:
        _drop(written, "lora_rank", None, target)
    for argument, value in written.items():
        if argument.endswith("_initializer") and isinstance(value, dict):
            written[argument] = _initializer(value, version, target)
    return written


def _initializer(config: Config, version: tuple[int, int], target: str) -> Config:
    written = {**config, "config": config["config"]}
    if isinstance(config["config"], dict):
        written["config"] = dict(config["config"])
        if version < (3, 15):
            for axes in ("input_axes", "output_axes"):
                if axes in written["config"]:
                    _drop(written["config"], axes, None, target)
    if version < (3, 7) and config["class_name"] == "Orthogonal":
        written["class_name"] = "OrthogonalInitializer"
    return written


def _drop(config: Config, key: str, default: object, target: str) -> None:
    if config[key] != default:
        rule = f"{default!r} for Keras {target}, which does not know it"
        raise ValueError(problem("get_config", key, rule, config[key]))
    del config[key]


def _version(target: Any) -> tuple[int, int]:
    found = (
        re.fullmatch(r"([0-9]+)\.([0-9]+)(\.[0-9]+)*", target) if isinstance(target, str) else None
    )
    if found:
        version = int(found[1]), int(found[2])
        if (3, 0) <= version <= NEWEST:
            return version
    rule = 'a version of Keras from "3.0" to "3.15"'
    raise ValueError(problem("get_config", "target", rule, target))
