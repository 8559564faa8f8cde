"""Protocol buffer messages from untrusted files: their fields by number.

The encoding is described at https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ...._core.errors import FileError

AGAIN = "Save or download it again."
_LONGEST_VARINT = 10
_MOST_FIELDS = 250_000  # each takes a hundred times its own two bytes
_INT64 = 1 << 63
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class Fixed:
    """An integer of 4 or 8 bytes, as checksums are."""

    value: int


Value = int | Fixed | memoryview


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned integer of variable length, and where it ends.

    Raises:
        ValueError: the data ends before, or it has more than 64 bits.
    """
    value = 0
    for count, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at + count + 1
    raise ValueError("an integer of variable length that does not end")


class Message:
    """The fields of a message; `where` names it in errors. A field that is absent has no value."""

    def __init__(self, where: str, data: memoryview) -> None:
        self.where = where
        self._fields: dict[int, list[Value]] = {}
        try:
            for count, (number, value) in enumerate(_split_fields(data)):
                if count == _MOST_FIELDS:
                    raise ValueError(f"more than {_MOST_FIELDS} fields")
                self._fields.setdefault(number, []).append(value)
        except ValueError as error:
            self.refuse(str(error))

    def refuse(self, found: str) -> NoReturn:
        """Raise the error for a damaged message."""
        what = "not the message that TensorFlow writes here"
        raise FileError(f"{self.where}: {what}. Found: {found}. {AGAIN}")

    def integer(self, number: int) -> int:
        """Return a signed integer; 0 if absent."""
        value = next(reversed(self._fields.get(number, [0])))
        if not isinstance(value, int):
            self.refuse(f"field {number} is no integer")
        return value - 2 * _INT64 if value >= _INT64 else value

    def fixed(self, number: int) -> int:
        """Return an unsigned integer of 4 or 8 bytes; 0 if absent."""
        value = next(reversed(self._fields.get(number, [Fixed(0)])))
        if not isinstance(value, Fixed):
            self.refuse(f"field {number} is no integer of 4 bytes")
        return value.value

    def items(self, number: int) -> Iterator[memoryview]:
        """Yield the bytes of a repeated field."""
        for value in self._fields.get(number, ()):
            if not isinstance(value, memoryview):
                self.refuse(f"field {number} is an integer")
            yield value

    def messages(self, number: int) -> Iterator[Message]:
        """Yield the messages of a repeated field."""
        for item in self.items(number):
            yield Message(self.where, item)

    def message(self, number: int) -> Message:
        """Return the message in a field, without any field if it is absent."""
        return Message(self.where, next(reversed([*self.items(number)]), memoryview(b"")))

    def text(self, number: int) -> str:
        """Return a string; "" if absent."""
        item = next(reversed([*self.items(number)]), memoryview(b""))
        try:
            return bytes(item).decode()
        except UnicodeDecodeError as error:
            self.refuse(f"field {number}: {error}")

    def has(self, number: int) -> bool:
        """Return whether a field is present."""
        return number in self._fields


def _split_fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT and number:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = read_varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"the wire type {kind}")
        if not number or size > len(data) - at:
            raise ValueError(f"field {number} of {size} bytes, more than are left")
        part = data[at : at + size]
        yield number, part if kind == _BYTES else Fixed(int.from_bytes(part, "little"))
        at += size
