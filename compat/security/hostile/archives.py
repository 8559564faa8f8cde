"""Hostile zip archives, sharded weights and directories."""

from __future__ import annotations

import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from compat.security.hostile.parts import Case, Place, genuine, members, tree, weights

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
HUGE = 24 << 20
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
SHARD = "model_00000.weights.h5"
Members = list[tuple[zipfile.ZipInfo, bytes]]


def _zeros(count: int) -> bytes:
    return b" " * count


def _info(name: str, method: int = STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    info.external_attr = 0o100644 << 16
    return info


def _zip(change: Callable[[Members, Place], object]) -> Callable[[Place], None]:
    """Return what writes a `.keras` archive whose members are changed."""

    def write(place: Place) -> None:
        entries = [(_info(name), data) for name, data in members().items()]
        change(entries, place)
        with zipfile.ZipFile(place.path, "w") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two members with the same name
            for info, data in entries:
                file.writestr(info, data, info.compress_type)

    return write


def _added(name: str, data: bytes = b"x", method: int = STORED) -> Callable[[Place], None]:
    return _zip(lambda entries, _: entries.append((_info(name, method), data)))


def _replaced(name: str, data: Callable[[], bytes], method: int) -> Callable[[Place], None]:
    """Return what writes an archive in which a member has other data."""

    def change(entries: Members, _: Place) -> None:
        at = [info.filename for info, _ in entries].index(name)
        entries[at] = (_info(name, method), data())

    return _zip(change)


def _edited(change: Callable[[bytes], bytes]) -> Callable[[Place], None]:
    """Return what writes a `.keras` archive and changes its bytes."""

    def write(place: Place) -> None:
        _zip(lambda *_: None)(place)
        place.path.write_bytes(change(place.path.read_bytes()))

    return write


def _in_directory(
    name: str, offset: int, value: bytes, header: int | None = None
) -> Callable[[Place], None]:
    """Return what writes an archive with a field of a member's directory entry changed.

    Args:
        name: The member.
        offset: Where the field is in the entry.
        value: What it becomes.
        header: Where the field is in the member's own header, to change it there too.
    """

    def change(data: bytes) -> bytes:
        found = bytearray(data)
        entry = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
        found[entry + offset : entry + offset + len(value)] = value
        if header is not None:
            start = struct.unpack_from("<L", data, entry + 42)[0] + header
            found[start : start + len(value)] = value
        return bytes(found)

    return _edited(change)


def _overlapping(data: bytes) -> bytes:
    """Return the archive with the metadata's directory entry pointing to the config's data."""
    found = bytearray(data)
    entries = [data.rindex(b"PK\x01\x02", 0, data.rindex(name)) for name in
               (b"metadata.json", b"config.json")]  # fmt: skip
    found[entries[0] + 42 : entries[0] + 46] = found[entries[1] + 42 : entries[1] + 46]
    return bytes(found)


def _linked(entries: Members, place: Place) -> None:
    info = _info(WEIGHTS)
    info.external_attr = 0o120777 << 16
    entries[-1] = (info, str(place.outside / "secret.h5").encode())


def _polyglot(place: Place) -> None:
    """Write an archive whose first member's data begins with an HDF5 file at byte 512."""
    data = b"\0" * (512 - 30 - len("x")) + weights()
    entries = [(_info("x"), data), *[(_info(n), d) for n, d in members().items()]]
    with zipfile.ZipFile(place.path, "w") as file:
        for info, content in entries:
            file.writestr(info, content)


def _after_hdf5(place: Place) -> None:
    """Write an HDF5 file with a zip archive behind it."""
    with tree(place.path):
        pass
    with zipfile.ZipFile(place.path, "a") as file:
        for name, data in members().items():
            file.writestr(name, data)


def _many(entries: Members, _: Place) -> None:
    entries.extend((_info(f"assets/{number}"), b"") for number in range(10_001))


def _shards(weight_map: Any, *files: str, total: Any = 224) -> Callable[[Place], None]:
    """Return what writes an index of shards, and the genuine shard beside it."""

    def write(place: Place) -> None:
        found = weight_map(place) if callable(weight_map) else weight_map
        index = {"metadata": {"total_size": total}, "weight_map": found}
        place.path.write_text(json.dumps(index))
        for name in files:
            (place.path.parent / name).write_bytes(weights())

    return write


def _linked_shard(place: Place) -> None:
    name = "linked_00000.weights.h5"
    _shards({"/layers/conv2d/vars": name})(place)
    (place.path.parent / name).symlink_to(place.outside / "secret.h5")


def _directory(
    files: Mapping[str, bytes] | Callable[[], Mapping[str, bytes]],
    links: Mapping[str, str] | None = None,
) -> Callable[[Place], None]:
    """Return what writes a directory of files and of links to the outside."""

    def write(place: Place) -> None:
        for name, data in (files() if callable(files) else files).items():
            path = place.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name, target in (links or {}).items():
            (place.path / name).symlink_to(place.outside / target)

    return write


def _without(*names: str) -> Callable[[], dict[str, bytes]]:
    return lambda: {name: data for name, data in members().items() if name not in names}


def _piped(place: Place) -> None:
    _directory(_without(WEIGHTS))(place)
    os.mkfifo(place.path / WEIGHTS)


_BOMB = "inflates a thousandfold"
_LONG = json.dumps(genuine()).encode()

CASES = (
    # Members
    Case("slip.keras", "GHSA-hqp4-2352-xf5r", "writes outside of where it is extracted",
         _added("../touched")),
    Case("absolute.keras", "GHSA-hqp4-2352-xf5r", "writes anywhere", _added("/touched")),
    Case("backslash.keras", "GHSA-hqp4-2352-xf5r", "writes outside, on Windows",
         _added("..\\touched")),
    Case("drive.keras", "residual", "writes to a drive or a stream, on Windows",
         _added("C:touched")),
    Case("config_bomb.keras", "keras#23303", _BOMB,
         _replaced(CONFIG, lambda: _LONG + _zeros(HUGE), DEFLATED)),
    Case("weights_bomb.keras", "keras#23010", _BOMB,
         _replaced(WEIGHTS, lambda: weights() + _zeros(HUGE), DEFLATED)),
    Case("asset_bomb.keras", "keras#23101", _BOMB,
         _added("assets/vocabulary.txt", _zeros(HUGE), DEFLATED), "never"),
    Case("two_configs.keras", "residual", "shows one config to a scanner and one to a reader",
         _added(CONFIG, b"{}")),
    Case("two_weights.keras", "residual", "shows one file to a scanner and one to a reader",
         _added(WEIGHTS, b"")),
    Case("folder_for_file.keras", "residual", "has a directory for its config",
         _added(f"{CONFIG}/x"), "never"),
    Case("link.keras", "keras#23015", "reads another file through a symlink", _zip(_linked)),
    Case("encrypted.keras", "residual", "is encrypted",
         _in_directory(CONFIG, 8, b"\x01\x00", header=6)),
    Case("lzma.keras", "residual", "is packed by a rare method",
         _replaced(CONFIG, lambda: _LONG, zipfile.ZIP_LZMA)),
    Case("bzip2.keras", "residual", "is packed by a rare method",
         _replaced(CONFIG, lambda: _LONG, zipfile.ZIP_BZIP2)),
    Case("many.keras", "residual", "has ten thousand members", _zip(_many)),
    Case("missing.keras", "residual", "lacks its weights",
         _zip(lambda entries, _: entries.pop())),
    Case("extra.keras", "residual", "has members that are none of Keras's",
         _added("evil.py", b"import os"), "never"),
    # Sizes and places
    Case("larger.keras", "residual", "is larger than its directory says",
         _in_directory(CONFIG, 24, (10).to_bytes(4, "little"))),
    Case("smaller.keras", "residual", "is smaller than its directory says",
         _in_directory(CONFIG, 20, b"\xff\xff\xff\x7f\xff\xff\xff\x7f")),
    Case("beyond.keras", "residual", "begins behind the end",
         _in_directory(WEIGHTS, 42, b"\xf0\xff\xff\x7f")),
    Case("overlap.keras", "residual", "has two members in one place", _edited(_overlapping)),
    Case("renamed.keras", "residual", "has another name in its directory",
         _in_directory("metadata.json", 46, b"metadatb.json")),
    Case("crc.keras", "residual", "is damaged", _in_directory(WEIGHTS, 16, b"abcd")),
    Case("cut.keras", "residual", "is cut off", _edited(lambda data: data[:-30])),
    Case("half.keras", "residual", "is cut off", _edited(lambda data: data[: len(data) // 2])),
    Case("before.keras", "residual", "has other data before it",
         _edited(lambda data: b"#!/bin/sh\n" + data)),
    Case("after.keras", "residual", "has other data behind it",
         _edited(lambda data: data + b"x" * 100)),
    Case("polyglot.keras", "residual", "is an HDF5 file, too", _polyglot),
    Case("polyglot.h5", "residual", "is a zip archive, too", _after_hdf5),
    Case("empty.keras", "residual", "is empty", lambda place: place.path.write_bytes(b"")),
    Case("only_end.keras", "residual", "has no members",
         lambda place: place.path.write_bytes(b"PK\x05\x06" + bytes(18))),
    Case("torch.pt", "residual", "is a file of torch's, with pickles",
         _directory({}) and _zip(lambda entries, _: entries.__setitem__(
             slice(None), [(_info("archive/data.pkl"), b"\x80\x02.")]))),
    # Sharded weights
    Case("parent.weights.json", "residual", "reads outside of its directory",
         _shards({"/layers/conv2d/vars": "../outside/secret.h5"})),
    Case("parent_named.weights.json", "residual", "reads outside of its directory",
         _shards({"/layers/conv2d/vars": "../outside/x.weights.h5"})),
    Case("absolute.weights.json", "residual", "reads any file",
         _shards(lambda place: {"/layers/conv2d/vars": str(place.outside / "secret.h5")})),
    Case("linked.weights.json", "residual", "reads another file through a symlink",
         _linked_shard),
    Case("itself.weights.json", "residual", "names itself",
         _shards({"/layers/conv2d/vars": "itself.weights.json"})),
    Case("missing.weights.json", "residual", "names a file that is not there",
         _shards({"/layers/conv2d/vars": "missing_00000.weights.h5"})),
    Case("other.weights.json", "residual", "names a group that is not there",
         _shards({"/layers/conv2d_9/vars": SHARD}, SHARD)),
    Case("numbers.weights.json", "residual", "has a number for a name",
         _shards({"/layers/conv2d/vars": 7})),
    Case("nothing.weights.json", "residual", "names nothing", _shards({})),
    Case("many.weights.json", "residual", "names twenty thousand files",
         _shards({f"/layers/c{n}/vars": f"s{n}.weights.h5" for n in range(20_000)})),
    # Directories
    Case("linked_directory", "residual", "reads another file through a symlink",
         _directory(_without(WEIGHTS), {WEIGHTS: "secret.h5"})),
    Case("linked_config", "residual", "reads another file through a symlink",
         _directory(_without(CONFIG), {CONFIG: "secret"})),
    Case("piped_directory", "residual", "never ends", _piped),
    Case("orbax", "KERAS-MFV-001", "writes assets where their names say",
         _directory({"_CHECKPOINT_METADATA": b"{}", "pytree/_METADATA": b"{}",
                     "model_config/_strings.json": b"{}"})),
    Case("saved_model", "tf-keras#910", "runs a graph",
         _directory({"saved_model.pb": b"\x08\x01", "variables/variables.index": b""})),
    Case("checkpoint", "residual", "is no file of Keras's",
         _directory({"checkpoint": b"model_checkpoint_path", "ckpt.index": b"\0"})),
    Case("empty_directory", "residual", "is empty", lambda place: place.path.mkdir()),
)  # fmt: skip
