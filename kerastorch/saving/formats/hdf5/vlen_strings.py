"""The strings of an HDF5 attribute, read without the library.

The library makes a copy of a string for every reference to it, so a small file may ask for any
amount of memory, and it never ends on some damaged heaps. The references are in the header of the
attribute's object, and the strings in heaps that belong to the whole file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ..byte_range import Window

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_SHARED = 0x02
_MOST_BLOCKS = 10_000
_REFERENCE = struct.Struct("<LQL")  # the string's length, its heap, and its number there
_HEAP = struct.Struct("<4sB3xQ")
_IN_HEAP = struct.Struct("<HH4xQ")

Heap = dict[int, tuple[int, int]]  # number -> where the string begins, and its size


class Strings:
    """Reads strings of variable length.

    Args:
        window: The file.
        take: Called with the number of bytes before they are read; raises where it is too many.
    """

    def __init__(self, window: Window, take: Callable[[int], object]) -> None:
        self.window = window
        self.take = take
        self.heaps: dict[int, Heap] = {}
        self.address = -1
        self.values: dict[bytes, bytes] = {}  # of the attributes of the object there

    def of(self, address: int, name: bytes, count: int) -> list[bytes]:
        """Return the strings of an attribute.

        Args:
            address: Where the header of the attribute's object begins.
            name: The attribute's name.
            count: How many strings it has.

        Raises:
            ValueError: they are not where they are in all files that Keras writes.
        """
        if address != self.address:
            self.address, self.values = address, dict(self._attributes(address))
        values = self.values.get(name)
        if values is None:
            raise ValueError(f"no attribute {name!r} in the header at byte {address}")
        places = range(0, count * _REFERENCE.size, _REFERENCE.size)
        return [self._string(*_REFERENCE.unpack_from(values, at)) for at in places]

    def _attributes(self, address: int) -> Iterator[tuple[bytes, bytes]]:
        for kind, flags, data in _messages(self.window, address):
            self.take(len(data) + 4)  # at least so many bytes go before it
            if kind == _ATTRIBUTE and not flags & _SHARED:
                yield _attribute(data)

    def _string(self, length: int, heap: int, number: int) -> bytes:
        if not length:
            return b""
        if heap not in self.heaps:
            self.heaps[heap] = dict(self._strings_in(heap))
        begin, size = self.heaps[heap].get(number, (0, -1))
        if size != length:
            raise ValueError(f"no string {number} of {length} bytes in the heap at byte {heap}")
        self.take(length)
        found = self.window.taken(begin, length)
        if len(found) != length:
            raise ValueError(f"a string beyond the end, in the heap at byte {heap}")
        return found

    def _strings_in(self, heap: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield number, begin and size of what is in a heap."""
        signature, version, whole = _HEAP.unpack(self.window.taken(heap, _HEAP.size))
        if signature != b"GCOL" or version != 1 or whole > self.window.size - heap:
            raise ValueError(f"no heap of strings at byte {heap}")
        at, end = heap + _HEAP.size, heap + whole
        while at + _IN_HEAP.size <= end:
            self.take(_IN_HEAP.size)
            number, _, size = _IN_HEAP.unpack(self.window.taken(at, _IN_HEAP.size))
            at += _IN_HEAP.size
            if not number:  # the free space behind the last
                return
            yield number, (at, size)
            at += -(-size // 8) * 8


def _messages(window: Window, address: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and data of each message of an object's header."""
    head = window.taken(address, 40).ljust(40, b"\0")
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
        for kind, flags, data in _in_block(window.taken(begin, size), new, ordered):
            yield kind, flags, data
            if kind == _CONTINUATION:
                offset, length = struct.unpack_from("<QQ", data)
                # A new block has a signature before its messages and a checksum behind them.
                blocks.append((offset + 4, length - 8) if new else (offset, length))


def _in_block(block: bytes, new: bool, ordered: bool) -> Iterator[tuple[int, int, bytes]]:
    header = struct.Struct("<BHB2x" if ordered else "<BHB" if new else "<HHB3x")
    at = 0
    while at + header.size <= len(block):
        kind, size, flags = header.unpack_from(block, at)
        at += header.size
        yield kind, flags, block[at : at + size]
        at += size


def _attribute(data: bytes) -> tuple[bytes, bytes]:
    """Return the name and the values of an attribute's message."""
    version, _, *sizes = struct.unpack_from("<BB3H", data)
    at = 9 if version == 3 else 8
    name = data[at : at + sizes[0]].split(b"\0")[0]
    step = 8 if version == 1 else 1
    return name, data[at + sum(-(-size // step) * step for size in sizes) :]
