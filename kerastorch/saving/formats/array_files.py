"""Files of bare arrays: `.npy` and `.npz`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor

from ..._core.errors import FileError
from . import zip_archive
from .byte_range import ByteRange, Progress
from .npy import MOST_BYTES, parse_header, read_array
from .unsupported import raise_pickle_error
from .weight_file import Weight, WeightFile, group_arrays

_SUFFIX = ".npy"
_NUMBERED = re.compile(r"arr_[0-9]{1,9}")


def read_npy(source: str, window: ByteRange, progress: Progress | None) -> WeightFile:
    """Return the array of a file as one layer without a path."""
    pickled = f"numpy.load({source!r}, allow_pickle=True).tolist()"
    weight = _make_weight(source, lambda: window, pickled, progress)
    return _group(source, "NumPy .npy file", [weight])


def read_npz(archive: zip_archive.Archive, size: int, progress: Progress | None) -> WeightFile:
    """Return the arrays of an archive of `size` bytes: in order if numbered, else by name."""
    kind = "NumPy .npz archive"
    total = sum(info.file_size for info in archive.members.values())
    most = max(zip_archive.FREE_BYTES, zip_archive.MOST_RATIO * size)
    if total > most:
        what = f"arrays compressed to {size} bytes. Found: {total} bytes inflated"
        raise FileError(f"{archive.source}: {what}. Save them again with np.savez.")
    found: dict[str, Weight] = {}
    for member in archive.members:
        if not member.endswith(_SUFFIX):
            what = f"{member!r}: a member that is not an array. Save the arrays with np.savez"
            raise FileError(f"{archive.source}: {what}.")
        name = member.removesuffix(_SUFFIX)
        pickled = f"numpy.load({archive.source!r}, allow_pickle=True)[{name!r}].tolist()"
        where, open_window = f"{archive.source}: {member}", partial(archive.window, member)
        found[name] = _make_weight(where, open_window, pickled, progress)
    if not any(_NUMBERED.fullmatch(name) for name in found):
        return _group(archive.source, kind, found)
    in_order = [f"arr_{i}" for i in range(len(found))]
    if set(in_order) != set(found):
        what = f"arrays that are not numbered without a gap. Found: {sorted(found)[:8]}"
        raise FileError(f"{archive.source}: {what}. Save all with np.savez(file, *arrays).")
    return _group(archive.source, kind, [found[name] for name in in_order])


def _group(source: str, kind: str, weights: list[Weight] | dict[str, Weight]) -> WeightFile:
    def rename(path: str, name: str | None, weight: Weight) -> Weight:
        return replace(weight, path=path, name=name)

    layers = group_arrays(weights, rename)
    return WeightFile(source, kind, layers, layout="paths", named_by_caller=True)


def _make_weight(
    where: str, open_window: Callable[[], ByteRange], pickled: str, progress: Progress | None
) -> Weight:
    """Read the header of an array; `pickled` is code for the remedy of a refused pickle."""
    window = open_window()
    form, at = parse_header(where, window.read_at(0, MOST_BYTES))
    if form is None:
        raise_pickle_error(where, pickled)
    if window.size - at != form.nbytes:
        what = f"{form.shape} of {form.dtype}. Found: {window.size - at} bytes, not {form.nbytes}"
        raise FileError(f"{where}: data whose size differs from the header, {what}. Save it again.")

    def read() -> Tensor:
        return read_array(where, form, open_window(), at, progress)

    return Weight("", None, form.shape, form.dtype, read)
