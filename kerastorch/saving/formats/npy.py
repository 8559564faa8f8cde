"""Arrays: their headers, with dtypes of a closed table and checked shapes, and their bytes."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from torch import Tensor

from ..._core.arrays import to_tensor
from ..._core.errors import FileError
from ..._core.layout import permute_axes
from .byte_range import Bytes, Progress

MAGIC = b"\x93NUMPY"
MOST_BYTES = 16 << 10  # read to parse the header

_NAMES = {
    "b1": "bool",
    **{f"i{n}": f"int{8 * n}" for n in (1, 2, 4, 8)},
    **{f"u{n}": f"uint{8 * n}" for n in (1, 2, 4, 8)},
    **{f"f{n}": f"float{8 * n}" for n in (2, 4, 8)},
    "V2": "bfloat16",  # the only two-byte dtype that NumPy has no name for
}
_UNORDERED = ("b1", "i1", "u1", "V2")
_TYPES = ", ".join(sorted(set(_NAMES.values())))
_MOST_AXES = 32
_MOST_HEADER = 10_000
_BLOCK = 1 << 20  # bytes
_READERS: Any = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}

Buffer = bytes | bytearray | np.ndarray[Any, np.dtype[np.uint8]]
OnBytes = Callable[[Any], object]  # called with bytes after they were read


@dataclass(frozen=True)
class ArrayHeader:
    """The dtype, shape and memory order of an array."""

    code: str  # NumPy's, of the dtype: "<f4"
    stored: tuple[int, ...]  # the sizes of the stored axes, the slowest first
    axes: tuple[int, ...]  # the permutation from the stored axes to the array's axes

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(self.stored[axis] for axis in self.axes)

    @property
    def dtype(self) -> str:
        """The name of the dtype: "float32"."""
        return _NAMES[self.code[1:]]

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return prod(self.stored) * int(self.code[2:])


def make_header(
    where: str, code: str, shape: tuple[int, ...], fortran: bool = False
) -> ArrayHeader:
    """Check the dtype and the shape of an array in C or Fortran order, and return its form."""
    order, kind = code[:1], code[1:]
    is_supported = kind in _UNORDERED if order == "|" else order in ("<", ">") and kind in _NAMES
    if not is_supported:
        found = f"Found: {code[:50]!r}. The dtypes are {_TYPES}."
        raise FileError(f"{where}: an array with an unsupported dtype. {found}")
    largest = prod(max(size, 1) for size in shape) * int(code[2:])
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0 or largest >= 1 << 63:
        raise FileError(f"{where}: an array of an impossible shape. Found: {str(shape)[:100]}.")
    axes = tuple(range(len(shape)))
    return ArrayHeader(code, shape[::-1], axes[::-1]) if fortran else ArrayHeader(code, shape, axes)


def parse_header(where: str, start: bytes) -> tuple[ArrayHeader | None, int]:
    """Parse a header; return the form, None for Python objects, and the offset of the data."""
    file = BytesIO(start)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns about headers written by Python 2
            read = _READERS[read_magic(file)]
            shape, is_fortran, dtype = read(file, max_header_size=_MOST_HEADER)
        if dtype.names is not None or dtype.subdtype is not None:
            raise ValueError(f"an array with fields: {dtype}")
        if not all(0 <= size < 1 << 63 for size in shape):
            raise ValueError("an array of an impossible shape")
    except Exception as error:  # NumPy's parser raises many classes
        what = f"no header of a plain array in .npy format 1 or 2: {str(error)[:200]}"
        raise FileError(f"{where}: {what}. Save the array again with numpy.save.") from None
    if dtype.hasobject:
        return None, file.tell()
    return make_header(where, dtype.str, shape, is_fortran), file.tell()


@contextmanager
def convert_read_errors(where: str) -> Iterator[None]:
    """Convert what reading an array's bytes raises to a FileError."""
    try:
        yield
    except (OSError, EOFError, ValueError, zlib.error) as error:
        what = f"an array that cannot be read. Found: {error}"
        raise FileError(f"{where}: {what}. Open the file again, or save it again.") from None


def read_array(
    where: str,
    header: ArrayHeader,
    window: Bytes,
    at: int,
    progress: Progress | None,
    on_bytes: OnBytes | None = None,
) -> Tensor:
    """Read the bytes of an array from an offset into a new tensor; `on_bytes` gets the bytes."""
    data = np.empty(header.nbytes, np.uint8)  # a bytearray would be filled with zeros first
    with convert_read_errors(where):
        window.read_into(at, data, progress)
    if on_bytes is not None:
        on_bytes(data)
    return bytes_to_tensor(where, header, data)


def read_blocks(
    where: str,
    header: ArrayHeader,
    window: Bytes,
    at: int,
    progress: Progress | None,
    on_bytes: OnBytes | None = None,
) -> Iterator[Tensor]:
    """Yield the rows of an array in C order, in blocks of about a megabyte."""
    if header.nbytes <= _BLOCK:
        yield read_array(where, header, window, at, progress, on_bytes)
        return
    count, *rest = header.stored
    size = header.nbytes // count
    step = max(_BLOCK // size, 1)
    for first in range(0, count, step):
        part = replace(header, stored=(min(step, count - first), *rest))
        yield read_array(where, part, window, at + first * size, progress, on_bytes)


def bytes_to_tensor(where: str, array: ArrayHeader, data: Buffer) -> Tensor:
    """Return an array's bytes as a contiguous tensor, which may share their memory."""
    if len(data) != array.nbytes:
        what = f"an array whose size differs from its header. Found: {len(data)} bytes of data"
        raise FileError(f"{where}: {what} for {array.nbytes} of {array.shape}. Save it again.")
    plain = {"|b1": "|u1", "|V2": "<i2"}.get(array.code, array.code.replace("V", "i"))
    flat = to_tensor(np.frombuffer(data, plain)) if len(data) else None
    if flat is None:
        flat = torch.empty(0, dtype=getattr(torch, _NAMES[plain[1:]]))
    if array.dtype == "bool":
        if len(data) and int(flat.max()) > 1:
            raise FileError(f"{where}: a bool that is neither 0 nor 1. Save it again.")
        flat = flat.bool()
    elif array.dtype == "bfloat16":
        flat = flat.view(torch.bfloat16)
    return permute_axes(flat.view(array.stored), array.axes).contiguous()
