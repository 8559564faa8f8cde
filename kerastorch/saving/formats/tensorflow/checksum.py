"""The checksum of TensorFlow's checkpoints: CRC-32C, masked.

A CRC is the remainder of a division of polynomials, so that a word of the data may be moved to a
later place if it is multiplied with a constant and added (XOR) to the word that is there. Thus the
rows of a large array are folded into its last row, with NumPy, and few bytes are left for a loop.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected: the lowest bit is that of the highest power
_MASK_DELTA = 0xA282EAD8
_ALL = 0xFFFFFFFF
_STEP = 16  # how much longer each kind of row is than the next
_ROWS = (64 * _STEP**2, 64 * _STEP, 64)  # words in a row, the longest first

Words = np.ndarray[Any, np.dtype[np.uint32]]


class Checksum:
    """The CRC-32C of bytes that arrive in parts."""

    def __init__(self) -> None:
        self._state = _ALL
        self._rest = b""  # what is not yet part of the state

    def update(self, data: Any) -> None:
        """Add bytes, or an array of bytes."""
        joined = b"".join((self._rest, data))
        self._rest, self._state = _fold(joined, self._state, _ROWS[0])

    @property
    def masked(self) -> int:
        """The checksum as files store it."""
        data, state = self._rest, self._state
        for count in _ROWS[1:]:
            data, state = _fold(data, state, count)
        table = _byte_table()
        for byte in data:
            state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
        value = state ^ _ALL
        return ((value >> 15 | value << 17) + _MASK_DELTA) & _ALL


def compute_checksum(data: Any) -> int:
    """Return the masked CRC-32C of bytes."""
    found = Checksum()
    found.update(data)
    return found.masked


def _fold(data: bytes, state: int, count: int) -> tuple[bytes, int]:
    """Return data with the same remainder of less than two rows of `count` words, and the state."""
    size = 4 * count
    rows = len(data) // size
    if rows < 2:
        return data, state
    words = np.frombuffer(data, "<u4", rows * count).reshape(rows, count)
    low, high = _row_tables(count)
    row = words[0].astype(np.uint32)
    row[0] ^= state
    for following in words[1:]:
        # All indices are in the tables: "clip" only spares a check.
        moved = np.take(low, row & 0xFFFF, mode="clip")
        moved ^= np.take(high, row >> 16, mode="clip")
        row = np.bitwise_xor(moved, following, out=moved)
    return row.astype("<u4").tobytes() + data[rows * size :], 0


@cache
def _byte_table() -> tuple[int, ...]:
    """Return the remainder of each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (_POLYNOMIAL if value & 1 else 0) for value in table]
    return tuple(table)


@cache
def _row_tables(count: int) -> tuple[Words, Words]:
    """Return what the low and the high half of a word are, moved by `count` words."""
    words = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if count > _ROWS[-1]:
        low, high = _row_tables(count // _STEP)
        for _ in range(_STEP):
            words = low[words & 0xFFFF] ^ high[words >> 16]
    else:
        table = np.array(_byte_table(), np.uint32)
        for _ in range(4 * count):
            words = table[words & 0xFF] ^ (words >> 8)
    return _combine(words[:16]), _combine(words[16:])


def _combine(bits: Words) -> Words:
    """Return the XOR of each subset of 16 words, by the number whose bits say which."""
    table = np.zeros(1, np.uint32)
    for bit in bits:
        table = np.concatenate([table, table ^ bit])
    return table
