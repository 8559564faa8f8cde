"""HDF5 files: what no Keras writes is refused."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from kerastorch._core.errors import FileError
from kerastorch.saving.formats.hdf5 import attributes, reader
from tests.formats.hdf5_files import KERNEL, root_of, tensor_of, written


def soft(file):
    file["a"] = h5py.SoftLink("/b")


def external(file):
    file["a"] = h5py.ExternalLink("other.h5", "/b")


def elsewhere(file):
    file.create_dataset("a", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "b", (4,))
    file.create_virtual_dataset("a", layout)


def circle(file):
    file["a/b"] = file.create_group("a")


def twice(file):
    file["b"] = file.create_dataset("a", data=KERNEL)


def named_type(file):
    file["a"] = np.dtype("f4")


def of_named_type(file):
    file["t"] = np.dtype("f4")
    file.create_dataset("a", (2,), file["t"])
    del file["t"]


def unfilled(file):
    file.create_dataset("a", (1 << 20, 1 << 20), "f4")


def without_chunks(file):
    file.create_dataset("a", (1 << 12, 1 << 12), "f4", chunks=(256, 256), compression="gzip")


def zeros(file):
    data = np.zeros((16 << 20) // 4, "f4")
    file.create_dataset("a", data=data, chunks=(1 << 20,), compression=9)


def large_chunks(file):
    file.create_dataset("a", data=np.ones(4), chunks=(1 << 21,), maxshape=(None,))


def lzf(file):
    file.create_dataset("a", data=KERNEL, compression="lzf")


def scale_offset(file):
    file.create_dataset("a", data=KERNEL.astype("i4"), scaleoffset=0)


def texts(file):
    file.create_dataset("a", data=["x", "y"])


def compound(file):
    file.create_dataset("a", data=np.zeros(2, [("x", "f4")]))


def enumeration(file):
    file.create_dataset("a", (2,), h5py.enum_dtype({"FALSE": 1, "TRUE": 0}, "i1"))


def ragged(file):
    file.create_dataset("a", (2,), h5py.vlen_dtype("f4"))


def references(file):
    file.create_dataset("a", (2,), h5py.ref_dtype)


def opaque(file):
    file.create_dataset("a", data=np.zeros(2, "V3"))


def complex_(file):
    file.create_dataset("a", data=np.zeros(2, "c8"))


def empty(file):
    file.create_dataset("a", data=h5py.Empty("f4"))


def other_dtype(file):
    file.create_dataset("a", data=KERNEL).attrs["dtype"] = "bfloat16"


def unsafe_name(file):
    file.create_group("x\\..")


def control_name(file):
    file.create_group("x\x1b[2J")


def deep(file):
    file.create_group("/".join("x" * 70))


def number_for_text(file):
    file.attrs["layer_names"] = np.arange(3.0)


def square_of_texts(file):
    file.attrs["layer_names"] = np.array([[b"a"], [b"b"]])


def not_unicode(file):
    file.attrs["name"] = np.bytes_(b"\xff\xfe")


REFUSED = {
    soft: "a: a link to another path",
    external: "a: a link to another path",
    elsewhere: "a: an array in other files",
    virtual: "a: an array in other files",
    circle: "a/b: an object that is in two groups",
    twice: "b: an object that is in two groups",
    named_type: "a: a named type",
    of_named_type: "a: an array of a named type",
    unfilled: "a: arrays of more than 20 times the bytes",
    without_chunks: "a: arrays of more than 20 times the bytes",
    zeros: "a: arrays of more than 20 times the bytes",
    large_chunks: "a: chunks of (2097152,) for an array of (4,)",
    lzf: "a: an array with a filter other than gzip. Found: filters (32000,)",
    scale_offset: "a: an array with a filter other than gzip. Found: filters (6,)",
    texts: "a: an array with a dtype that no Keras writes. Found: object",
    compound: "a: an array with a dtype that no Keras writes",
    enumeration: "a: an array with a dtype that no Keras writes",
    ragged: "a: an array with a dtype that no Keras writes",
    references: "a: an array with a dtype that no Keras writes",
    opaque: "a: an array with a dtype that no Keras writes",
    complex_: "a: an array with a dtype that no Keras writes",
    empty: "a: an array without a shape",
    other_dtype: "a: an array of float32 with the attribute dtype 'bfloat16'",
    unsafe_name: "/: an object with an unsafe name. Found: b'x\\\\..'",
    control_name: "/: an object with an unsafe name. Found: b'x\\x1b[2J'",
    deep: "groups nested deeper than 64",
    number_for_text: "@layer_names: no text. Found: HDF5's type class 1",
    square_of_texts: "@layer_names: no text and no list of texts. Found: shape (2, 1)",
    not_unicode: "/: a damaged HDF5 file. Found: 'utf-8' codec can't decode",
}


@pytest.mark.parametrize("make, message", REFUSED.items(), ids=[f.__name__ for f in REFUSED])
def test_what_no_keras_writes_is_refused(make, message, tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        make(file)
    with pytest.raises(FileError, match=re.escape(message)):
        root_of(tmp_path / "x")


def test_arrays_without_all_of_their_data_are_refused(tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file.create_dataset("a", (300,), "f4")
    with pytest.raises(FileError, match=r"a: an array without all of its data.*0 bytes, not 1200"):
        root_of(tmp_path / "x")
    with h5py.File(tmp_path / "x", "w") as file:
        file.create_dataset("a", (300,), "f4", chunks=(100,))[:200] = 1
    with pytest.raises(FileError, match="a: an array without all of its chunks"):
        root_of(tmp_path / "x")


def edited(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    return path


def test_an_array_beyond_the_end_is_refused(tmp_path):
    path = written(tmp_path / "x")
    with h5py.File(path) as file:
        at = file["a"].id.get_offset()
    place = struct.pack("<QQ", at, KERNEL.nbytes)
    edited(path, place, struct.pack("<QQ", at + 8, KERNEL.nbytes))
    with pytest.raises(FileError, match=r"a: an array beyond the end|a: a damaged HDF5 file"):
        root_of(path)


def test_one_string_for_many_names_is_refused(tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file.attrs["name"] = "x" * 30_000
        file.attrs["layer_names"] = ["abcdefg"] * 100
    data = bytearray((tmp_path / "x").read_bytes())
    places = [m.start() for m in re.finditer(re.escape(struct.pack("<L", 7)), data)]
    long = data[(at := data.index(struct.pack("<L", 30_000))) : at + 16]
    for place in places:
        if struct.unpack_from("<Q", data, place + 4)[0] < len(data):
            data[place : place + 16] = long
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FileError, match="attributes of more bytes than the file has"):
        root_of(tmp_path / "x")


def test_a_heap_of_strings_that_never_ends_is_refused(tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file.attrs["layer_names"] = ["a", "b", "c"]
    data = bytearray((tmp_path / "x").read_bytes())
    begin = data.index(b"GCOL")
    data[begin + 16 : begin + 4096] = struct.pack("<HHLQ", 9, 0, 0, 0) * 255
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FileError, match=r"/: a damaged HDF5 file. Found: no string \d of 1 byte"):
        root_of(tmp_path / "x")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-1], r"truncated HDF5 file. Found: (\d+) of \d+ bytes. Download"),
        (lambda data: data[:60], "truncated"),
        (lambda data: data[:8] + b"\7" + data[9:], "no HDF5 file of version 0 to 3"),
        (lambda data: data[:24] + b"\0\2" + data[26:], "behind other data. Found: base 512"),
        (lambda data: data[:200] + bytes(len(data) - 200), "a damaged HDF5 file"),
    ],
)
def test_damaged_files_are_refused(change, message, tmp_path):
    path = written(tmp_path / "x")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FileError, match=f"^file: .*{message}"):
        root_of(path)


def test_a_damaged_chunk_is_told_by_its_checksum(tmp_path):
    path = written(tmp_path / "x", chunks=KERNEL.shape, fletcher32=True)
    whole = edited(path, KERNEL.tobytes(), KERNEL.tobytes()[:-1] + b"\7")
    with pytest.raises(FileError, match=r"file: a: .*a chunk whose checksum differs"):
        tensor_of(whole)


def test_a_chunk_is_never_inflated_beyond_its_size(tmp_path):
    path = written(tmp_path / "x", np.zeros(1000), chunks=(1000,), compression=9)
    with h5py.File(path, "r+") as file:
        file["a"].id.write_direct_chunk((0,), zlib.compress(bytes(10_000_000)))
    with pytest.raises(FileError, match=r"file: a: .*a chunk of more than 8000 bytes"):
        tensor_of(path)


def test_attributes_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(attributes, "_MOST", 3)
    with h5py.File(tmp_path / "x", "w") as file:
        for i in range(4):
            file.attrs[f"x{i}"] = i
    with pytest.raises(FileError, match=r"/: more than 3 attributes. Found: 4"):
        root_of(tmp_path / "x")


def test_objects_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_MOST_OBJECTS", 5)
    with h5py.File(tmp_path / "x", "w") as file:
        for i in range(5):
            file.create_group(f"x{i}")
    with pytest.raises(FileError, match="a file of more than 5 objects"):
        root_of(tmp_path / "x")


def test_without_h5py_it_is_told_what_to_install(tmp_path, monkeypatch):
    path = written(tmp_path / "x")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'file: .*pip install "kerastorch\[files\]"'):
        root_of(path)
