"""Hostile files beside the index of a TensorFlow checkpoint, and those that name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compat.security.hostile.parts import BIAS, KERNEL, SECRET, Place, checkpoint
from compat.security.hostile.tensorflow.parts import (
    BIAS_KEY,
    DATA,
    KERNEL_KEY,
    LINK,
    POINTER,
    Write,
    case,
    files_of,
    folder,
    link,
    pipe,
    replaced,
)
from tests.formats.tensorflow_files.bundle import GRAPH, pack, write_files

_OUTSIDE = "reads outside of its directory"


def _data(change: Callable[[bytes], bytes]) -> Write:
    return files_of(lambda files, _: files.update({DATA: change(files[DATA])}))


def _stealing(place: Place) -> None:
    """Write a checkpoint whose arrays are the secret, which a link leads to."""
    named = {KERNEL_KEY: SECRET[:216], BIAS_KEY: SECRET[216:224]}
    arrays = {
        key: np.frombuffer(data, "<f4").reshape(KERNEL.shape if len(data) > 8 else BIAS.shape)
        for key, data in named.items()
    }
    files = pack({GRAPH: checkpoint().graph()}, arrays).files(place.path.name)
    linked = f"{place.path.name}.data-00001-of-00002"
    del files[linked]
    write_files(place.path.parent, files)
    (place.path.parent / linked).symlink_to(place.secret)


def _named(text: str | bytes, *prefixes: str, elsewhere: str = "") -> Write:
    """Return what writes a directory of checkpoints, and the file that names one of them."""

    def write(place: Place) -> None:
        _directory(place, *prefixes)
        if elsewhere:
            write_files(place.path.parent / elsewhere, checkpoint().bundle().files("elsewhere"))
        if isinstance(text, str):
            shown = text.replace("OUTSIDE", str(place.outside))
            (place.path / "checkpoint").write_text(f"model_checkpoint_path: {shown}\n")
        else:
            (place.path / "checkpoint").write_bytes(text)

    return write


def _directory(place: Place, *prefixes: str) -> None:
    place.path.mkdir()
    for prefix in prefixes:
        write_files(place.path, checkpoint().bundle().files(prefix))


def _special(make: Callable[[Place, Any], object]) -> Write:
    """Return what writes a directory of one checkpoint, and something else that names it."""

    def write(place: Place) -> None:
        _directory(place, "w")
        make(place, place.path / "checkpoint")

    return write


CASES = (
    # Data files
    case("data_cut", "is cut off", _data(lambda data: data[:-9])),
    case("data_empty", "is empty", _data(lambda _: b"")),
    case("data_flipped", "is damaged", _data(lambda data: data[:50] + b"\0\1" + data[52:])),
    case("data_longer", "has data behind its end", _data(lambda data: data + b"x" * 99), "never"),
    case("data_pointer", "is a Git LFS pointer", _data(lambda _: POINTER)),
    case("data_missing", "lacks its data", replaced(DATA, None)),
    case("data_pipe", "never ends", replaced(DATA, pipe)),
    case("data_folder", "has a directory for its data", replaced(DATA, folder)),
    case("data_link", LINK, replaced(DATA, link)),
    case("data_stolen", LINK, _stealing),
    case("index_pointer", "is a Git LFS pointer",
          files_of(lambda files, _: files.update({".index": POINTER}))),
    case("index_pipe", "never ends", replaced(".index", pipe)),
    case("index_folder", "has a directory for its index", replaced(".index", folder)),
    case("index_link", LINK, replaced(".index", link)),
    case("index_empty", "is empty", files_of(lambda files, _: files.update({".index": b""}))),
    # Files that name checkpoints
    case("named_outside", _OUTSIDE, _named('"../../outside/secret"', "w")),
    case("named_parent", _OUTSIDE, _named('"../elsewhere/elsewhere"', elsewhere="elsewhere")),
    case("named_absolute", _OUTSIDE, _named('"OUTSIDE/secret"', "w")),
    case("named_url", "requests any address", _named('"gs://bucket/secret"', "w")),
    case("named_beside", "has the path of its author", _named('"/home/x/w"', "w"), "never"),
    case("named_windows", "has the path of its author", _named('"C:\\\\\\\\x\\\\\\\\w"', "w"),
          "never"),
    *(case(f"named_{name}", "names no file", _named(text, "w"))
      for name, text in (("nothing", '""'), ("dot", '"."'), ("dots", '".."'), ("slash", '"/"'),
                         ("nul", '"w\\0"'), ("missing", '"v"'), ("number", "7"),
                         ("long", '"' + "n" * 100_000 + '"'))),
    case("named_itself", "names itself", _named('"checkpoint"', "w")),
    case("named_twice", "names two", _named('"v"\nmodel_checkpoint_path: "w"', "v", "w"), "never"),
    case("named_bytes", "is no text", _named(b"\xff\xfe\x00m", "w")),
    case("named_empty", "is empty", _named(b"", "w")),
    case("named_pointer", "is a Git LFS pointer", _named(POINTER, "w")),
    case("named_link", LINK, _special(link), "never"),
    case("named_pipe", "never ends", _special(pipe), "never"),
    case("named_folder", "has a directory for a file", _special(folder), "never"),
    case("several", "has two checkpoints, and none is named",
         lambda place: _directory(place, "v", "w")),
)  # fmt: skip
