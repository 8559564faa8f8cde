"""What checkpoints and SavedModels may not hold, as the user reads it."""

from __future__ import annotations

import pytest

from kerastorch._core.errors import FileError
from tests.formats.tensorflow.test_checkpoints import (
    ARRAYS,
    BIAS,
    CONFIG,
    INNER,
    KERNEL,
    read_all,
    save,
)
from tests.formats.tensorflow_files.bundle import (
    CRC,
    DTYPE,
    GRAPH,
    OFFSET,
    SHARD,
    SIZE,
    SLICES,
    pack,
    write_files,
)
from tests.formats.tensorflow_files.object_graph import trace, track
from tests.formats.tensorflow_files.protobuf import changed, encode, fixed32
from tests.formats.tensorflow_files.table import table


def with_entry(key, *fields):
    """Return what changes fields of an entry of a genuine checkpoint."""

    def change(bundle):
        for field, value in fields:
            bundle.entries[key] = changed(bundle.entries[key], field, value)

    return change


def with_header(*fields):
    def change(bundle):
        for field, value in fields:
            bundle.header = changed(bundle.header, field, value)

    return change


def without(key):
    return lambda bundle: bundle.entries.pop(key)


def graph_of(data: bytes):
    """Return what replaces the object graph."""

    def change(bundle):
        (bundle.entries, bundle.shards) = (lambda b: (b.entries, b.shards))(pack({GRAPH: data}))

    return change


KEY = "layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
REFUSED = {
    "beyond the end": (with_entry(KEY, (OFFSET, 1 << 40)), "data file that is too short"),
    "another size": (with_entry(KEY, (SIZE, 8)), r"an array of another size\. Found: \(4, 3\)"),
    "another file": (with_entry(KEY, (SHARD, 5)), "file 5 of 1"),
    "negative": (with_entry(KEY, (OFFSET, -1)), "not the message that TensorFlow writes here"),
    "bytes twice": (with_entry(KEY, (OFFSET, 0), (SIZE, 12)), "bytes are those of another"),
    "parts": (with_entry(KEY, (SLICES, [(1, 0)])), "a partitioned variable.*without a partitioner"),
    "big-endian": (with_header((2, 1)), "big-endian numbers"),
    "many files": (with_header((1, 1 << 31)), "1 to 500 data files. Found: 2147483648"),
    "no such array": (without(KEY), "without its array 'layer_with"),
    "no child": (graph_of(encode([(1, [(1, [(1, 9), (2, "a")])])])), "as number 9 of 1 objects"),
    "child twice": (
        graph_of(encode([(1, [(1, [(2, "a")]), (1, [(2, "a")])])])), "the child 'a' twice",
    ),
    "graph's checksum": (with_entry(GRAPH, (CRC, fixed32(1))), "a checksum that differs"),
    "graph of numbers": (with_entry(GRAPH, (DTYPE, 1)), "object graph|no string"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_checkpoint_may_not_hold_is_told(tmp_path, change, message):
    model = track(INNER, {"d": {"bias": BIAS, "kernel": KERNEL}})
    bundle = trace(model).bundle()
    change(bundle)
    write_files(tmp_path, bundle.files("x"))
    with pytest.raises(FileError, match=f"^{tmp_path / 'x'}: .*(?:{message})"):
        read_all(tmp_path / "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table([(b"", b"")], kind=1), r"^(?!.*damaged).*compressed with snappy"),
        (table([(b"", b"")], crc=5), "a block at 0 whose checksum differs"),
        (table([(b"", b""), (b"b", b""), (b"a", b"")]), "the key b'a' after b'b'"),
        (table([(b"", b"")])[:-1] + b"\0", "not a file that Keras writes"),
        (b"\0" * 40 + table([])[-8:], "beyond the end"),
    ],
)
def test_what_an_index_may_not_be_is_told(tmp_path, data, message):
    (tmp_path / "x.index").write_bytes(data)
    with pytest.raises(FileError, match=message):
        read_all(tmp_path / "x.index")


def test_parts_and_pointers_are_told(tmp_path):
    write_files(tmp_path, trace(track(CONFIG, ARRAYS)).files("x"))
    data = tmp_path / "x.data-00000-of-00001"
    with pytest.raises(FileError, match=r"a part of a checkpoint\. Give its path without"):
        read_all(data)
    data.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n" + bytes(999))
    with pytest.raises(FileError, match=r"x\.data-00000-of-00001: a Git LFS pointer"):
        read_all(tmp_path / "x")
    data.unlink()
    with pytest.raises(FileError, match=r"no file x\.data-00000-of-00001 beside it"):
        read_all(tmp_path / "x")
    save(tmp_path / "s")
    with pytest.raises(FileError, match=r"a part of a SavedModel\. Give the path of its directory"):
        read_all(tmp_path / "s" / "saved_model.pb")
    (tmp_path / "s" / "variables" / "variables.index").unlink()
    with pytest.raises(FileError, match=r"no file variables/variables\.index in it"):
        read_all(tmp_path / "s")
