"""Arrays out of a pickle, without unpickling it.

A pickle is a program. Here a machine of its own runs it that knows the instructions that build
numbers, strings, lists and dicts, and seven names, by which it notes what an array is like. It
imports nothing and calls nothing, and what a pickle may cost is bounded by its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

from ..._core.errors import FileError
from .npy import MOST_AXES, Form, columns_first, form, rows_first

MOST_STEPS = 200_000  # of one pickle; an array takes about thirty

_CORES = ("numpy._core", "numpy.core")
_GLOBALS = {
    **{(f"{core}.multiarray", "_reconstruct"): "empty" for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): "filled" for core in _CORES},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("ml_dtypes", "bfloat16"): "bfloat16",
    ("_codecs", "encode"): "encode",
}
_OBJECTS = ("O", "O4", "O8")
_MOST_ARGUMENTS = 9


class Name(NamedTuple):
    """A global that a pickle may name; it stands for nothing that could be called."""

    meaning: str


@dataclass(eq=False)
class Type:
    """A NumPy dtype: its code without the byte order, and the order once it is known."""

    kind: str
    order: str = "|"


@dataclass(eq=False)
class PickledArray:
    """An array as a pickle has it.

    Attributes:
        form: What its bytes mean; None for an array of objects, or one without data.
        data: The bytes, or the list of objects of an array of objects; None without data.
    """

    form: Form | None = None
    data: Any = None


class _Mark:
    """Where on the stack the next list, dict or tuple begins."""


def unpickled(where: str, data: bytes, kind: type[Machine] | None = None) -> Any:
    """Return what a pickle holds: lists, tuples, dicts, strings, numbers and `PickledArray`s.

    Args:
        where: The file and the place in it, for error messages.
        data: The pickle, of protocol 0 to 5.
        kind: A machine that knows more than arrays.

    Raises:
        FileError: it is no pickle of arrays, or asks for anything else than to build them.
    """
    machine = (kind or Machine)(where, data)
    try:
        value = machine.run()
        rest = machine.size - machine.stream.tell()
        if rest:
            raise ValueError(f"{rest} bytes after its end")
    except FileError:
        raise
    except (ValueError, TypeError, LookupError, struct.error) as error:
        found = f"Found: {type(error).__name__}: {error}, at byte {machine.stream.tell()}"
        raise FileError(f"{where}: a damaged pickle. {found}. Write it again.") from None
    return value


class Machine:
    """The stack, the memo and the instructions of one pickle; a subclass may know more of them.

    Nothing from the pickle is compared, hashed or shown before its type and its length are known,
    since a few bytes of nested tuples can stand for more values than there is time for.
    """

    names: ClassVar[Mapping[tuple[str, str], str]] = _GLOBALS
    wanted: ClassVar[str] = "arrays"
    remedy: ClassVar[str] = (
        "Arrays in a list or a dict are read; where you trust the file, unpickle it yourself and "
        "pass the arrays."
    )

    def __init__(self, where: str, data: bytes) -> None:
        self.where = where
        self.size = len(data)
        self.encoded = 0  # bytes that strings were read as; a pickle may name one many times
        self.spent = 0  # bytes of all arrays; likewise
        self.stream = BytesIO(data)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_STEPS):
            code = self.stream.read(1)
            if code == b".":
                if len(self.stack) != 1 or isinstance(self.stack[0], _Mark):
                    raise ValueError("an end amid a value")
                return self.stack[0]
            self.step(code)
        raise self.refused(f"more than {MOST_STEPS} instructions")

    def step(self, code: bytes) -> None:
        if code in _PUSHES:
            self.stack.append(_PUSHES[code](self))
        elif code in _STEPS:
            _STEPS[code](self)
        else:
            raise self.refused(f"an instruction that no array needs: {code!r}")

    def refused(self, found: str) -> FileError:
        return FileError(
            f"{self.where}: a pickle of something else than {self.wanted}. Found: {found}, before "
            f"byte {self.stream.tell()}. {self.remedy}"
        )

    # What follows an instruction

    def taken(self, count: int) -> bytes:
        if not 0 <= count <= self.size - self.stream.tell():
            raise ValueError(f"{count} bytes beyond the end")
        return self.stream.read(count)

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.taken(struct.calcsize(layout)))[0])

    def counted(self, layout: str) -> bytes:
        return self.taken(self.number(layout))

    def line(self) -> str:
        text = self.stream.readline()
        if text[-1:] != b"\n":
            raise ValueError("a line beyond the end")
        return text[:-1].decode("raw-unicode-escape")

    def integer(self) -> int:
        text = self.line()
        if len(text) > 20:
            raise ValueError("a number of more than 20 digits")
        return text == "01" if text in ("00", "01") else int(text.removesuffix("L"))

    # What instructions do

    def popped(self, count: int) -> tuple[Any, ...]:
        found = tuple(self.stack[-count:])
        if len(found) < count or any(isinstance(value, _Mark) for value in found):
            raise ValueError(f"fewer than {count} values")
        del self.stack[-count:]
        return found

    def above_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[at], _Mark):
                found = self.stack[at + 1 :]
                del self.stack[at:]
                return found
        raise ValueError("no mark")

    def extend(self, values: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("no list to append to")
        self.stack[-1].extend(values)

    def update(self, values: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise ValueError("no dict to set")
        self.stack[-1].update(_paired(values))

    def remember(self, key: int) -> None:
        if isinstance(self.stack[-1], _Mark):
            raise ValueError("no value to remember")
        self.memo[key] = self.stack[-1]

    def named(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no string")
        meaning = self.names.get((module, name))
        if meaning is None:
            raise self.refused(f"the name {module[:100]!r}, {name[:100]!r}")
        return Name(meaning)

    def called(self) -> Any:
        function, arguments = self.popped(2)
        if not isinstance(function, Name) or not is_short(arguments):
            raise self.refused("a call that no array needs")
        return self.call(function.meaning, arguments)

    def call(self, meaning: str, arguments: tuple[Any, ...]) -> Any:
        if meaning not in _CALLS:
            raise self.refused("a call that no array needs")
        return _CALLS[meaning](self, *arguments)

    def build(self) -> None:
        target, state = self.popped(2)
        self.stack.append(target)
        self.set_state(target, state)

    def set_state(self, target: Any, state: Any) -> None:
        if not is_short(state):
            raise self.refused("a state that no array has")
        if isinstance(target, Type):
            _, order, *fields = state
            if order not in ("<", ">", "|") or fields[:3] != [None, None, None]:
                raise self.refused("an array with fields")
            target.order = order
        elif isinstance(target, PickledArray) and target.data is None:
            _, shape, dtype, by_columns, data = state
            self.fill(target, dtype, shape, data, "F" if by_columns else "C")
        else:
            raise self.refused("a state that no array has")

    def fill(
        self, array: PickledArray, dtype: Any, shape: Any, data: Any, order: Any, axes: Any = ()
    ) -> PickledArray:
        sizes, axes = integers(shape), integers(axes)
        if not isinstance(dtype, Type):
            raise ValueError("no type")
        if dtype.kind in _OBJECTS and isinstance(data, list):
            array.data = data
            return array
        if not isinstance(data, (bytes, bytearray, str)) or not isinstance(order, str):
            raise ValueError("no data")
        if isinstance(data, str):  # Python 2 had one type for both
            data = self.as_bytes(data)
        code = dtype.order + dtype.kind
        if order == "K":
            array.form = form(self.where, code, sizes, axes)
        else:
            arranged = columns_first if order == "F" else rows_first
            array.form = arranged(self.where, code, sizes)
        self.spent += len(data)
        if len(data) != array.form.nbytes or self.spent > self.size:
            shown = f"{len(data)} bytes for {array.form.shape} of {array.form.dtype}"
            raise self.refused(f"an array of another size than it says, {shown}")
        array.data = data
        return array

    def as_bytes(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
            raise self.refused("an encoding that no array needs")
        self.count(len(text))
        return text.encode("latin-1")

    def count(self, nbytes: int) -> None:
        self.encoded += nbytes
        if self.encoded > self.size:
            raise self.refused("strings of more bytes than the file has")


def is_short(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= _MOST_ARGUMENTS


def integers(values: Any) -> tuple[int, ...]:
    given = (values,) if type(values) is int else values
    if not isinstance(given, (list, tuple)) or len(given) > MOST_AXES:
        raise ValueError("no shape")
    if not all(type(value) is int for value in given):
        raise ValueError("a shape that is not of integers")
    return tuple(given)


def _paired(values: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    keys, found = values[::2], values[1::2]
    if len(keys) != len(found) or not all(isinstance(key, str) for key in keys):
        raise ValueError("a key that is no string")
    return dict(zip(keys, found, strict=True))


def _dtype(machine: Machine, kind: Any, *_: Any) -> Type:
    if isinstance(kind, Name) and kind.meaning == "bfloat16":
        return Type("V2")
    if not isinstance(kind, str) or len(kind) > 8:
        raise machine.refused("a type that no array has")
    return Type(kind)


_CALLS: dict[str, Callable[..., Any]] = {
    "empty": lambda machine, *_: PickledArray(),
    "filled": lambda m, data, dtype, shape, order, axes=(): m.fill(
        PickledArray(), dtype, shape, data, order, axes or ()
    ),
    "scalar": lambda m, dtype, data: m.fill(PickledArray(), dtype, (), data, "C"),
    "dtype": _dtype,
    "encode": lambda m, text, encoding: m.as_bytes(text, encoding),
}

# Instructions, by their byte: those that put a value on the stack, and the others
_PUSHES: dict[bytes, Callable[[Machine], Any]] = {
    b"(": lambda m: _Mark(),
    b"N": lambda m: None,
    b"\x88": lambda m: True,
    b"\x89": lambda m: False,
    b"I": Machine.integer,
    b"L": Machine.integer,
    b"J": lambda m: m.number("<i"),
    b"K": lambda m: m.number("<B"),
    b"M": lambda m: m.number("<H"),
    b"\x8a": lambda m: int.from_bytes(m.counted("<B"), "little", signed=True),
    b"V": Machine.line,
    b"X": lambda m: m.counted("<I").decode(),
    b"\x8c": lambda m: m.counted("<B").decode(),
    b"\x8d": lambda m: m.counted("<Q").decode(),
    b"U": lambda m: m.counted("<B").decode("latin-1"),
    b"T": lambda m: m.counted("<i").decode("latin-1"),
    b"B": lambda m: m.counted("<I"),
    b"C": lambda m: m.counted("<B"),
    b"\x8e": lambda m: m.counted("<Q"),
    b"\x96": lambda m: m.counted("<Q"),
    b"]": lambda m: [],
    b"}": lambda m: {},
    b")": lambda m: (),
    b"l": Machine.above_mark,
    b"d": lambda m: _paired(m.above_mark()),
    b"t": lambda m: tuple(m.above_mark()),
    b"\x85": lambda m: m.popped(1),
    b"\x86": lambda m: m.popped(2),
    b"\x87": lambda m: m.popped(3),
    b"c": lambda m: m.named(m.line(), m.line()),
    b"\x93": lambda m: m.named(*m.popped(2)),
    b"R": Machine.called,
    b"g": lambda m: m.memo[m.integer()],
    b"h": lambda m: m.memo[m.number("<B")],
    b"j": lambda m: m.memo[m.number("<I")],
}
_STEPS: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": lambda m: m.number("<B"),  # the protocol
    b"\x95": lambda m: m.number("<Q"),  # how much to read ahead
    b"a": lambda m: m.extend(m.popped(1)),
    b"e": lambda m: m.extend(m.above_mark()),
    b"s": lambda m: m.update(m.popped(2)),
    b"u": lambda m: m.update(m.above_mark()),
    b"b": Machine.build,
    b"p": lambda m: m.remember(m.integer()),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
}
