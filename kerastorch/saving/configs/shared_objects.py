"""Find the entries of a config that are the same object."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]
_ID = "shared_object_id"


class AmbiguousError(ValueError):
    """Several earlier layers are candidates; the argument is their paths."""


class SharedObjects:
    """Finds the earlier entry that is the same object as an entry.

    Keras marks an object that it writes again with an identifier. Inside a model the first entry of
    the object lacks it: that is then the earlier one of the same class, name and config.
    """

    def __init__(self) -> None:
        self._by_id: dict[Any, Path] = {}
        self._earlier: defaultdict[tuple[str, str], list[tuple[Path, Any]]] = defaultdict(list)

    def alias(self, entry: Mapping[str, Any], name: str, path: Path) -> Path | None:
        """Return the path of the earlier entry, or None if this is the first one.

        Raises:
            AmbiguousError: several earlier entries look the same.
        """
        key, mark = (entry["class_name"], name), entry.get(_ID)
        mark = mark if isinstance(mark, (int, str)) else None
        found = None if mark is None else self._by_id.get(mark)
        if mark is not None and found is None:
            own = _canonical(entry["config"])
            same = [p for p, config in self._earlier[key] if _canonical(config) == own]
            if len(same) > 1:
                raise AmbiguousError(same)
            found = same[0] if same else None
            self._by_id[mark] = found or path
        if found is None:
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
