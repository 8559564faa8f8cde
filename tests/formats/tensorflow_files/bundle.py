"""Bundles of arrays as TensorFlow writes them: a table of entries, and files of bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.formats.tensorflow_files.protobuf import Message, encode, fixed32, varint
from tests.formats.tensorflow_files.table import masked_crc32c, table

DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7,
    "complex64": 8, "int64": 9, "bool": 10, "bfloat16": 14, "uint16": 17, "complex128": 18,
    "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
DTYPE, SHAPE, SHARD, OFFSET, SIZE, CRC, SLICES = range(1, 8)  # fields of an entry
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True)
class Stored:
    """An array as a bundle stores it: its bytes, and those that its checksum is of."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    checked: bytes


def store(value: Any) -> Stored:
    """Return what a bundle stores of an array, of bytes, or of a list of bytes."""
    if isinstance(value, Stored):
        return value
    if isinstance(value, (bytes, list)):
        texts = value if isinstance(value, list) else [value]
        lengths = struct.pack(f"<{len(texts)}I", *map(len, texts))
        inner = struct.pack("<I", masked_crc32c(lengths)) + b"".join(texts)
        shape = (len(value),) if isinstance(value, list) else ()
        packed = b"".join(varint(len(text)) for text in texts)
        return Stored("string", shape, packed + inner, lengths + inner)
    array = np.asarray(value)
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return Stored(array.dtype.name, array.shape, data, data)


def store_bfloat16(array: np.ndarray) -> Stored:
    """Return an array of float32, cut to bfloat16."""
    bits = np.ascontiguousarray(array, "<f4").view("<u4") >> 16
    data = bits.astype("<u2").tobytes()
    return Stored("bfloat16", array.shape, data, data)


@dataclass
class Bundle:
    """The header, the entries and the data files of a bundle; all may be changed."""

    header: Message
    entries: dict[str, Message]
    shards: list[bytes]

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return the keys and values of the index in order, without and with the header."""
        named = [(key.encode(), encode(message)) for key, message in self.entries.items()]
        return [(b"", encode(self.header)), *sorted(named)]

    def files(self, prefix: str, **options: Any) -> dict[str, bytes]:
        """Return name -> content; the options are those of `table`."""
        data = {
            f"{prefix}.data-{number:05}-of-{len(self.shards):05}": content
            for number, content in enumerate(self.shards)
        }
        return {f"{prefix}.index": table(self.pairs(), **options), **data}


def describe(stored: Stored, shard: int, offset: int) -> Message:
    """Return an entry; as in every message, what is 0 is left out."""
    dims = [(2, [(1, size)]) for size in stored.shape]
    numbers = [(SHARD, shard), (OFFSET, offset), (SIZE, len(stored.data))]
    return [
        (DTYPE, DTYPES[stored.dtype]),
        (SHAPE, dims),
        *[(number, value) for number, value in numbers if value],
        (CRC, fixed32(masked_crc32c(stored.checked))),
    ]


def pack(*shards: Mapping[str, Any]) -> Bundle:
    """Return a bundle with a data file for each dict of key -> array, bytes or list of bytes."""
    entries, files = {}, []
    for number, arrays in enumerate(shards):
        data = b""
        for key, value in arrays.items():
            stored = store(value)
            entries[key] = describe(stored, number, len(data))
            data += stored.data
        files.append(data)
    header: Message = [(1, len(shards)), (3, [(1, 1)])]
    return Bundle(header, entries, files)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write name -> content into a folder, which is made, and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
