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


def decode(data: bytes) -> Message:
    """Return the fields of a message that `encode` takes, or none if it is no message."""
    found: Message = []
    at = 0
    try:
        while at < len(data):
            tag, at = read_varint(data, at)
            kind = tag & 7
            if kind == 0:
                value, at = read_varint(data, at)
                found.append((tag >> 3, value))
                continue
            size, at = read_varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if not tag >> 3 or at + size > len(data):
                return []
            inner = data[at : at + size]
            found.append((tag >> 3, inner if kind == 2 else Wire(kind, inner)))
            at += size
    except (IndexError, KeyError):
        return []
    return found


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and where it ends."""
    value, shift = 0, 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 128:
            return value, at
