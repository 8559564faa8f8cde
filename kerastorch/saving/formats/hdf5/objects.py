"""Groups and arrays of an HDF5 file, read without its library."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ...._core.errors import FileError
from ..byte_range import ByteRange
from ..npy import ArrayHeader, bytes_to_tensor
from ..weight_file import Weight
from .attributes import Attribute

Progress = Callable[[int], object]

GZIP, SHUFFLE, FLETCHER32 = 1, 2, 3  # HDF5's filter numbers
FILTERS = (GZIP, SHUFFLE, FLETCHER32)

_BLOCK = 1 << 20  # bytes read at a time


def make_error(source: str, path: str, what: str) -> FileError:
    """Return the error for something in an HDF5 file that Keras does not write."""
    return FileError(f"{source}: {path or '/'}: {what}. Save it again with Keras.")


class Chunk(NamedTuple):
    """One chunk: its first index per axis, offset and size, and the mask of skipped filters."""

    corner: tuple[int, ...]
    at: int
    size: int
    mask: int


@dataclass(frozen=True)
class ChunkedData:
    """The chunks of an array: their shape, and the filters in the order of application."""

    shape: tuple[int, ...]
    filters: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Array:
    """A dataset with a checked header; `data` is its offset, its bytes (compact), or its chunks."""

    source: str
    path: str
    form: ArrayHeader
    window: ByteRange
    data: int | bytes | ChunkedData

    def read(self, progress: Progress | None = None) -> Tensor:
        """Return the array as a new CPU tensor."""
        found = bytearray(self.form.nbytes)
        with self._convert_errors():
            if isinstance(self.data, bytes):
                found[:] = self.data
            elif isinstance(self.data, int):
                self.window.read_into(self.data, found, progress)
            else:
                self._read_chunks(self.data, found, progress)
        return bytes_to_tensor(f"{self.source}: {self.path}", self.form, found)

    def blocks(self, progress: Progress | None = None) -> Iterator[Tensor]:
        """Yield the array's rows in order, in blocks of about a megabyte."""
        if not isinstance(self.data, int) or self.form.nbytes <= _BLOCK:
            yield self.read(progress)
            return
        count, *rest = self.form.stored  # equal to the shape in HDF5
        size = self.form.nbytes // count
        step = max(_BLOCK // size, 1)
        for first in range(0, count, step):
            rows = min(step, count - first)
            found = bytearray(rows * size)
            with self._convert_errors():
                self.window.read_into(self.data + first * size, found, progress)
            form = replace(self.form, stored=(rows, *rest))
            yield bytes_to_tensor(f"{self.source}: {self.path}", form, found)

    @contextmanager
    def _convert_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ValueError, zlib.error) as error:
            what = f"an array that cannot be read. Found: {error}"
            remedy = "Open the file again, or save it again."
            raise FileError(f"{self.source}: {self.path}: {what}. {remedy}") from None

    def weight(self, path: str, name: str | None, progress: Progress | None) -> Weight:
        """Return the array as a weight."""
        return Weight(path, name, self.form.shape, self.form.dtype, _ArrayReader(self, progress))

    def _read_chunks(self, data: ChunkedData, found: bytearray, progress: Progress | None) -> None:
        item = int(self.form.code[2:])
        type_ = np.dtype(f"V{item}")
        array = np.frombuffer(found, type_).reshape(self.form.shape)
        nbytes = item * int(np.prod(data.shape, dtype=np.int64))
        for chunk in data.chunks:
            packed = bytearray(chunk.size)
            self.window.read_into(chunk.at, packed, progress)
            plain = apply_filters(packed, data.filters, chunk.mask, nbytes, item)
            part = np.frombuffer(plain, type_).reshape(data.shape)
            sizes = [
                min(size, full - at)
                for size, full, at in zip(data.shape, self.form.shape, chunk.corner, strict=True)
            ]
            region = tuple(slice(at, at + n) for at, n in zip(chunk.corner, sizes, strict=True))
            array[region] = part[tuple(map(slice, sizes))]


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

    def groups(self) -> Iterator[tuple[str, Group]]:
        """Yield the names and groups directly in it."""
        yield from ((k, v) for k, v in self.members.items() if isinstance(v, Group))

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
    """Undo a chunk's filters, except those whose bit is set in `mask`.

    The result must have `nbytes` bytes, of elements of `item` bytes.
    """
    for index in reversed(range(len(filters))):
        if mask >> index & 1:
            continue
        if filters[index] == GZIP:
            inflate = zlib.decompressobj()
            data = inflate.decompress(data, nbytes + 4)  # 4 for a checksum
            if not inflate.eof:
                raise ValueError(f"a chunk of more than {nbytes} bytes, or a part of one")
        elif filters[index] == SHUFFLE:
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


@dataclass(frozen=True)
class _ArrayReader:
    """The `read` of a weight that is an array of an HDF5 file."""

    array: Array
    progress: Progress | None

    def __call__(self) -> Tensor:
        """Return the array."""
        return self.array.read(self.progress)

    def blocks(self) -> Iterator[Tensor]:
        """Yield the rows in order, a few at a time."""
        return self.array.blocks(self.progress)
