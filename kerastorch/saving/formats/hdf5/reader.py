"""The subset of HDF5 that Keras writes: the library reads all headers at once, and no data.

Its known faults are in features that are not used here: data, filters, external links, rare types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ...._core.errors import FileError
from ..byte_range import HDF5_SIGNATURE, ByteRange, Progress
from ..npy import ArrayHeader, make_header
from .attributes import AttributeReader
from .objects import FILTERS, Array, ChunkedData, Group, make_error

_MOST_OBJECTS = 500_000
_MOST_DEPTH = 64
_MOST_RATIO = 20  # of the arrays' bytes to the file's
_FREE_BYTES = 8 << 20
_CACHE_BYTES = 1 << 16
_UNDEFINED = (1 << 64) - 1
_FAILURES = (
    OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, SystemError, MemoryError,
    OverflowError, AttributeError, NotImplementedError, struct.error,
)  # fmt: skip


def read_tree(source: str, window: ByteRange, progress: Progress | None = None) -> Group:
    """Return the root group; arrays are read from the window on demand."""
    reader = _Reader(source, window, progress)
    _check_superblock(source, window)
    h5py, strict = reader.h5py, _StrictWindow(window, 0, window.size)
    with reader.convert_errors("/"), h5py.File(strict, "r") as file:
        cache = file.id.get_mdc_config()  # of headers, each of which is read once
        cache.set_initial_size = True
        cache.initial_size = cache.min_size = cache.max_size = _CACHE_BYTES
        file.id.set_mdc_config(cache)
        root = h5py.h5g.open(file.id, b"/")
        return reader.read_group(root, "", 0)


def import_h5py(owner: str) -> Any:
    """Return h5py, or raise ImportError in the name of `owner`."""
    try:
        import h5py
    except ImportError as error:
        remedy = 'h5py, which is not installed. Run: pip install "kerastorch[files]"'
        raise ImportError(f"{owner}: HDF5 files require {remedy}") from error
    return h5py


class _StrictWindow(ByteRange):
    """A window that raises on a short read, which the library would not notice."""

    def readinto(self, buffer: Any) -> int:
        if super().readinto(buffer) != len(buffer):
            raise EOFError("the file ends too early")
        return len(buffer)


def _check_superblock(source: str, window: ByteRange) -> None:
    """Refuse files that are truncated, split into parts, or preceded by other data."""
    head = window.read_at(0, 96).ljust(96, b"\0")
    version = head[8]
    sizes = head[13:15] if version < 2 else head[9:11]
    base, _, end, driver = struct.unpack_from("<4Q", head, {0: 24, 1: 28}.get(version, 12))
    if head[:8] != HDF5_SIGNATURE or version > 3 or sizes != b"\x08\x08":
        what = f"no HDF5 file of version 0 to 3. Found: {head[:16]!r}"
    elif base != 0 or (version < 2 and driver != _UNDEFINED):
        what = f"an HDF5 file in parts or behind other data. Found: base {base}, driver {driver}"
    elif end > window.size:
        what = f"a truncated HDF5 file. Found: {window.size} of {end} bytes"
    else:
        return
    raise FileError(f"{source}: {what}. Download it again, or save it again with Keras.")


class _Reader:
    """Reads the headers of one file, within limits for all of them."""

    def __init__(self, source: str, window: ByteRange, progress: Progress | None) -> None:
        self.h5py = h5py = import_h5py(source)
        self.source, self.window, self.progress = source, window, progress
        self.seen: set[int] = set()
        self.stored = 0  # bytes of the arrays in the file
        self.nbytes = 0  # bytes of the arrays in memory
        self.types = _list_types(h5py.h5t)
        self.make_error = partial(make_error, source)
        self.attributes = AttributeReader(h5py, window, self.make_error)

    @contextmanager
    def convert_errors(self, path: str) -> Iterator[None]:
        """Convert what the library raises on a damaged file to a FileError."""
        try:
            yield
        except FileError:
            raise
        except _FAILURES as error:
            what = f"a damaged HDF5 file. Found: {str(error)[:300] or type(error).__name__}"
            raise self.make_error(path, what) from None

    def read_group(self, group: Any, path: str, depth: int) -> Group:
        """Read a group and everything below it."""
        self.count_object(group, path)
        if depth > _MOST_DEPTH:
            raise self.make_error(path, f"groups nested deeper than {_MOST_DEPTH}")
        if group.get_num_objs() > _MOST_OBJECTS:
            raise self.make_error(path, f"a group of more than {_MOST_OBJECTS} objects")
        members: dict[str, Group | Array] = {}
        for raw in list(group):
            name = self.decode_name(path, raw)
            inner = f"{path}/{name}" if path else name
            with self.convert_errors(inner):
                members[name] = self.read_member(group, raw, inner, depth + 1)
        return Group(path, self.attributes.read(group, path), members)

    def read_member(self, group: Any, raw: bytes, path: str, depth: int) -> Group | Array:
        h5py = self.h5py
        if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            raise self.make_error(path, "a link to another path or file, which no Keras writes")
        member = h5py.h5o.open(group, raw)
        if isinstance(member, h5py.h5g.GroupID):
            return self.read_group(member, path, depth)
        if isinstance(member, h5py.h5d.DatasetID):
            return self.read_array(member, path)
        raise self.make_error(path, "a named type, which no Keras writes")

    def decode_name(self, path: str, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            name = ""
        parts = name.split("\\")  # a path separator in files from Windows
        if {"", ".", ".."} & set(parts) or "/" in name or min(name) < " ":
            raise self.make_error(path, f"an object with an unsafe name. Found: {raw!r}")
        return name

    def count_object(self, member: Any, path: str) -> None:
        """Count an object; refuse one that was read before."""
        address = self.h5py.h5o.get_info(member).addr
        if address in self.seen:
            raise self.make_error(path, "an object that is in two groups, which no Keras writes")
        self.seen.add(address)
        if len(self.seen) > _MOST_OBJECTS:
            raise self.make_error(path, f"a file of more than {_MOST_OBJECTS} objects")

    def read_array(self, dataset: Any, path: str) -> Array:
        """Read a dataset's header."""
        self.count_object(dataset, path)
        layout = dataset.get_create_plist()
        if layout.get_external_count() or layout.get_layout() == self.h5py.h5d.VIRTUAL:
            raise self.make_error(path, "an array in other files or arrays, which no Keras writes")
        space, form = dataset.get_space(), self.read_form(dataset, path)
        if space.get_simple_extent_type() == self.h5py.h5s.NULL:
            raise self.make_error(path, "an array without a shape, which no Keras writes")
        stored = dataset.get_storage_size()
        self.stored += stored
        self.nbytes += form.nbytes
        if self.stored > self.window.size:
            raise self.make_error(path, "arrays of more bytes than the file has")
        if self.nbytes > _MOST_RATIO * self.window.size + _FREE_BYTES:
            what = f"arrays of more than {_MOST_RATIO} times the bytes of the file"
            raise self.make_error(path, f"{what}. Found: {form.shape} here")
        data = self.locate_data(dataset, layout, form, path)
        return Array(f"{self.source}: {path}", path, form, self.window, data, self.progress)

    def read_form(self, dataset: Any, path: str) -> ArrayHeader:
        kind = dataset.get_type()
        code = next((code for code, known in self.types if kind.equal(known)), None)
        if kind.committed():
            raise self.make_error(path, "an array of a named type, which no Keras writes")
        h5t = self.h5py.h5t
        if kind.get_class() == h5t.OPAQUE and kind.get_size() == 2:
            code = "|V2"
        if code is None:
            what = f"an array with a dtype that no Keras writes. Found: {_describe_type(kind)}"
            raise self.make_error(path, what)
        form = make_header(f"{self.source}: {path}", code, dataset.get_space().shape or ())
        stated = self.attributes.read(dataset, path).get("dtype", form.dtype)
        if stated != form.dtype:
            what = f"an array of {form.dtype} with the attribute dtype {stated!r}"
            raise self.make_error(path, what)
        return form

    def locate_data(
        self, dataset: Any, layout: Any, form: ArrayHeader, path: str
    ) -> int | bytes | ChunkedData:
        """Return where the bytes of an array are; all must be in the file."""
        h5d, stored = self.h5py.h5d, dataset.get_storage_size()
        if layout.get_layout() == h5d.CHUNKED:
            return self.read_chunks(dataset, layout, form, path)
        if form.nbytes == 0:
            return b""
        if layout.get_nfilters() or stored != form.nbytes:
            what = f"{form.shape} of {form.dtype}. Found: {stored} bytes, not {form.nbytes}"
            raise self.make_error(path, f"an array without all of its data, {what}")
        if layout.get_layout() == h5d.COMPACT:
            values = np.empty(form.shape, form.code.replace("b1", "i1"))
            every = self.h5py.h5s.ALL
            dataset.read(every, every, values, dataset.get_type())
            return values.tobytes()
        at = dataset.get_offset()
        if layout.get_layout() != h5d.CONTIGUOUS or at is None:
            raise self.make_error(path, "an array that is not stored as Keras stores it")
        self.check_inside(at, stored, path)
        return int(at)

    def check_inside(self, at: int, size: int, path: str) -> None:
        if not 0 <= at <= self.window.size - size:
            what = f"an array beyond the end of the file. Found: bytes {at} to {at + size}"
            raise self.make_error(path, f"{what} of {self.window.size}")

    def read_chunks(self, dataset: Any, layout: Any, form: ArrayHeader, path: str) -> ChunkedData:
        """Return the chunks; each must be present exactly once and fit the array."""
        filters = tuple(layout.get_filter(i)[0] for i in range(layout.get_nfilters()))
        if not set(filters) <= set(FILTERS) or len(set(filters)) < len(filters):
            what = f"an array with a filter other than gzip. Found: filters {filters}"
            raise self.make_error(path, f"{what}. Run: h5repack -f NONE")
        shape = tuple(layout.get_chunk())
        starts = [range(0, size, step) for size, step in zip(form.shape, shape, strict=True)]
        count = prod(map(len, starts))
        item = int(form.code[2:])
        if prod(shape) * item > form.nbytes + _FREE_BYTES or count > _MOST_OBJECTS:
            raise self.make_error(path, f"chunks of {shape} for an array of {form.shape}")
        chunks: list[Any] = []

        def add_chunk(found: Any) -> None:
            self.check_inside(found.byte_offset, found.size, path)
            chunks.append(found)
            if len(chunks) > count:
                raise self.make_error(path, "more chunks than the array has")

        if form.nbytes:
            dataset.chunk_iter(add_chunk)
        if sorted(tuple(chunk.chunk_offset) for chunk in chunks) != list(product(*starts)):
            raise self.make_error(path, "an array without all of its chunks")
        return ChunkedData(shape, filters, tuple(chunks))


def _list_types(h5t: Any) -> list[tuple[str, Any]]:
    """Return NumPy's codes and HDF5's types of the supported dtypes."""
    found = []
    for order, suffix in (("<", "LE"), (">", "BE")):
        found += [(f"{order}f{n}", getattr(h5t, f"IEEE_F{8 * n}{suffix}")) for n in (2, 4, 8)]
        for n in (1, 2, 4, 8):
            found.append((f"{order}i{n}", getattr(h5t, f"STD_I{8 * n}{suffix}")))
            found.append((f"{order}u{n}", getattr(h5t, f"STD_U{8 * n}{suffix}")))
    boolean = h5t.enum_create(h5t.STD_I8LE)  # as h5py stores it
    boolean.enum_insert(b"FALSE", 0)
    boolean.enum_insert(b"TRUE", 1)
    return [*found, ("|b1", boolean)]


def _describe_type(kind: Any) -> str:
    try:
        return f"{kind.dtype}"[:100]
    except (TypeError, ValueError, RuntimeError):
        return f"HDF5's class {kind.get_class()}, {kind.get_size()} bytes"
