"""Sharded weights: a JSON index and several HDF5 files, merged into one tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...._core.errors import FileError
from .attributes import Attribute
from .objects import Array, Group

_SHARD = re.compile(r"[^/\\\0]+\.weights\.h5")
_MOST_SHARDS = 500  # of open files
_AGAIN = "Save it again with Keras."


def is_index(value: Any) -> bool:
    """Return whether JSON is an index of sharded weights."""
    return isinstance(value, dict) and isinstance(value.get("weight_map"), dict)


def shard_names(source: str, index: Any) -> dict[str, set[str]]:
    """Return the files of an index in order, each with the groups it must have."""
    found: dict[str, set[str]] = {}
    for path, value in index["weight_map"].items():
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or not _SHARD.fullmatch(name):
                what = "a shard that is no .weights.h5 file beside the index"
                raise FileError(f"{source}: weight_map: {path}: {what}. Found: {name!r}. {_AGAIN}")
            found.setdefault(name, set()).add(path.strip("/"))
    if not found or len(found) > _MOST_SHARDS:
        raise FileError(f"{source}: weight_map: 1 to {_MOST_SHARDS} shards. Found: {len(found)}.")
    return found


def merged(source: str, shards: Mapping[str, Group], groups: Mapping[str, set[str]]) -> Group:
    """Check the groups of each shard against the index, and return the merged tree."""
    for name, root in shards.items():
        filled = {array.path.rpartition("/")[0] for array in root.arrays()}
        if filled != groups[name]:
            what = "other groups than the index tells, so it belongs to another model or save"
            differing = sorted(filled ^ groups[name])[:5]
            raise FileError(f"{source}: {name}: {what}. Found: {differing} in one only. {_AGAIN}")
    return _merged(source, list(shards.values()))


def _merged(source: str, groups: list[Group]) -> Group:
    attributes: dict[str, Attribute] = {}
    together: dict[str, list[Group | Array]] = {}
    for group in groups:
        attributes.update(group.attributes)
        for name, member in group.members.items():
            together.setdefault(name, []).append(member)
    members = dict(_members(source, together))
    return Group(groups[0].path, attributes, members)


def _members(
    source: str, together: Mapping[str, list[Group | Array]]
) -> Iterator[tuple[str, Group | Array]]:
    for name, parts in together.items():
        groups = [part for part in parts if isinstance(part, Group)]
        if len(groups) == len(parts):
            yield name, _merged(source, groups)
        elif len(parts) == 1:
            yield name, parts[0]
        else:
            what = "an array that is in two shards"
            raise FileError(f"{source}: {parts[0].path}: {what}. {_AGAIN}")
