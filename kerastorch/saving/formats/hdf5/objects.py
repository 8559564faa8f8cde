"""Groups and arrays of an HDF5 file, read without its library."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from ...._core.errors import FileError
from ..byte_range import ByteRange, Progress
from ..npy import ArrayHeader, bytes_to_tensor, convert_read_errors, read_array, read_blocks
from ..weight_file import Weight
from .attributes import Attribute

GZIP, SHUFFLE, FLETCHER32 = 1, 2, 3  # HDF5's filter numbers
FILTERS = (GZIP, SHUFFLE, FLETCHER32)


def make_error(source: str, path: str, what: str) -> FileError:
    """Return the error for something in an HDF5 file that Keras does not write."""
    return FileError(f"{source}: {path or '/'}: {what}. Save it again with Keras.")


@dataclass(frozen=True)
class ChunkedData:
    """The chunks of an array: their shape, filters in the order of application, and positions."""

    shape: tuple[int, ...]
    filters: tuple[int, ...]
    chunks: tuple[Any, ...]  # of h5py: chunk_offset, filter_mask, byte_offset and size


@dataclass(frozen=True)
class Array:
    """A dataset with a checked header; `data` is its offset, its bytes (compact), or its chunks."""

    where: str  # for error messages
    path: str
    form: ArrayHeader
    window: ByteRange
    data: int | bytes | ChunkedData
    progress: Progress | None

    def __call__(self) -> Tensor:
        """Return the array as a new CPU tensor."""
        if isinstance(self.data, int):
            return read_array(self.where, self.form, self.window, self.data, self.progress)
        if isinstance(self.data, bytes):
            return bytes_to_tensor(self.where, self.form, self.data)
        found = bytearray(self.form.nbytes)
        with convert_read_errors(self.where):
            self._read_chunks(self.data, found)
        return bytes_to_tensor(self.where, self.form, found)

    def blocks(self) -> Iterator[Tensor]:
        """Yield the array's rows in order, in blocks of about a megabyte."""
        if isinstance(self.data, int):  # in C order, as all arrays of HDF5
            yield from read_blocks(self.where, self.form, self.window, self.data, self.progress)
        else:
            yield self()

    def weight(self, path: str, name: str | None) -> Weight:
        """Return the array as a weight."""
        return Weight(path, name, self.form.shape, self.form.dtype, self)

    def _read_chunks(self, data: ChunkedData, found: bytearray) -> None:
        item = int(self.form.code[2:])
        type_ = np.dtype(f"V{item}")
        array = np.frombuffer(found, type_).reshape(self.form.shape)
        nbytes = item * prod(data.shape)
        for chunk in data.chunks:
            packed = bytearray(chunk.size)
            self.window.read_into(chunk.byte_offset, packed, self.progress)
            plain = apply_filters(packed, data.filters, chunk.filter_mask, nbytes, item)
            part = np.frombuffer(plain, type_).reshape(data.shape)
            corner = zip(chunk.chunk_offset, data.shape, strict=True)
            region = array[tuple(slice(at, at + size) for at, size in corner)]
            region[...] = part[tuple(map(slice, region.shape))]


@dataclass(frozen=True)
class Group:
    """A group: its path ("" for the root), known attributes, and members by name."""

    path: str
    attributes: Mapping[str, Attribute]
    members: Mapping[str, Group | Array]

    def find(self, names: list[str]) -> Group | Array | None:
        """Return the member at a path of names, or None."""
        found: Group | Array | None = self
        for name in names:
            found = found.members.get(name) if isinstance(found, Group) else None
        return found

    def arrays(self) -> Iterator[Array]:
        """Yield the arrays in it and in all groups below it."""
        for member in self.members.values():
            if isinstance(member, Array):
                yield member
            else:
                yield from member.arrays()


def apply_filters(
    data: bytes | bytearray, filters: tuple[int, ...], mask: int, nbytes: int, item: int
) -> bytes | bytearray:
    """Undo a chunk's filters but those in `mask`; `nbytes` of elements of `item` bytes result."""
    for index, kind in reversed([*enumerate(filters)]):
        if mask >> index & 1:
            continue
        if kind == GZIP:
            inflate = zlib.decompressobj()
            data = inflate.decompress(data, nbytes + 4)  # 4 for a checksum
            if not inflate.eof:
                raise ValueError(f"a chunk of more than {nbytes} bytes, or a part of one")
        elif kind == SHUFFLE:
            data = _unshuffle(data, item)
        else:
            data = _verify_checksum(data)
    if len(data) != nbytes:
        raise ValueError(f"a chunk of {len(data)} bytes for {nbytes}")
    return data


def _unshuffle(data: bytes | bytearray, item: int) -> bytearray:
    count = len(data) // item
    found = bytearray(data)
    for byte in range(item):
        found[byte : count * item : item] = data[byte * count : (byte + 1) * count]
    return found


def _verify_checksum(data: bytes | bytearray) -> bytes | bytearray:
    """Return the data without its Fletcher-32 checksum, of big-endian 16-bit words."""
    if len(data) < 4:
        raise ValueError("a chunk without its checksum")
    plain, stored = data[:-4], int.from_bytes(data[-4:], "little")
    words = np.frombuffer(bytes(plain) + b"\0" * (len(plain) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(0xFFFF)
    low, high = int(words.sum()) % 0xFFFF, int((words * weights).sum()) % 0xFFFF
    if (low, high) != ((stored & 0xFFFF) % 0xFFFF, (stored >> 16) % 0xFFFF):
        raise ValueError("a chunk whose checksum differs")
    return plain
