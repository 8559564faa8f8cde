"""The table of keys and values in a checkpoint's `.index` file, as LevelDB writes it.

The format: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

from collections.abc import Iterator

from ...._core.errors import FileError
from .checksum import compute_checksum
from .message import AGAIN, read_varint

MAGIC = bytes.fromhex("57fb808b247547db")  # the end of a table
MOST_BYTES = 256 << 20
_FOOTER = 48
_TRAILER = 5  # of a block: the compression, and a checksum
_LONGEST_KEY = 4 << 10
_MOST_KEY_BYTES = 64 << 20
_MOST_ENTRIES = 1_000_000
_COMPRESSIONS = {1: "snappy", 2: "zstd"}

Entry = tuple[bytes, memoryview]


def read_table(where: str, data: bytes) -> dict[bytes, memoryview]:
    """Return the values by their keys, which ascend.

    Raises:
        FileError: the table is damaged, or compressed.
    """
    found: dict[bytes, memoryview] = {}
    try:
        last, size = b"", 0
        for key, value in _iterate_entries(where, memoryview(data)):
            size += len(key)
            if found and key <= last:
                raise ValueError(f"the key {key[:50]!r} after {last[:50]!r}")
            if len(found) >= _MOST_ENTRIES or size > _MOST_KEY_BYTES:
                raise ValueError(f"more than {_MOST_ENTRIES} keys, or {_MOST_KEY_BYTES} bytes")
            found[key] = value
            last = key
    except FileError:  # a ValueError, too
        raise
    except ValueError as error:
        what = "not the index of a TensorFlow checkpoint, or damaged"
        raise FileError(f"{where}: {what}. Found: {error}. {AGAIN}") from None
    return found


def _iterate_entries(where: str, data: memoryview) -> Iterator[Entry]:
    end = len(data) - _FOOTER
    if end < 0 or data[-len(MAGIC) :] != MAGIC:
        raise ValueError(f"{len(data)} bytes without the end of a table")
    _, _, at = _read_handle(data, end)  # of metadata, which no checkpoint has
    offset, size, _ = _read_handle(data, at)
    before = 0
    for _, handle in _read_block(where, data[:end], offset, size):
        start, length, _ = _read_handle(handle, 0)
        if start != before:
            raise ValueError(f"a block at {start}, not at the end of the one before it, {before}")
        before = start + length + _TRAILER
        yield from _read_block(where, data[: min(end, offset)], start, length)


def _read_handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """Return the offset and the size of a block, and where the handle ends."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return offset, size, at


def _read_block(where: str, data: memoryview, offset: int, size: int) -> Iterator[Entry]:
    if offset + size + _TRAILER > len(data) or size < 4:
        raise ValueError(f"a block of {size} bytes at {offset}, beyond the end")
    block, after = data[offset : offset + size], offset + size
    kind = data[after]
    if int.from_bytes(data[after + 1 : after + _TRAILER], "little") != compute_checksum(
        data[offset : after + 1]
    ):
        raise ValueError(f"a block at {offset} whose checksum differs")
    if kind:
        name = _COMPRESSIONS.get(kind, str(kind))
        what = f"an index compressed with {name}, which TensorFlow has not written since 1.2"
        raise FileError(f"{where}: {what}. Save the checkpoint again with a later TensorFlow.")
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    if end < 0:
        raise ValueError(f"{restarts} restarts in a block of {size} bytes")
    key, at = b"", 0
    while at < end:
        shared, at = read_varint(block[:end], at)
        length, at = read_varint(block[:end], at)
        value, at = read_varint(block[:end], at)
        if shared > len(key) or length + value > end - at or shared + length > _LONGEST_KEY:
            raise ValueError(f"a key of {shared + length} bytes")
        key = key[:shared] + bytes(block[at : at + length])
        at += length
        yield key, block[at : at + value]
        at += value
