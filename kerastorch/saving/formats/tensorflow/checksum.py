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

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        for count in _ROWS:
            data = self._fold(memoryview(data).cast("B"), count)
        table = _byte_table()
        for byte in bytes(data):
            self._state = table[(self._state ^ byte) & 0xFF] ^ (self._state >> 8)

    @property
    def masked(self) -> int:
        """The checksum as files store it."""
        value = self._state ^ _ALL
        return ((value >> 15 | value << 17) + _MASK_DELTA) & _ALL

    def _fold(self, data: memoryview, count: int) -> memoryview:
        """Return shorter data with the same remainder: at most two rows of `count` words."""
        rows = len(data) // (4 * count)
        if rows < 2:
            return data
        words = np.frombuffer(data[: rows * 4 * count], "<u4").reshape(rows, count)
        low, high = _row_tables(count)
        row = words[0].copy()
        row[0] ^= self._state
        self._state = 0
        for following in words[1:]:
            row = low[row & 0xFFFF] ^ high[row >> 16] ^ following
        return memoryview(row.astype("<u4").tobytes() + bytes(data[rows * 4 * count :]))


def compute_checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the masked CRC-32C of bytes."""
    found = Checksum()
    found.update(data)
    return found.masked


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
