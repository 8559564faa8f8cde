"""Find the entries of a config that are the same object."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]
_ID = "shared_object_id"


class SharedObjects:
    """Finds the earlier entry that is the same object as an entry.

    Keras marks an object that it writes again with an identifier. Inside a model the first entry of
    the object lacks it: that is then the earlier one of the same class, name and config.
    """

    def __init__(self) -> None:
        self._by_id: dict[Any, Path] = {}
        self._earlier: defaultdict[tuple[str, str], list[tuple[Path, Any]]] = defaultdict(list)

    def find_earlier(self, entry: Mapping[str, Any], name: str, path: Path) -> list[Path]:
        """Return the paths of earlier entries that may be the same object; none for the first."""
        key, mark = (entry["class_name"], name), entry.get(_ID)
        found: list[Path] = []
        if isinstance(mark, (int, str)):
            if mark in self._by_id:
                return [self._by_id[mark]]
            own = _canonical(entry["config"])
            found = [p for p, config in self._earlier[key] if _canonical(config) == own]
            self._by_id[mark] = found[0] if found else path
        if not found:
            self._earlier[key].append((path, entry["config"]))
        return found


def _canonical(config: Any) -> str:
    """Return a config as text without identifiers."""
    return json.dumps(_without_ids(config), sort_keys=True, default=repr)


def _without_ids(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_ids(v) for key, v in value.items() if key != _ID}
    if isinstance(value, (list, tuple)):
        return [_without_ids(inner) for inner in value]
    return value
