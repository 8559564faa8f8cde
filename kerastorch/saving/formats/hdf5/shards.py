"""Sharded weights: a JSON index and several HDF5 files, merged into one tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...._core.errors import FileError
from .objects import Array, Group, make_error

_SHARD = re.compile(r"[^/\\\0]+\.weights\.h5")
_MOST_SHARDS = 500  # of open files


def list_shards(source: str, index: Any) -> dict[str, set[str]]:
    """Return the files of an index in order, each with the groups it must have."""
    found: dict[str, set[str]] = {}
    for path, value in index["weight_map"].items():
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or not _SHARD.fullmatch(name):
                what = "a shard that is not a .weights.h5 file in the directory of the index"
                raise make_error(source, f"weight_map: {path}", f"{what}. Found: {name!r}")
            found.setdefault(name, set()).add(path.strip("/"))
    if not found or len(found) > _MOST_SHARDS:
        raise FileError(f"{source}: weight_map: 1 to {_MOST_SHARDS} shards. Found: {len(found)}.")
    return found


def merge_shards(source: str, shards: Mapping[str, Group], groups: Mapping[str, set[str]]) -> Group:
    """Check the groups of each shard against the index, and return the merged tree."""
    for name, root in shards.items():
        present = {array.path.rpartition("/")[0] for array in root.arrays()}
        if present != groups[name]:
            what = "groups that differ from the index, so it belongs to another model or save"
            differing = sorted(present ^ groups[name])[:5]
            raise make_error(source, name, f"{what}. Found: {differing} in one only")
    return _merge_groups(source, list(shards.values()))


def _merge_groups(source: str, groups: list[Group]) -> Group:
    parts: dict[str, list[Group | Array]] = {}
    for group in groups:
        for name, member in group.members.items():
            parts.setdefault(name, []).append(member)
    members: dict[str, Group | Array] = {}
    for name, found in parts.items():
        inner = [part for part in found if isinstance(part, Group)]
        if len(inner) == len(found):
            members[name] = _merge_groups(source, inner)
        elif len(found) == 1:
            members[name] = found[0]
        else:
            raise make_error(source, found[0].path, "an array that is in two shards")
    attributes = {name: value for group in groups for name, value in group.attributes.items()}
    return Group(groups[0].path, attributes, members)
