"""What an HDF5 file holds, without its library: groups, and arrays that read themselves."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ...._core.errors import FileError
from ..byte_range import Window
from ..npy import Form, tensor
from ..weight_file import Weight
from .attributes import Attribute

Progress = Callable[[int], object]

GZIP, SHUFFLE, FLETCHER32 = 1, 2, 3  # HDF5's numbers of them
FILTERS = (GZIP, SHUFFLE, FLETCHER32)

_BLOCK = 1 << 20  # bytes that are read at a time


class Chunk(NamedTuple):
    """One chunk: its first index along each axis, where its bytes are, and what was left out."""

    corner: tuple[int, ...]
    at: int
    size: int
    mask: int


@dataclass(frozen=True)
class Chunked:
    """An array in chunks of one shape, each packed by filters in this order."""

    shape: tuple[int, ...]
    filters: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Array:
    """A dataset whose header is checked.

    Attributes:
        source: The file, for error messages.
        path: Where it is in the file.
        form: Its type and shape.
        window: The file's bytes.
        data: Where in them it is, its bytes where the header has them, or its chunks.
    """

    source: str
    path: str
    form: Form
    window: Window
    data: int | bytes | Chunked

    def read(self, progress: Progress | None = None) -> Tensor:
        """Return the array as a CPU tensor in memory of its own.

        Args:
            progress: Called with the number of bytes as they are read.

        Raises:
            FileError: the file is damaged, or closed.
        """
        found = bytearray(self.form.nbytes)
        with self._reading():
            if isinstance(self.data, bytes):
                found[:] = self.data
            elif isinstance(self.data, int):
                self.window.fill(self.data, found, progress)
            else:
                self._unpack(self.data, found, progress)
        return tensor(f"{self.source}: {self.path}", self.form, found)

    def blocks(self, progress: Progress | None = None) -> Iterator[Tensor]:
        """Yield the array's rows in order, as many at a time as take little memory.

        Args:
            progress: Called with the number of bytes as they are read.

        Raises:
            FileError: the file is damaged, or closed.
        """
        if not isinstance(self.data, int) or self.form.nbytes <= _BLOCK:
            yield self.read(progress)
            return
        count, *rest = self.form.stored  # of HDF5's arrays: the shape
        size = self.form.nbytes // count
        step = max(_BLOCK // size, 1)
        for first in range(0, count, step):
            rows = min(step, count - first)
            found = bytearray(rows * size)
            with self._reading():
                self.window.fill(self.data + first * size, found, progress)
            form = replace(self.form, stored=(rows, *rest))
            yield tensor(f"{self.source}: {self.path}", form, found)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ValueError, zlib.error) as error:
            what = f"an array that cannot be read. Found: {error}"
            remedy = "Open the file again, or save it again."
            raise FileError(f"{self.source}: {self.path}: {what}. {remedy}") from None

    def weight(self, path: str, name: str | None, progress: Progress | None) -> Weight:
        """Return the weight that the array is.

        Args:
            path: What is told of where it is.
            name: Keras's bare name of it.
            progress: Called with the number of bytes as they are read.
        """
        return Weight(path, name, self.form.shape, self.form.dtype, Reading(self, progress))

    def _unpack(self, data: Chunked, found: bytearray, progress: Progress | None) -> None:
        item = int(self.form.code[2:])
        type_ = np.dtype(f"V{item}")
        whole = np.frombuffer(found, type_).reshape(self.form.shape)
        nbytes = item * int(np.prod(data.shape, dtype=np.int64))
        for chunk in data.chunks:
            packed = bytearray(chunk.size)
            self.window.fill(chunk.at, packed, progress)
            plain = unpacked(packed, data.filters, chunk.mask, nbytes, item)
            part = np.frombuffer(plain, type_).reshape(data.shape)
            sizes = [
                min(size, full - at)
                for size, full, at in zip(data.shape, self.form.shape, chunk.corner, strict=True)
            ]
            place = tuple(slice(at, at + n) for at, n in zip(chunk.corner, sizes, strict=True))
            whole[place] = part[tuple(map(slice, sizes))]


@dataclass(frozen=True)
class Group:
    """A group: its attributes of known names, and what is in it, by name.

    Attributes:
        path: Where it is in the file; "" for the root.
        attributes: The attributes that Keras's readers look at.
        members: The groups and arrays in it.
    """

    path: str
    attributes: Mapping[str, Attribute]
    members: Mapping[str, Group | Array]

    def find(self, names: list[str]) -> Group | Array | None:
        """Return what is under a path of names, or None."""
        found: Group | Array | None = self
        for name in names:
            found = found.members.get(name) if isinstance(found, Group) else None
        return found

    def groups(self) -> Iterator[tuple[str, Group]]:
        """Yield the groups in it."""
        yield from ((k, v) for k, v in self.members.items() if isinstance(v, Group))

    def arrays(self) -> Iterator[Array]:
        """Yield the arrays in it and in all groups under it."""
        for member in self.members.values():
            if isinstance(member, Array):
                yield member
            else:
                yield from member.arrays()


def unpacked(
    data: bytes | bytearray, filters: tuple[int, ...], mask: int, nbytes: int, item: int
) -> bytes | bytearray:
    """Return a chunk's bytes without its filters.

    Args:
        data: The bytes in the file.
        filters: The numbers of the filters, in the order in which they were applied.
        mask: Which of them were left out, a bit for each.
        nbytes: How many bytes the chunk has without them.
        item: How many bytes an element has.

    Raises:
        ValueError: it is another size, or its checksum tells that it is damaged.
        zlib.error: the gzip data is damaged.
    """
    for index in reversed(range(len(filters))):
        if mask >> index & 1:
            continue
        if filters[index] == GZIP:
            inflate = zlib.decompressobj()
            data = inflate.decompress(data, nbytes + 4)  # 4 for a checksum below it
            if not inflate.eof:
                raise ValueError(f"a chunk of more than {nbytes} bytes, or a part of one")
        elif filters[index] == SHUFFLE:
            data = _unshuffled(data, item)
        else:
            data = _checked(data)
    if len(data) != nbytes:
        raise ValueError(f"a chunk of {len(data)} bytes for {nbytes}")
    return data


def _unshuffled(data: bytes | bytearray, item: int) -> bytearray:
    count = len(data) // item
    found = bytearray(data)
    for byte in range(item):
        found[byte : count * item : item] = data[byte * count : (byte + 1) * count]
    return found


def _checked(data: bytes | bytearray) -> bytes | bytearray:
    """Return the data before its Fletcher-32 checksum, which is of big-endian 16-bit words."""
    if len(data) < 4:
        raise ValueError("a chunk without its checksum")
    plain, stored = data[:-4], int.from_bytes(data[-4:], "little")
    words = np.frombuffer(bytes(plain) + b"\0" * (len(plain) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(0xFFFF)
    low, high = int(words.sum()) % 0xFFFF, int((words * weights).sum()) % 0xFFFF
    if (low, high) != ((stored & 0xFFFF) % 0xFFFF, (stored >> 16) % 0xFFFF):
        raise ValueError("a chunk with another checksum than the file tells")
    return plain


@dataclass(frozen=True)
class Reading:
    """How a weight is read that is an array of a file."""

    array: Array
    progress: Progress | None

    def __call__(self) -> Tensor:
        """Return the whole array."""
        return self.array.read(self.progress)

    def blocks(self) -> Iterator[Tensor]:
        """Yield its rows in order, a few at a time."""
        return self.array.blocks(self.progress)
