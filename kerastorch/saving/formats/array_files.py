"""Files of bare arrays: `.npy` and `.npz`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from ..._core.errors import FileError
from . import zip_archive
from .byte_range import ByteRange
from .npy import MOST_BYTES, ArrayHeader, Progress, parse_header, read_array
from .unsupported import raise_pickle_error
from .weight_file import Weight, WeightFile, group_arrays

_SUFFIX = ".npy"
_NUMBERED = re.compile(r"arr_[0-9]{1,9}")


@contextmanager
def open_arrays(path: Path, *, progress: Progress | None = None) -> Iterator[WeightFile]:
    """Open a file that `np.save` or `np.savez` wrote; each array is read on demand."""
    source = str(path)
    with path.open("rb", buffering=0) as file:
        window = ByteRange(file, 0, os.fstat(file.fileno()).st_size)
        stored: list[_Stored] | dict[str, _Stored]
        if window.read_at(0, len(zip_archive.SIGNATURE)) == zip_archive.SIGNATURE:
            kind = "NumPy .npz archive"
            stored = _read_headers(zip_archive.Archive(source, window), window.size)
        else:
            kind = "NumPy .npy file"
            pickled = f"numpy.load({source!r}, allow_pickle=True).tolist()"
            stored = [_read_header(source, lambda: window, pickled)]

        def as_weight(path: str, name: str | None, value: _Stored) -> Weight:
            read = partial(value.read, f"{source}: {path}", progress)
            return Weight(path, name, value.form.shape, value.form.dtype, read)

        layers = group_arrays(stored, as_weight)
        yield WeightFile(source, kind, layers, named_by_path=True, named_by_caller=True)


@dataclass(frozen=True)
class _Stored:
    """An array with a checked header: its form, its source, and the offset of its data."""

    form: ArrayHeader
    open: Callable[[], ByteRange]
    at: int

    def read(self, where: str, progress: Progress | None) -> Tensor:
        """Return the array as a new tensor."""
        return read_array(where, self.form, self.open(), self.at, progress)


def _read_headers(archive: zip_archive.Archive, size: int) -> list[_Stored] | dict[str, _Stored]:
    """Return the arrays of an archive: a list if they are numbered, else a dict by name."""
    total = sum(info.file_size for info in archive.members.values())
    most = max(zip_archive.FREE_BYTES, zip_archive.MOST_RATIO * size)
    if total > most:
        what = f"arrays compressed to {size} bytes. Found: {total} bytes inflated"
        raise FileError(f"{archive.source}: {what}. Save them again with np.savez.")
    found: dict[str, _Stored] = {}
    for member in archive.members:
        if not member.endswith(_SUFFIX):
            what = f"{member!r}: a member that is not an array. Save the arrays with np.savez"
            raise FileError(f"{archive.source}: {what}.")
        name = member.removesuffix(_SUFFIX)
        pickled = f"numpy.load({archive.source!r}, allow_pickle=True)[{name!r}].tolist()"
        open_window = partial(archive.window, member)
        found[name] = _read_header(f"{archive.source}: {member}", open_window, pickled)
    if not any(_NUMBERED.fullmatch(name) for name in found):
        return found
    in_order = [f"arr_{i}" for i in range(len(found))]
    if set(in_order) != set(found):
        what = f"arrays that are not numbered without a gap. Found: {sorted(found)[:8]}"
        raise FileError(f"{archive.source}: {what}. Save all with np.savez(file, *arrays).")
    return [found[name] for name in in_order]


def _read_header(where: str, open_window: Callable[[], ByteRange], pickled: str) -> _Stored:
    """Read the header of an array; `pickled` is code for the remedy of a refused pickle."""
    window = open_window()
    form, at = parse_header(where, window.read_at(0, MOST_BYTES))
    if form is None:
        raise_pickle_error(where, pickled)
    if window.size - at != form.nbytes:
        what = f"{form.shape} of {form.dtype}. Found: {window.size - at} bytes, not {form.nbytes}"
        raise FileError(f"{where}: data whose size differs from the header, {what}. Save it again.")
    return _Stored(form, open_window, at)
