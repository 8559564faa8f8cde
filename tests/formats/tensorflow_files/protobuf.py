"""Protobuf messages as lists of (field's number, value), and their bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

Message = list[tuple[int, Any]]


@dataclass(frozen=True)
class Wire:
    """A value of any wire type: the bytes behind its tag."""

    kind: int
    data: bytes


def fixed32(value: int) -> Wire:
    return Wire(5, struct.pack("<I", value))


def varint(value: int) -> bytes:
    """Return a number of 64 bits, seven bits in a byte; negative ones take ten bytes."""
    value %= 2**64
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def encode(message: Message) -> bytes:
    """Return a message's bytes: integers as varints, lists as messages, the rest as bytes."""
    found = []
    for number, value in message:
        if isinstance(value, Wire):
            kind, data = value.kind, value.data
        elif isinstance(value, int):
            kind, data = 0, varint(value)
        else:
            inner = encode(value) if isinstance(value, list) else value
            inner = inner.encode() if isinstance(inner, str) else inner
            kind, data = 2, varint(len(inner)) + inner
        found.append(varint(number << 3 | kind) + data)
    return b"".join(found)


def changed(message: Message, number: int, *values: Any) -> Message:
    """Return a message in which a field has these values instead: none, one or several."""
    before = [(other, value) for other, value in message if other < number]
    after = [(other, value) for other, value in message if other > number]
    return [*before, *((number, value) for value in values), *after]
