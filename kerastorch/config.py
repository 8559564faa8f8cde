"""The process-wide defaults of `keras.config`.

The file `keras.json` in the folder `KERAS_HOME`, else in `~/.keras`, is only read, on first use.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from ._core.arguments import as_choice, as_number
from ._core.errors import argument_error

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_LAYOUTS = ("channels_last", "channels_first")
_DEFAULTS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
_settings: dict[str, Any] = {}


def floatx() -> str:
    """Return the default `dtype` of layers.

    >>> floatx()
    'float32'
    """
    return str(_read_settings()["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float type: "bfloat16", "float16", "float32" or "float64".

    Raises:
        ValueError: `value` is none of these.
    """
    _read_settings()["floatx"] = _require_one_of(_FLOATS, "set_floatx", "value", value)


def epsilon() -> float:
    """Return the small constant that constraints add to a norm before dividing by it.

    >>> epsilon()
    1e-07
    """
    return float(_read_settings()["epsilon"])


def set_epsilon(value: float) -> None:
    """Set the small constant that constraints add to a norm.

    Raises:
        ValueError: `value` is not a finite number.
    """
    _read_settings()["epsilon"] = _require_finite("set_epsilon", "value", value)


def image_data_format() -> str:
    """Return the default `data_format` of layers.

    >>> image_data_format()
    'channels_last'
    """
    return str(_read_settings()["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the default `data_format`: "channels_last" or "channels_first", in any case.

    Raises:
        ValueError: `data_format` is neither.
    """
    found = as_choice("set_image_data_format", "data_format", data_format, _LAYOUTS)
    _read_settings()["image_data_format"] = found


def _read_settings() -> dict[str, Any]:
    """Return the settings, which the first use reads from `keras.json`; a wrong value raises."""
    if _settings:
        return _settings
    path = Path(os.environ.get("KERAS_HOME") or "~/.keras") / "keras.json"
    try:
        path = path.expanduser()
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory is known
        found = None  # in Keras, too, what is not JSON counts as absent
    owner, given = str(path), _DEFAULTS | (found if isinstance(found, dict) else {})
    layout = given["image_data_format"]
    _settings.update(
        floatx=_require_one_of(_FLOATS, owner, "floatx", given["floatx"]),
        epsilon=_require_finite(owner, "epsilon", given["epsilon"]),
        image_data_format=_require_one_of(_LAYOUTS, owner, "image_data_format", layout),
    )
    return _settings


def _require_finite(owner: str, argument: str, value: Any) -> float:
    return as_number(owner, argument, value, "a finite number", least=-math.inf)


def _require_one_of(allowed: tuple[str, ...], owner: str, argument: str, value: Any) -> str:
    if value not in allowed:
        raise ValueError(argument_error(owner, argument, " or ".join(map(repr, allowed)), value))
    return str(value)
