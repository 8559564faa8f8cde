"""One array in bytes: how NumPy writes it, and the tensor that the bytes are.

NumPy parses the header, of a bounded length; its type is looked up in a closed table, and its shape
checked, before anything is allocated. Nothing is unpickled.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy_format
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
_READERS: dict[tuple[int, int], Any] = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


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
        FileError: it is no header of version 1 or 2, or one of an array that is not read.
    """
    file = BytesIO(start)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = npy_format.read_magic(file)
            read = _READERS[version]
            shape, is_fortran, dtype = read(file, max_header_size=_MOST_HEADER)
        if dtype.names is not None or dtype.subdtype is not None:
            raise ValueError(f"an array with fields: {dtype}")
        if not all(0 <= size < 1 << 63 for size in shape):
            raise ValueError("an array of an impossible shape")
    except Exception as error:  # NumPy's and Python's parsers raise any of a dozen classes
        what = f"no header of a plain array in .npy format 1 or 2: {str(error)[:200]}"
        raise FileError(f"{where}: {what}. Save the array again with numpy.save.") from None
    if dtype.hasobject:
        return None, file.tell()
    arranged = columns_first if is_fortran else rows_first
    return arranged(where, dtype.str, shape), file.tell()


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
