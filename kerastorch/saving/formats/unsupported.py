"""Errors for files that Keras did not write or that cannot be read, with a remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from ..._core.errors import FileError
from .byte_range import ByteRange

_KERAS = "Load it with the Keras that wrote it and save it: model.save('model.keras')."
_STARTS = {
    b"\x1f\x8b": "a gzip file: decompress it first",
    b"BZh": "a bzip2 file: decompress it first",
    b"\xfd7zXZ": "an xz file: decompress it first",
    b"\x28\xb5\x2f\xfd": "a zstd file: decompress it first",
    b"7z\xbc\xaf": "a 7-Zip archive: extract it first",
    b"Rar!": "a RAR archive: extract it first",
    b"PK\x05\x06": "an empty zip archive: save or download it again",
    b"version https://git-lfs": "a Git LFS pointer and not the file itself: run `git lfs pull`",
    b"<!DOCTYPE": "a web page and not the file itself: download it again",
    b"<html": "a web page and not the file itself: download it again",
}
_PICKLES = (
    *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)),
    *(b"(l", b"(d", b"(c", b"]q", b"}q", b"cnumpy"),  # protocols 0 and 1
)
_YAML = (b"backend:", b"class_name:", b"config:", b"keras_version:", b"---", b"!!python")
_PARTS = {  # the names of files that are read as parts of something else
    r".+\.data-[0-9]{5}-of-[0-9]{5}": "a part of a checkpoint. Give its path without .data-...",
    r"saved_model\.pb|keras_metadata\.pb|fingerprint\.pb": (
        "a part of a SavedModel. Give the path of its directory"
    ),
    r"checkpoint": "the name of a checkpoint. Give the path of the directory",
    r".+\.bin": "maybe the numbers of a TensorFlow.js model. Give the path of its model.json",
}


def check_missing(path: Path) -> None:
    """Raise if nothing exists at a path."""
    if path.exists():
        return
    where = f"There is no directory {path.parent} either." if not path.parent.exists() else ""
    raise FileNotFoundError(f"{path}: no such file or directory. {where}".rstrip())


def raise_directory_error(source: str, present: set[str]) -> NoReturn:
    """Raise the error for a directory that is not a model saved by Keras."""
    if present & {"_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt", "model_config"}:
        what = "an Orbax checkpoint, which is not read"
    elif any(name.endswith(".index") for name in present):
        what = "a directory of several checkpoints. Give the path of one without .index"
        raise FileError(f"{source}: {what}. Found: {sorted(present)[:8]}.")
    else:
        what = "a directory without a model: no config.json, saved_model.pb or checkpoint"
    raise FileError(f"{source}: {what}. Found: {sorted(present)[:8]}. {_KERAS}")


def raise_pickle_error(where: str, arrays: str) -> NoReturn:
    """Refuse a pickle; `arrays` is code that unpickles its arrays if the user trusts it."""
    remedy = f"If you trust it, pass its arrays: load_weights(module, {arrays})"
    raise FileError(f"{where}: a pickle of Python objects, which is not read. {remedy}.")


def raise_file_error(source: str, window: ByteRange, start: bytes) -> NoReturn:
    """Raise the error for a file of no known format."""
    for signature, what in _STARTS.items():
        if start.startswith(signature):
            raise FileError(f"{source}: {what}.")
    if start.startswith(_PICKLES):
        raise_pickle_error(source, f"pickle.load(open({source!r}, 'rb'))")
    if start.lstrip().startswith(_YAML):
        what = "a model in YAML, which Keras no longer reads either"
        raise FileError(f"{source}: {what}. Save its config with model.to_json().")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= window.size - 8:
        what = "a safetensors file: load it with safetensors and load_state_dict"
        raise FileError(f"{source}: {what}.")
    for pattern, what in _PARTS.items():
        if re.fullmatch(pattern, Path(source).name):
            raise FileError(f"{source}: {what}.")
    for at in window.find_hdf5():
        what = f"an HDF5 file behind {at} bytes of other data, which no Keras writes"
        raise FileError(f"{source}: {what}. {_KERAS}")
    what = "not a file that Keras writes"
    raise FileError(f"{source}: {what}. Found: it starts with {start[:16]!r}. {_KERAS}")
