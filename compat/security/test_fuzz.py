"""Genuine files, mutated: each is refused as a file, or is still a model with all its weights."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import strategies as st

pytest.importorskip("resource")

from compat.security.hostile.worker import Worker
from compat.security.mutations import LEAST, MOST, fuzz, json_mutated, mutated

FILES = Path(__file__).parents[1] / "files"
ARCHIVES = [
    "keras-3.15.1/seq_adam.keras",
    "keras-3.15.1/fun_nested.keras",
    "keras-3.15.1/dt_bfloat16.keras",
    "keras-3.15.1/lora.keras",
    "keras-3.0.5/fun_nested.keras",
    "keras-2.13.1/fun_nested.keras",
    "tf_keras-2.21/seq_adam.keras",
]
HDF5 = [
    "keras-3.15.1/seq_adam.weights.h5",
    "keras-3.15.1/fun_nested_legacy.h5",
    "keras-3.15.1/dt_bfloat16_legacy.h5",
    "keras-3.15.1/legacy_order_True.h5",
    "keras-3.15.1/windows_backslash.weights.h5",
    "keras-2.13.1/fun_nested.h5",
    "keras-2.15.1/wrappers.h5",
    "tf_keras-2.21/seq_adam.h5",
]
ARRAYS = ["keras-3.15.1/gw_named.npz", "keras-3.15.1/gw_pos.npz"]
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


# Bytes


def headers_mutated(data: bytes, draw: Callable[[Any], Any]) -> bytes:
    """Return an HDF5 file after mutations of a structure that it has: a message, a tree, a heap."""
    marks = [b"OHDR", b"TREE", b"HEAP", b"SNOD", b"GCOL", b"\x89HDF"]
    places = [at for mark in marks for at in _places(data, mark)]
    start = draw(st.sampled_from(places)) if places else 0
    end = min(start + 256, len(data))
    return data[:start] + mutated(data[start:end], draw)[: end - start] + data[end:]


def _places(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


# HDF5


def hdf5_mutated(path: Path, draw: Callable[[Any], Any]) -> None:
    """Change an object or an attribute of a file in one to three places."""
    with h5py.File(path, "r+") as file:
        for _ in range(draw(st.integers(1, 3))):
            members: list[str] = []
            file.visit(members.append)
            if not members:
                break
            name = members[draw(st.integers(0, len(members) - 1))]
            if draw(st.booleans()):
                _change_attribute(file[draw(st.sampled_from(["/", name]))], draw)
            else:
                _change_member(file, name, draw)


def _change_attribute(owner: Any, draw: Callable[[Any], Any]) -> None:
    known = ["layer_names", "weight_names", "model_config", "keras_version", "name", "dtype"]
    names = sorted({*owner.attrs, *known})
    name = names[draw(st.integers(0, len(names) - 1))]
    value = draw(
        st.sampled_from(
            [None, 7, -1.5, "x", "", b"\xff", "bfloat16", "{}", [b"x"], [b"x", b"x"], [1, 2], []]
        )
    )
    old = owner.attrs.get(name)
    if name in owner.attrs:
        del owner.attrs[name]
    if isinstance(old, np.ndarray) and old.ndim and draw(st.booleans()):
        value = old[::-1] if draw(st.booleans()) else old[1:]
    if value is not None:
        owner.attrs[name] = np.array(value) if isinstance(value, list) else value


def _change_member(file: h5py.File, name: str, draw: Callable[[Any], Any]) -> None:
    old = file[name]
    kind = draw(st.sampled_from(["delete", "move", "link", "type", "shape", "value", "group"]))
    if kind == "move":
        file.move(name, f"{name}_{draw(st.integers(0, 2))}moved")
        return
    array = old[()] if isinstance(old, h5py.Dataset) else np.zeros(3, "float32")
    del file[name]
    if kind == "link":
        file[name] = h5py.SoftLink(draw(st.sampled_from(["/", "/x", f"/{name}"])))
    elif kind == "type":
        types = ["float16", "float64", "int8", ">f4", "S3", "complex64", "V2", "bool"]
        file[name] = np.zeros(array.shape, draw(st.sampled_from(types)))
    elif kind == "shape":
        shapes = [(), (1,), (0,), (2, 2), (*array.shape, 1), array.shape[::-1]]
        file[name] = np.zeros(draw(st.sampled_from(shapes)), "float32")
    elif kind == "value":
        chunks = True if array.ndim and array.size and array.dtype.kind == "f" else None
        packed = draw(st.sampled_from([None, "gzip"])) if chunks else None
        file.create_dataset(name, data=array, chunks=chunks, compression=packed)
    elif kind == "group":
        file.create_group(name)


# Archives


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return buffer.getvalue()


def with_member(source: Path, name: str, change: Callable[[bytes], bytes]) -> bytes:
    content = members(source)
    return zipped(content | {name: change(content[name])})


# The kinds of mutation: what they apply to, and what writes the mutated file


def as_bytes(source: Path, to: Path, draw: Callable[[Any], Any]) -> None:
    to.write_bytes(mutated(source.read_bytes(), draw))


def in_headers(source: Path, to: Path, draw: Callable[[Any], Any]) -> None:
    to.write_bytes(headers_mutated(source.read_bytes(), draw))


def in_a_member(source: Path, to: Path, draw: Callable[[Any], Any]) -> None:
    name = draw(st.sampled_from(sorted(members(source))))
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    content = members(source)
    to.write_bytes(zipped(content | {name: mutated(content[name], draw)}, method))


def in_the_config(source: Path, to: Path, draw: Callable[[Any], Any]) -> None:
    def change(text: bytes) -> bytes:
        return json.dumps(json_mutated(json.loads(text), draw)).encode()

    to.write_bytes(with_member(source, CONFIG, change))


def in_the_weights(source: Path, to: Path, draw: Callable[[Any], Any]) -> None:
    to.write_bytes(members(source)[WEIGHTS])
    hdf5_mutated(to, draw)
    data = to.read_bytes()
    to.write_bytes(with_member(source, WEIGHTS, lambda _: data))


def in_the_objects(source: Path, to: Path, draw: Callable[[Any], Any]) -> None:
    shutil.copyfile(source, to)
    hdf5_mutated(to, draw)


KINDS = {
    "archive's bytes": (as_bytes, ARCHIVES),
    "member's bytes": (in_a_member, ARCHIVES),
    "config": (in_the_config, ARCHIVES),
    "weights": (in_the_weights, ARCHIVES),
    "HDF5's bytes": (as_bytes, HDF5),
    "HDF5's headers": (in_headers, HDF5),
    "HDF5's objects": (in_the_objects, HDF5),
    "arrays' bytes": (as_bytes, ARRAYS),
}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(FILES / ARCHIVES[0])
    yield worker
    worker.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_refused_or_read(kind: str, worker: Worker, tmp_path: Path) -> None:
    mutate, sources = KINDS[kind]
    paths = [FILES / source for source in sources]
    assert fuzz(mutate, paths, LEAST, worker, tmp_path)["refused"] > 0


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutated_files(kind: str, worker: Worker, tmp_path: Path) -> None:
    mutate, sources = KINDS[kind]
    counts = fuzz(mutate, [FILES / source for source in sources], MOST, worker, tmp_path)
    assert min(counts["read"], counts["refused"]) > 0


@pytest.mark.parametrize("name", [*ARCHIVES, *HDF5, *ARRAYS])
def test_unchanged_files_are_read(name: str, worker: Worker) -> None:
    assert worker.read(FILES / name) == "read"


def test_a_crash_is_told_and_survived(worker: Worker) -> None:
    worker.process.kill()
    worker.process.wait()
    assert "crashed" in worker.read(FILES / ARCHIVES[0])
    assert worker.read(FILES / ARCHIVES[0]) == "read"
