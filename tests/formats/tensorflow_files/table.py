"""Sorted tables as LevelDB writes them: blocks of keys and values, and a footer."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.formats.tensorflow_files.protobuf import read_varint, varint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
Handle = tuple[int, int]  # offset, size without type and checksum


def _list_remainders() -> list[int]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return found


_REMAINDERS = _list_remainders()


def crc32c(data: bytes) -> int:
    found = 0xFFFFFFFF
    for byte in data:
        found = found >> 8 ^ _REMAINDERS[(found ^ byte) & 255]
    return found ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Return the checksum as tables and bundles store it."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) % 2**32


def entry(shared: int, tail: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an entry whose key is `shared` bytes of the one before, and `tail`."""
    size = len(value) if length is None else length
    return varint(shared) + varint(len(tail)) + varint(size) + tail + value


def block(
    pairs: Iterable[tuple[bytes, bytes]], interval: int = 16, restarts: int | None = None
) -> bytes:
    """Return the entries of a block; every `interval`-th has its whole key.

    Args:
        pairs: Keys and values.
        interval: How many entries stand between two places to start from.
        restarts: How many places to start from it says that it has.
    """
    data, starts, before = bytearray(), [], b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % interval:
            while key[: shared + 1] == before[: shared + 1] and shared < len(key):
                shared += 1
        else:
            starts.append(len(data))
        data += entry(shared, key[shared:], value)
        before = key
    return close_block(bytes(data), starts or [0], restarts)


def close_block(data: bytes, starts: list[int], restarts: int | None = None) -> bytes:
    """Return entries with the places to start from behind them."""
    count = len(starts) if restarts is None else restarts
    return data + struct.pack(f"<{len(starts) + 1}I", *starts, count % 2**32)


def seal(data: bytes, kind: int = 0, crc: int | None = None) -> bytes:
    """Return a block with its type (0: as it is, 1: snappy) and its checksum behind it."""
    typed = data + bytes([kind])
    return typed + struct.pack("<I", masked_crc32c(typed) if crc is None else crc)


def handle(at: Handle) -> bytes:
    return varint(at[0]) + varint(at[1])


def footer(metaindex: Handle, index: Handle, magic: bytes = MAGIC) -> bytes:
    return (handle(metaindex) + handle(index)).ljust(40, b"\0") + magic


def table(
    pairs: Iterable[tuple[bytes, bytes]],
    *,
    most: int = 1 << 18,
    interval: int = 16,
    kind: int = 0,
    crc: int | None = None,
) -> bytes:
    """Return a table of keys and values, in the order given.

    Args:
        pairs: Keys and values.
        most: A block ends where its entries have that many bytes.
        interval: See `block`.
        kind: The type that the data blocks say they have.
        crc: What the data blocks have for a checksum, instead of theirs.
    """
    groups: list[list[tuple[bytes, bytes]]] = [[]]
    size = 0
    for key, value in pairs:
        if size >= most:
            groups.append([])
            size = 0
        groups[-1].append((key, value))
        size += len(key) + len(value)
    lasts = [group[-1][0] if group else b"" for group in groups]
    lasts[-1] = bytes([min(lasts[-1][0] + 1, 255)]) if lasts[-1] else b""  # any key behind the last
    blocks = [(last, block(group, interval)) for last, group in zip(lasts, groups, strict=True)]
    return assemble([(last, seal(data, kind, crc), len(data)) for last, data in blocks])


def assemble(blocks: Iterable[tuple[bytes, bytes, int]]) -> bytes:
    """Return a table of blocks: each one's last key, its sealed bytes, and its size unsealed."""
    data, handles = b"", []
    for last, sealed, size in blocks:
        handles.append((last, handle((len(data), size))))
        data += sealed
    ends = []
    for inner in (block([]), block(handles, 1)):
        ends.append((len(data), len(inner)))
        data += seal(inner)
    return data + footer(*ends)


def read_blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the data blocks of a genuine table: each one's last key, and its bytes."""
    numbers, at = [], len(data) - 48
    for _ in range(4):
        value, at = read_varint(data, at)
        numbers.append(value)
    found = []
    for key, place in read_pairs(data[numbers[2] : numbers[2] + numbers[3]]):
        start, at = read_varint(place, 0)
        size, _ = read_varint(place, at)
        found.append((key, data[start : start + size]))
    return found


def read_pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the keys and values of a genuine block."""
    found, key, at = [], b"", 0
    end = len(data) - 4 * (1 + struct.unpack("<I", data[-4:])[0])
    while at < end:
        shared, at = read_varint(data, at)
        tail, at = read_varint(data, at)
        size, at = read_varint(data, at)
        key = key[:shared] + data[at : at + tail]
        at += tail
        found.append((key, data[at : at + size]))
        at += size
    return found
