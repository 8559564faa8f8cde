"""The file `checkpoint` in a directory: the name of the latest checkpoint."""

from __future__ import annotations

import re

from ...._core.errors import FileError
from ..byte_range import ByteRange

LATEST = "checkpoint"
_MOST_BYTES = 1 << 20
_PATH = re.compile(rb'^model_checkpoint_path: *"((?:[^"\\\n]|\\.)*)"', re.MULTILINE)


def find_latest(source: str, window: ByteRange) -> str:
    """Return the name of the latest checkpoint, without the directories before it.

    These are those of the machine that saved it; they are never followed.
    """
    match = _PATH.search(window.read_at(0, _MOST_BYTES))
    path = match[1].decode(errors="replace") if match else ""
    name = re.split(r"[/\\]", path)[-1]
    if name in ("", ".", "..") or "\0" in name:
        what = "a file without the name of a checkpoint. Give the path of one without .index"
        raise FileError(f"{source}: {LATEST}: {what}. Found: {path[:100]!r}.")
    return name
