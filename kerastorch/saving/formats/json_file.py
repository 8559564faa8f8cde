"""Untrusted JSON, bounded in size, depth and number of values."""

from __future__ import annotations

import json
from typing import Any

from ..._core.errors import FileError

MOST_BYTES = 64 << 20
_MOST_VALUES = 4_000_000
_MOST_DEPTH = 200
_MOST_DIGITS = 40
_CONTAINERS = (dict, list, tuple)


def parse_json(where: str, data: bytes | str) -> Any:
    """Parse JSON, in UTF-8 if bytes, with NaN and Infinity as Python's json writes them."""
    if len(data) > MOST_BYTES:
        raise FileError(f"{where}: JSON of more than {MOST_BYTES} bytes. Found: {len(data)}.")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        if text.count(",") + text.count("[") + text.count("{") > _MOST_VALUES:
            raise FileError(f"{where}: JSON of more than {_MOST_VALUES} values.")
        value = json.loads(text, object_pairs_hook=_reject_duplicates, parse_int=_parse_int)
    except FileError:
        raise
    except RecursionError:
        raise FileError(f"{where}: JSON that is nested deeper than any model's config.") from None
    except ValueError as error:  # includes JSONDecodeError and UnicodeDecodeError
        what = "not JSON that Keras writes"
        raise FileError(f"{where}: {what}. Found: {str(error)[:200]}. Save it again.") from None
    if is_nested_deeper(value, _MOST_DEPTH):
        raise FileError(f"{where}: JSON that is nested deeper than {_MOST_DEPTH} levels.")
    return value


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, _ in pairs:
            if found.pop(key, pairs) is pairs:
                raise ValueError(f"the key {key!r} twice")
    return found


def _parse_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def is_nested_deeper(value: Any, most: int) -> bool:
    """Return whether lists and dicts are nested in more than `most` levels."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(most):
        inside = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [v for values in inside for v in values if isinstance(v, _CONTAINERS)]
        if not level:
            return False
    return True
