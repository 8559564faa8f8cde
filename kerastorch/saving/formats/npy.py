"""One array in bytes: how NumPy writes it, and the tensor that the bytes are.

The header is read by a grammar of its own and the types by a closed table, so nothing of a file
reaches NumPy's parsers, its pickles, or the size of an allocation unchecked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..._core.arrays import from_array
from ..._core.errors import FileError
from ..._core.layout import axes_moved

MAGIC = b"\x93NUMPY"
MOST_BYTES = 16 << 10  # of a file that its header can take

_NAMES = {
    "b1": "bool",
    **{f"i{n}": f"int{8 * n}" for n in (1, 2, 4, 8)},
    **{f"u{n}": f"uint{8 * n}" for n in (1, 2, 4, 8)},
    **{f"f{n}": f"float{8 * n}" for n in (2, 4, 8)},
    "V2": "bfloat16",  # NumPy has no name for it, and of all two-byte types only for this one
}
_UNORDERED = ("b1", "i1", "u1", "V2")
_TYPES = ", ".join(sorted(set(_NAMES.values())))
MOST_AXES = 32
_MOST_HEADER = 10_000
_LENGTHS = {1: 2, 2: 4}  # version of the header -> bytes that its length takes
_ENTRY = re.compile(r"'(\w+)'\s*:\s*('[^']*'|\([^()]*\)|\w+)")
_BRACES = re.compile(r"\{[\s,]*\}\s*")
_SHAPE = re.compile(r"\((?:\s*[0-9]{1,18}L?\s*,)*\s*(?:[0-9]{1,18}L?\s*)?\)")


@dataclass(frozen=True)
class Form:
    """What the bytes of an array mean.

    Attributes:
        code: NumPy's code of its type: "<f4".
        stored: The sizes of the axes in the order of the bytes, the slowest axis first.
        axes: Which of the stored axes is the first of the array, which the second, and so on.
    """

    code: str
    stored: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(self.stored[axis] for axis in self.axes)

    @property
    def dtype(self) -> str:
        """The name of its type: "float32"."""
        return _NAMES[self.code[1:]]

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return prod(self.stored) * int(self.code[2:])


def form(where: str, code: object, stored: tuple[int, ...], axes: tuple[int, ...]) -> Form:
    """Return the form of an array whose type and shape are in the table and in bounds.

    Args:
        where: The file and the place in it, for error messages.
        code: NumPy's code of the type.
        stored: The sizes of the axes in the order of the bytes.
        axes: The order of the axes: a permutation of their indices.

    Raises:
        FileError: the type is none of real numbers, or the shape is none of an array.
    """
    if not isinstance(code, str) or not _is_read(code):
        found = f"Found: {str(code)[:50]!r}. The types are {_TYPES}."
        raise FileError(f"{where}: an array of a type that is not read. {found}")
    largest = prod(max(size, 1) for size in stored) * int(code[2:])
    if len(stored) > MOST_AXES or min(stored, default=0) < 0 or largest >= 1 << 63:
        raise FileError(f"{where}: an array of an impossible shape. Found: {str(stored)[:100]}.")
    if sorted(axes) != list(range(len(stored))):
        raise FileError(
            f"{where}: an array of an impossible order of axes. Found: {str(axes)[:100]}."
        )
    return Form(code, stored, axes)


def _is_read(code: str) -> bool:
    """Return whether a type is in the table and its byte order is said where it has one."""
    order, kind = code[:1], code[1:]
    return kind in _UNORDERED if order == "|" else order in ("<", ">") and kind in _NAMES


def rows_first(where: str, code: object, shape: tuple[int, ...]) -> Form:
    """Return the form of an array in C's order, whose last axis is the fastest."""
    return form(where, code, shape, tuple(range(len(shape))))


def columns_first(where: str, code: object, shape: tuple[int, ...]) -> Form:
    """Return the form of an array in Fortran's order, whose first axis is the fastest."""
    return form(where, code, shape[::-1], tuple(reversed(range(len(shape)))))


def header(where: str, start: bytes) -> tuple[Form | None, int]:
    """Read the header of a `.npy` file or member.

    Args:
        where: The file and the place in it, for error messages.
        start: Its first `MOST_BYTES` bytes, or all where it is shorter.

    Returns:
        The array's form, None for an array of Python objects, and where its data begins.

    Raises:
        FileError: it is no header, or one of an array that is not read.
    """
    length_bytes = _LENGTHS.get(start[6]) if start[:6] == MAGIC and len(start) > 6 else None
    if length_bytes is None:
        found = f"Found: {start[:8]!r}"
        raise FileError(f"{where}: no .npy file of version 1 or 2. {found}. Save it with numpy.")
    begin = 8 + length_bytes
    end = begin + int.from_bytes(start[8:begin], "little")
    if end > len(start) or end - begin > _MOST_HEADER:
        what = f"a .npy header that is too long or cut off. Found: {end - begin} bytes"
        raise FileError(f"{where}: {what} of {len(start) - begin}. Save the array again.")
    return _described(where, start[begin:end].decode("latin-1")), end


def _described(where: str, text: str) -> Form | None:
    """Return the form that a header's text tells, None for an array of Python objects."""
    entries = dict(_ENTRY.findall(text))
    code, order, shape = (entries.get(key, "") for key in ("descr", "fortran_order", "shape"))
    if (
        len(entries) != 3
        or not _BRACES.fullmatch(_ENTRY.sub("", text))
        or order not in ("True", "False")
        or not _SHAPE.fullmatch(shape)
    ):
        what = f"a .npy header of no plain array. Found: {text[:200]!r}"
        raise FileError(f"{where}: {what}. Save each array by itself.")
    sizes = tuple(int(size) for size in re.findall(r"\d+", shape))
    if code.strip("'") == "|O":
        return None
    arranged = columns_first if order == "True" else rows_first
    return arranged(where, code.strip("'"), sizes)


def tensor(where: str, array: Form, data: bytes | bytearray) -> Tensor:
    """Return the tensor that the bytes of an array are, contiguous and in memory of its own.

    Args:
        where: The file and the place in it, for error messages.
        array: What the bytes mean.
        data: The bytes; the tensor takes over a bytearray's memory where it can.

    Raises:
        FileError: there are more or fewer bytes than the array takes, or a bool is neither.
    """
    if len(data) != array.nbytes:
        what = f"an array of another size than it says. Found: {len(data)} bytes of data"
        raise FileError(f"{where}: {what} for {array.nbytes} of {array.shape}. Save it again.")
    plain = {"|b1": "|u1", "|V2": "<i2"}.get(array.code, array.code.replace("V", "i"))
    flat = from_array(np.frombuffer(data, plain)) if data else None
    if flat is None:
        flat = torch.empty(0, dtype=getattr(torch, _NAMES[plain[1:]]))
    if array.dtype == "bool":
        if data and int(flat.max()) > 1:
            raise FileError(f"{where}: a truth value that is neither 0 nor 1. Save it again.")
        flat = flat.bool()
    elif array.dtype == "bfloat16":
        flat = flat.view(torch.bfloat16)
    return axes_moved(flat.view(array.stored), array.axes).contiguous()
