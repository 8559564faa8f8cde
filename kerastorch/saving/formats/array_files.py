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
from . import npy as npy_module
from . import zip_archive
from .byte_range import Window
from .grouped_arrays import grouped
from .npy import Form
from .unsupported import refuse_pickle
from .weight_file import Contents, Weight

_SUFFIX = ".npy"
_NUMBERED = re.compile(r"arr_[0-9]{1,9}")


@contextmanager
def open_arrays(
    path: Path, *, progress: Callable[[int], object] | None = None
) -> Iterator[Contents]:
    """Open a file of arrays, as `np.save` or `np.savez` wrote it.

    The arrays are read one by one when they are asked for, while this is open.

    Args:
        path: The file.
        progress: Called with the number of bytes as the arrays are read.

    Yields:
        The arrays: those of a list as one layer without a path, in order; those with names under
        their layers, in the order in which the layers appear.

    Raises:
        FileError: the file is damaged, or holds something else than arrays of real numbers.
    """
    source = str(path)
    with path.open("rb", buffering=0) as file:
        window = Window(file, 0, os.fstat(file.fileno()).st_size)
        stored: list[_Stored] | dict[str, _Stored]
        if window.taken(0, len(zip_archive.SIGNATURE)) == zip_archive.SIGNATURE:
            kind = "NumPy .npz archive"
            stored = _find_members(zip_archive.Archive(source, window), window.size)
        else:
            kind = "NumPy .npy file"
            pickled = f"numpy.load({source!r}, allow_pickle=True).tolist()"
            stored = [_find_array(source, lambda: window, pickled)]

        def as_weight(path: str, name: str | None, value: _Stored) -> Weight:
            return _make_weight(f"{source}: {path}", path, name, value, progress)

        layers = grouped(stored, as_weight)
        yield Contents(source, kind, layers, named_by_path=True, named_by_caller=True)


@dataclass(frozen=True)
class _Stored:
    """An array whose header is checked: what opens its file or member, and where it begins."""

    form: Form
    open: Callable[[], Window]
    at: int


def _find_members(archive: zip_archive.Archive, size: int) -> list[_Stored] | dict[str, _Stored]:
    """Return the arrays of an archive: a list where they are numbered, a dict by their names."""
    total = sum(info.file_size for info in archive.members.values())
    most = max(zip_archive.FREE_BYTES, zip_archive.MOST_RATIO * size)
    if total > most:
        what = f"arrays compressed to {size} bytes. Found: {total} bytes inflated"
        raise FileError(f"{archive.source}: {what}. Save them again with np.savez.")
    found: dict[str, _Stored] = {}
    for member in archive.members:
        if not member.endswith(_SUFFIX):
            what = f"{member!r}: a member that is no array. Save the arrays with np.savez"
            raise FileError(f"{archive.source}: {what}.")
        name = member.removesuffix(_SUFFIX)
        pickled = f"numpy.load({archive.source!r}, allow_pickle=True)[{name!r}].tolist()"
        opened = partial(archive.window, member)
        found[name] = _find_array(f"{archive.source}: {member}", opened, pickled)
    if not any(_NUMBERED.fullmatch(name) for name in found):
        return found
    in_order = [f"arr_{i}" for i in range(len(found))]
    if set(in_order) != set(found):
        what = f"arrays that are not numbered without a gap. Found: {sorted(found)[:8]}"
        raise FileError(f"{archive.source}: {what}. Save all with np.savez(file, *arrays).")
    return [found[name] for name in in_order]


def _find_array(where: str, opened: Callable[[], Window], pickled: str) -> _Stored:
    """Return the array of a file or a member; `pickled` is code that unpickles one of objects."""
    window = opened()
    form, at = npy_module.header(where, window.taken(0, npy_module.MOST_BYTES))
    if form is None:
        refuse_pickle(where, pickled)
    if window.size - at != form.nbytes:
        what = f"{form.shape} of {form.dtype}. Found: {window.size - at} bytes, not {form.nbytes}"
        raise FileError(f"{where}: another size of data than of {what}. Save it again.")
    return _Stored(form, opened, at)


def _make_weight(
    where: str,
    path: str,
    name: str | None,
    stored: _Stored,
    progress: Callable[[int], object] | None,
) -> Weight:
    def read() -> Tensor:
        window, found = stored.open(), bytearray(stored.form.nbytes)
        try:
            window.fill(stored.at, found, progress)
        except (OSError, EOFError, ValueError) as error:
            what = f"an array that cannot be read. Found: {error}"
            raise FileError(f"{where}: {what}. Open the file again.") from None
        return npy_module.tensor(where, stored.form, found)

    return Weight(path, name, stored.form.shape, stored.form.dtype, read)
