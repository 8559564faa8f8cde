"""Strings of variable length in HDF5 attributes, read without the library.

The library copies a string for each reference to it, and hangs on some damaged heaps.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ..byte_range import ByteRange

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_SHARED = 0x02
_MOST_BLOCKS = 10_000
_REFERENCE = struct.Struct("<LQL")  # length, heap, index in the heap
_HEAP = struct.Struct("<4sB3xQ")
_IN_HEAP = struct.Struct("<HH4xQ")

Heap = dict[int, tuple[int, int]]  # index -> offset and size of the string


class StringReader:
    """Reads strings; `count_bytes` is called before each read and raises above the limit."""

    def __init__(self, window: ByteRange, count_bytes: Callable[[int], object]) -> None:
        self.window, self.count_bytes = window, count_bytes
        self.heaps: dict[int, Heap] = {}
        self.address = -1
        self.values: dict[bytes, bytes] = {}  # attributes of the object at `address` -> references

    def read(self, address: int, name: bytes, count: int) -> list[bytes]:
        """Return the strings of an attribute of the object whose header is at `address`."""
        if address != self.address:
            self.address, self.values = address, dict(self._read_references(address))
        values = self.values.get(name)
        if values is None:
            raise ValueError(f"no attribute {name!r} in the header at byte {address}")
        offsets = range(0, count * _REFERENCE.size, _REFERENCE.size)
        return [self._read_string(*_REFERENCE.unpack_from(values, at)) for at in offsets]

    def _read_references(self, address: int) -> Iterator[tuple[bytes, bytes]]:
        for kind, flags, data in _read_messages(self.window, address):
            self.count_bytes(len(data) + 4)  # at least the message and its prefix
            if kind == _ATTRIBUTE and not flags & _SHARED:
                yield _parse_attribute(data)

    def _read_string(self, length: int, heap: int, number: int) -> bytes:
        if not length:
            return b""
        if heap not in self.heaps:
            self.heaps[heap] = dict(self._read_heap(heap))
        begin, size = self.heaps[heap].get(number, (0, -1))
        if size != length:
            raise ValueError(f"no string {number} of {length} bytes in the heap at byte {heap}")
        self.count_bytes(length)
        found = self.window.read_at(begin, length)
        if len(found) != length:
            raise ValueError(f"a string beyond the end, in the heap at byte {heap}")
        return found

    def _read_heap(self, heap: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield the index, offset and size of each string of a heap."""
        signature, version, heap_size = _HEAP.unpack(self.window.read_at(heap, _HEAP.size))
        if signature != b"GCOL" or version != 1 or heap_size > self.window.size - heap:
            raise ValueError(f"no heap of strings at byte {heap}")
        at, end = heap + _HEAP.size, heap + heap_size
        while at + _IN_HEAP.size <= end:
            self.count_bytes(_IN_HEAP.size)
            number, _, size = _IN_HEAP.unpack(self.window.read_at(at, _IN_HEAP.size))
            at += _IN_HEAP.size
            if not number:  # free space
                return
            yield number, (at, size)
            at += -(-size // 8) * 8


def _read_messages(window: ByteRange, address: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the type, flags and data of each message of an object's header."""
    head = window.read_at(address, 40).ljust(40, b"\0")
    new = head[:4] == b"OHDR"
    ordered = new and bool(head[5] & 0x04)
    if new:
        at = 6 + 16 * bool(head[5] & 0x20) + 4 * bool(head[5] & 0x10)
        width = 1 << (head[5] & 3)
        blocks = [(address + at + width, int.from_bytes(head[at : at + width], "little"))]
    elif head[0] == 1:
        blocks = [(address + 16, int.from_bytes(head[8:12], "little"))]
    else:
        raise ValueError(f"no object at byte {address}")
    for number, (begin, size) in enumerate(blocks):
        if number >= _MOST_BLOCKS or size > window.size:
            raise ValueError(f"an endless header at byte {address}")
        for kind, flags, data in _split_block(window.read_at(begin, size), new, ordered):
            yield kind, flags, data
            if kind == _CONTINUATION:
                offset, length = struct.unpack_from("<QQ", data)
                # In version 2, a signature comes first and a checksum last.
                blocks.append((offset + 4, length - 8) if new else (offset, length))


def _split_block(block: bytes, new: bool, ordered: bool) -> Iterator[tuple[int, int, bytes]]:
    header = struct.Struct("<BHB2x" if ordered else "<BHB" if new else "<HHB3x")
    at = 0
    while at + header.size <= len(block):
        kind, size, flags = header.unpack_from(block, at)
        at += header.size
        yield kind, flags, block[at : at + size]
        at += size


def _parse_attribute(data: bytes) -> tuple[bytes, bytes]:
    """Return the name and the data of an attribute message."""
    version, _, *sizes = struct.unpack_from("<BB3H", data)
    at = 9 if version == 3 else 8
    name = data[at : at + sizes[0]].split(b"\0")[0]
    step = 8 if version == 1 else 1
    return name, data[at + sum(-(-size // step) * step for size in sizes) :]
