"""Files of bare arrays: `.npy`, `.npz`, and, where they are asked for, pickles of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..._core.errors import FileError
from . import npy as npy_module
from . import zip_archive
from .byte_range import Window
from .grouped_arrays import grouped
from .npy import Form
from .pickled import PickledArray, unpickled
from .weight_file import Contents, Weight

_SUFFIX = ".npy"
_NUMBERED = re.compile(r"arr_[0-9]{1,9}")


@contextmanager
def open_arrays(
    path: Path, *, progress: Callable[[int], object] | None = None, pickles: bool = False
) -> Iterator[Contents]:
    """Open a file of arrays, as `np.save`, `np.savez` or `pickle.dump` wrote it.

    The arrays are read one by one when they are asked for, while this is open. Of a pickle only
    lists, dicts and arrays are taken; nothing that it names is imported or called.

    Args:
        path: The file.
        progress: Called with the number of bytes as the arrays are read.
        pickles: Whether a pickle, and a `.npy` file of Python objects, is read at all.

    Yields:
        The arrays: those of a list as one layer without a path, in order; those with names under
        their layers, in the order in which the layers appear.

    Raises:
        FileError: the file is damaged, holds something else than arrays of real numbers, or is a
            pickle and `pickles` is False.
    """
    source = str(path)
    with path.open("rb", buffering=0) as file:
        window = Window(file, 0, os.fstat(file.fileno()).st_size)
        start = window.taken(0, len(npy_module.MAGIC))
        if start.startswith(zip_archive.SIGNATURE):
            kind = "NumPy .npz archive"
            values = _of_members(zip_archive.Archive(source, window), window.size, pickles)
        elif start == npy_module.MAGIC:
            kind, values = "NumPy .npy file", _array(source, lambda: window, pickles)
        else:
            kind = "pickled arrays"
            values = _of_pickle(source, window.taken(0, window.size), pickles)
        if isinstance(values, (_Stored, PickledArray)):
            values = [values]

        def as_weight(path: str, name: str | None, value: Any) -> Weight:
            return _weight(f"{source}: {path}", path, name, value, progress)

        layers = grouped(values, as_weight)
        yield Contents(source, kind, None, None, "arrays", None, layers)


@dataclass(frozen=True)
class _Stored:
    """An array whose header is checked: what opens its file or member, and where it begins."""

    form: Form
    open: Callable[[], Window]
    at: int


def _of_members(archive: zip_archive.Archive, size: int, pickles: bool) -> Any:
    """Return the arrays of an archive: a list where they are numbered, a dict by their names."""
    total = sum(info.file_size for info in archive.members.values())
    most = max(zip_archive.FREE_BYTES, zip_archive.MOST_RATIO * size)
    if total > most:
        what = f"arrays compressed to {size} bytes. Found: {total} bytes inflated"
        raise FileError(f"{archive.source}: {what}. Save them again with np.savez.")
    found: dict[str, Any] = {}
    for member in archive.members:
        if not member.endswith(_SUFFIX):
            what = f"{member!r}: a member that is no array. Save the arrays with np.savez"
            raise FileError(f"{archive.source}: {what}.")
        where, opened = f"{archive.source}: {member}", partial(archive.window, member)
        found[member.removesuffix(_SUFFIX)] = _array(where, opened, pickles)
    numbered = [name for name in found if _NUMBERED.fullmatch(name)]
    if not numbered:
        (only, *others) = found.values()
        return found if others or isinstance(only, _Stored) else only
    in_order = [f"arr_{i}" for i in range(len(found))]
    if set(in_order) != set(found):
        what = f"arrays that are not numbered without a gap. Found: {sorted(found)[:8]}"
        raise FileError(f"{archive.source}: {what}. Save all with np.savez(file, *arrays).")
    return [found[name] for name in in_order]


def _array(where: str, opened: Callable[[], Window], pickles: bool) -> Any:
    """Return the array of a file or a member, or the value of one of Python objects."""
    window = opened()
    form, at = npy_module.header(where, window.taken(0, npy_module.MOST_BYTES))
    if form is None:
        return _of_pickle(where, window.taken(at, window.size - at), pickles)
    if window.size - at != form.nbytes:
        what = f"{form.shape} of {form.dtype}. Found: {window.size - at} bytes, not {form.nbytes}"
        raise FileError(f"{where}: another size of data than of {what}. Save it again.")
    return _Stored(form, opened, at)


def _of_pickle(where: str, data: bytes, pickles: bool) -> Any:
    """Return what a pickle holds: one array, a list of them, or a dict of arrays or lists."""
    if not pickles:
        remedy = "Pass pickles=True: then arrays are read from it, and nothing in it is called"
        raise FileError(f"{where}: a pickle of Python objects, which is not read. {remedy}.")
    value = unpickled(where, data)
    if isinstance(value, PickledArray) and isinstance(value.data, list):
        value = value.data  # an array of objects
        if len(value) == 1 and not isinstance(value[0], PickledArray):
            (value,) = value
    if not isinstance(value, (PickledArray, list, tuple, dict)):
        what = f"neither arrays in a list nor in a dict. Found: {type(value).__name__}"
        raise FileError(f"{where}: {what}. Pickle model.get_weights().")
    return value


def _weight(
    where: str, path: str, name: str | None, value: Any, progress: Callable[[int], object] | None
) -> Weight:
    form = value.form if isinstance(value, (_Stored, PickledArray)) else None
    if form is None:
        what = f"something else than an array of real numbers. Found: {type(value).__name__}"
        raise FileError(f"{where}: {what}. Save arrays in a list, or in a dict by their names.")

    def read() -> Tensor:
        if isinstance(value, PickledArray):
            return npy_module.tensor(where, form, bytearray(value.data))
        window, found = value.open(), bytearray(form.nbytes)
        try:
            window.fill(value.at, found, progress)
        except (OSError, EOFError, ValueError) as error:
            what = f"an array that cannot be read. Found: {error}"
            raise FileError(f"{where}: {what}. Open the file again.") from None
        return npy_module.tensor(where, form, found)

    return Weight(path, name, form.shape, form.dtype, read)
