"""Process-wide defaults, as `keras.config` has them.

The file `keras.json` in the folder `KERAS_HOME`, else in `~/.keras`, is read on first use.
Nothing is ever written.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from ._core.arguments import choice, number
from ._core.errors import problem

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_LAYOUTS = ("channels_last", "channels_first")
_settings: dict[str, Any] = {}


def floatx() -> str:
    """Return the float type that layers use when they are given no `dtype`.

    >>> floatx()
    'float32'
    """
    return str(_get("floatx"))


def set_floatx(value: str) -> None:
    """Set the default float type: "bfloat16", "float16", "float32" or "float64".

    Raises:
        ValueError: `value` is none of these.
    """
    _settings_read()["floatx"] = _floatx("set_floatx", "value", value)


def epsilon() -> float:
    """Return the small number that constraints add to a norm before they divide by it.

    >>> epsilon()
    1e-07
    """
    return float(_get("epsilon"))


def set_epsilon(value: float) -> None:
    """Set the small number that constraints add to a norm.

    Raises:
        ValueError: `value` is not a finite number.
    """
    _settings_read()["epsilon"] = _epsilon("set_epsilon", "value", value)


def image_data_format() -> str:
    """Return the `data_format` of layers that are given none.

    >>> image_data_format()
    'channels_last'
    """
    return str(_get("image_data_format"))


def set_image_data_format(data_format: str) -> None:
    """Set the default `data_format`: "channels_last" or "channels_first", in any case.

    Raises:
        ValueError: `data_format` is neither.
    """
    found = choice("set_image_data_format", "data_format", data_format, _LAYOUTS)
    _settings_read()["image_data_format"] = found


def _get(name: str) -> Any:
    return _settings_read()[name]


def _settings_read() -> dict[str, Any]:
    """Return the settings, after reading `keras.json` if this is the first use."""
    if not _settings:
        _settings.update(_from_file(_path()))
    return _settings


def _path() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras") / "keras.json"


def _from_file(path: Path) -> dict[str, Any]:
    """Return all settings, from `path` where it has them, else Keras's defaults.

    A file that is not JSON counts as absent, as in Keras; a wrong value in it does not.
    """
    try:
        path = path.expanduser()
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory is known
        found = {}
    if not isinstance(found, dict):
        found = {}
    owner = str(path)
    return {
        "floatx": _floatx(owner, "floatx", found.get("floatx", "float32")),
        "epsilon": _epsilon(owner, "epsilon", found.get("epsilon", 1e-7)),
        "image_data_format": _layout(
            owner, "image_data_format", found.get("image_data_format", "channels_last")
        ),
    }


def _floatx(owner: str, argument: str, value: Any) -> str:
    if value not in _FLOATS:
        raise ValueError(problem(owner, argument, " or ".join(map(repr, _FLOATS)), value))
    return str(value)


def _epsilon(owner: str, argument: str, value: Any) -> float:
    return number(owner, argument, value, "a finite number", least=-math.inf)


def _layout(owner: str, argument: str, value: Any) -> str:
    if value not in _LAYOUTS:
        raise ValueError(problem(owner, argument, " or ".join(map(repr, _LAYOUTS)), value))
    return str(value)
