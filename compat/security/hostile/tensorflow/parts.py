"""What hostile checkpoints are made of: a genuine one of which a part is another."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from compat.security.hostile.parts import Case, Place, checkpoint
from tests.formats.tensorflow_files import table
from tests.formats.tensorflow_files.bundle import Bundle, write_files

KERNEL_KEY, BIAS_KEY = (
    f"layer_with_weights-0/{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("kernel", "bias")
)
DATA = ".data-00000-of-00001"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
HUGE = 2**40
LINK = "reads another file through a symlink"
Write = Callable[[Place], object]
Pairs = list[tuple[bytes, bytes]]


def case(name: str, effect: str, write: Write, refused: Any = "always") -> Case:
    """Return a case of a checkpoint, whose files' names begin with its own."""
    return Case(f"{name}.ckpt", "residual", effect, write, refused)


def bundle_of(change: Callable[[Bundle], object], *, shards: int = 1, **options: Any) -> Write:
    """Return what writes a checkpoint whose header, entries or data are changed."""

    def write(place: Place) -> None:
        found = checkpoint().bundle(shards=shards)
        change(found)
        write_files(place.path.parent, found.files(place.path.name, **options))

    return write


def index_of(change: Callable[[Pairs], bytes]) -> Write:
    """Return what writes a checkpoint with another index, made of its keys and values."""

    def write(place: Place) -> None:
        found = checkpoint().bundle()
        files = found.files(place.path.name)
        files[f"{place.path.name}.index"] = change(found.pairs())
        write_files(place.path.parent, files)

    return write


def pairs_of(change: Callable[[Pairs], Pairs], **options: Any) -> Write:
    return index_of(lambda pairs: table.table(change(pairs), **options))


def files_of(change: Callable[[dict[str, bytes], Place], object]) -> Write:
    """Return what writes a checkpoint whose files are changed: suffix -> content."""

    def write(place: Place) -> None:
        found = checkpoint().bundle().files("")
        change(found, place)
        write_files(
            place.path.parent, {f"{place.path.name}{name}": data for name, data in found.items()}
        )

    return write


def replaced(suffix: str, make: Callable[[Place, Any], object] | None) -> Write:
    """Return what writes a checkpoint of which a file is something else, or is missing."""

    def write(place: Place) -> None:
        files_of(lambda files, _: files.pop(suffix))(place)
        if make is not None:
            make(place, place.path.with_name(f"{place.path.name}{suffix}"))

    return write


def pipe(_: Place, path: Any) -> None:
    os.mkfifo(path)


def link(place: Place, path: Any) -> None:
    path.symlink_to(place.secret)


def folder(_: Place, path: Any) -> None:
    path.mkdir()
