"""HDF5 files, through the only import of h5py: what Keras writes, and nothing else of HDF5.

All headers are read at once and the library is left at once: the arrays themselves are read from
the file at the places that the headers tell.

The library is C and runs in this process, so that a fault of its own on a damaged header would end
the process, or worse. Its known faults are in what is refused here, or never asked of it: data,
filters, links to elsewhere, rare types. Whoever must read files of strangers all the same reads
them in a process with few rights.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from ...._core.errors import FileError
from ..byte_range import Window
from ..npy import Form, rows_first
from .attributes import AttributeReader
from .objects import FILTERS, Array, Chunk, Chunked, Group

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_MOST_OBJECTS = 500_000
_MOST_DEPTH = 64
_MOST_RATIO = 20  # of all arrays' bytes to the file's
_FREE_BYTES = 8 << 20
_CACHE_BYTES = 1 << 16
_UNDEFINED = (1 << 64) - 1
_AGAIN = "Save it again with Keras."
_FAILURES = (
    OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, SystemError, MemoryError,
    OverflowError, AttributeError, NotImplementedError, struct.error,
)  # fmt: skip


def read_tree(source: str, window: Window) -> Group:
    """Read all of a file but its arrays.

    Args:
        source: The file, for error messages.
        window: Its bytes; the arrays are read from it later.

    Returns:
        The root group.

    Raises:
        FileError: it is damaged, or has something that no Keras writes.
        ImportError: h5py is not installed.
    """
    h5py = library(source)
    _check_superblock(source, window)
    reader = _Reader(h5py, source, window)
    with reader.refusing("/"), h5py.File(_Whole(window, 0, window.size), "r") as file:
        _limit_cache(file.id)
        root = h5py.h5g.open(file.id, b"/")
        return reader.group(root, "", 0)


def _limit_cache(file: Any) -> None:
    """Let the library keep few headers, since each is read once; it would keep megabytes."""
    settings = file.get_mdc_config()
    settings.set_initial_size = True
    settings.initial_size = settings.min_size = settings.max_size = _CACHE_BYTES
    file.set_mdc_config(settings)


def library(owner: str) -> Any:
    """Return h5py.

    Args:
        owner: What needs it, for the error message.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        remedy = 'h5py, which is not installed. Run: pip install "kerastorch[files]"'
        raise ImportError(f"{owner}: HDF5 files take {remedy}") from error
    return h5py


class _Whole(Window):
    """A window for the library, which takes a short read for a whole one."""

    def readinto(self, buffer: Any) -> int:
        if super().readinto(buffer) != len(buffer):
            raise EOFError("the file ends within what it tells of")
        return len(buffer)


def _check_superblock(source: str, window: Window) -> None:
    """Refuse files that are cut off, in several parts, or not from their first byte on."""
    head = window.taken(0, 96).ljust(96, b"\0")
    version = head[8]
    sizes = head[13:15] if version < 2 else head[9:11]
    if head[:8] != SIGNATURE or version > 3 or sizes != b"\x08\x08":
        what = f"no HDF5 file of version 0 to 3. Found: {head[:16]!r}"
        raise FileError(f"{source}: {what}. {_AGAIN}")
    base_at = {0: 24, 1: 28}.get(version, 12)
    base, _, end, driver = struct.unpack_from("<4Q", head, base_at)
    if base != 0 or (version < 2 and driver != _UNDEFINED):
        what = f"an HDF5 file in parts or behind other data. Found: base {base}, driver {driver}"
        raise FileError(f"{source}: {what}. {_AGAIN}")
    if end > window.size:
        what = f"an HDF5 file that is cut off. Found: {window.size} of {end} bytes"
        raise FileError(f"{source}: {what}. Download or save it again.")


class _Reader:
    """Walks one file and counts what is read of it."""

    def __init__(self, h5py: Any, source: str, window: Window) -> None:
        self.h5py = h5py
        self.source = source
        self.window = window
        self.seen: set[int] = set()
        self.stored = 0  # bytes that the arrays take in the file
        self.nbytes = 0  # bytes of the arrays
        self.types = _types(h5py.h5t)
        self.attributes = AttributeReader(h5py, window, self.refused)

    def refused(self, path: str, what: str) -> FileError:
        return FileError(f"{self.source}: {path or '/'}: {what}. {_AGAIN}")

    @contextmanager
    def refusing(self, path: str) -> Iterator[None]:
        """Turn whatever the library raises on a damaged file into a FileError."""
        try:
            yield
        except FileError:
            raise
        except _FAILURES as error:
            what = f"a damaged HDF5 file. Found: {str(error)[:300] or type(error).__name__}"
            raise self.refused(path, what) from None

    def group(self, group: Any, path: str, depth: int) -> Group:
        """Read a group, the objects in it, and so on."""
        self.visit(group, path)
        if depth > _MOST_DEPTH:
            raise self.refused(path, f"groups nested deeper than {_MOST_DEPTH}")
        if group.get_num_objs() > _MOST_OBJECTS:
            raise self.refused(path, f"a group of more than {_MOST_OBJECTS} objects")
        members: dict[str, Group | Array] = {}
        for raw in list(group):
            name = self.name(path, raw)
            inner = f"{path}/{name}" if path else name
            with self.refusing(inner):
                members[name] = self.member(group, raw, inner, depth + 1)
        return Group(path, self.attributes.of(group, path), members)

    def member(self, group: Any, raw: bytes, path: str, depth: int) -> Group | Array:
        h5py = self.h5py
        if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            raise self.refused(path, "a link to another place or file, which no Keras writes")
        member = h5py.h5o.open(group, raw)
        if isinstance(member, h5py.h5g.GroupID):
            return self.group(member, path, depth)
        if isinstance(member, h5py.h5d.DatasetID):
            return self.array(member, path)
        raise self.refused(path, "a named type, which no Keras writes")

    def name(self, path: str, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            name = ""
        parts = name.split("\\")  # which Windows once took for "/"
        if {"", ".", ".."} & set(parts) or "/" in name or min(name) < " ":
            raise self.refused(path, f"an object of an unsafe name. Found: {raw!r}")
        return name

    def visit(self, member: Any, path: str) -> None:
        """Count an object; it must be the first time that it is met."""
        address = self.h5py.h5o.get_info(member).addr
        if address in self.seen:
            raise self.refused(path, "an object that is in two places, which no Keras writes")
        self.seen.add(address)
        if len(self.seen) > _MOST_OBJECTS:
            raise self.refused(path, f"a file of more than {_MOST_OBJECTS} objects")

    # Arrays

    def array(self, dataset: Any, path: str) -> Array:
        """Read a dataset's header."""
        self.visit(dataset, path)
        layout = dataset.get_create_plist()
        if layout.get_external_count() or layout.get_layout() == self.h5py.h5d.VIRTUAL:
            raise self.refused(path, "an array in other files or arrays, which no Keras writes")
        space, form = dataset.get_space(), self.form(dataset, path)
        if space.get_simple_extent_type() == self.h5py.h5s.NULL:
            raise self.refused(path, "an array without a shape, which no Keras writes")
        stored = dataset.get_storage_size()
        self.stored += stored
        self.nbytes += form.nbytes
        if self.stored > self.window.size:
            raise self.refused(path, "arrays of more bytes than the file has")
        if self.nbytes > _MOST_RATIO * self.window.size + _FREE_BYTES:
            what = f"arrays of more than {_MOST_RATIO} times the bytes of the file"
            raise self.refused(path, f"{what}. Found: {form.shape} here")
        data = self.data(dataset, layout, form, path)
        return Array(self.source, path, form, self.window, data)

    def form(self, dataset: Any, path: str) -> Form:
        kind = dataset.get_type()
        code = next((code for code, known in self.types if kind.equal(known)), None)
        if kind.committed():
            raise self.refused(path, "an array of a named type, which no Keras writes")
        h5t = self.h5py.h5t
        if kind.get_class() == h5t.OPAQUE and kind.get_size() == 2:
            code = "|V2"
        elif kind.get_class() == h5t.ENUM and _is_bool(kind, h5t):
            code = "|b1"
        if code is None:
            what = f"an array of a type that no Keras writes. Found: {_said(kind)}"
            raise self.refused(path, what)
        form = rows_first(f"{self.source}: {path}", code, dataset.get_space().shape or ())
        said = self.attributes.of(dataset, path).get("dtype", form.dtype)
        if said != form.dtype:
            raise self.refused(path, f"an array of {form.dtype} that says it is {said!r}")
        return form

    def data(self, dataset: Any, layout: Any, form: Form, path: str) -> int | bytes | Chunked:
        """Return where the bytes of an array are, all of them in the file."""
        h5d, stored = self.h5py.h5d, dataset.get_storage_size()
        if layout.get_layout() == h5d.CHUNKED:
            return self.chunked(dataset, layout, form, path)
        if form.nbytes == 0:
            return b""
        if layout.get_nfilters() or stored != form.nbytes:
            what = f"{form.shape} of {form.dtype}. Found: {stored} bytes, not {form.nbytes}"
            raise self.refused(path, f"an array without all of its data, {what}")
        if layout.get_layout() == h5d.COMPACT:
            values = np.empty(form.shape, form.code.replace("b1", "i1"))
            every = self.h5py.h5s.ALL
            dataset.read(every, every, values, dataset.get_type())
            return values.tobytes()
        at = dataset.get_offset()
        if layout.get_layout() != h5d.CONTIGUOUS or at is None:
            raise self.refused(path, "an array that is not stored as Keras stores it")
        self.check_inside(at, stored, path)
        return int(at)

    def check_inside(self, at: int, size: int, path: str) -> None:
        if not 0 <= at <= self.window.size - size:
            what = f"an array beyond the end of the file. Found: bytes {at} to {at + size}"
            raise self.refused(path, f"{what} of {self.window.size}")

    def chunked(self, dataset: Any, layout: Any, form: Form, path: str) -> Chunked:
        """Return the chunks; each must be there, once, and no larger than the array needs."""
        filters = tuple(layout.get_filter(i)[0] for i in range(layout.get_nfilters()))
        if not set(filters) <= set(FILTERS) or len(set(filters)) < len(filters):
            what = f"an array packed by another filter than gzip. Found: filters {filters}"
            raise self.refused(path, f"{what}. Run: h5repack -f NONE")
        shape = tuple(layout.get_chunk())
        counts = [-(-size // step) for size, step in zip(form.shape, shape, strict=True)]
        item = int(form.code[2:])
        if prod(shape) * item > form.nbytes + _FREE_BYTES or prod(counts) > _MOST_OBJECTS:
            raise self.refused(path, f"chunks of {shape} for an array of {form.shape}")
        chunks: list[Chunk] = []

        def note(found: Any) -> None:
            self.check_inside(found.byte_offset, found.size, path)
            corner = tuple(found.chunk_offset)
            chunks.append(Chunk(corner, found.byte_offset, found.size, found.filter_mask))
            if len(chunks) > prod(counts):
                raise self.refused(path, "more chunks than the array has")

        if form.nbytes:
            dataset.chunk_iter(note)
        corners = {chunk.corner for chunk in chunks}
        on_grid = all(
            at % step == 0 and at < size
            for corner in corners
            for at, step, size in zip(corner, shape, form.shape, strict=True)
        )
        if not on_grid or len(corners) != len(chunks) or len(corners) != prod(counts):
            raise self.refused(path, "an array without all of its chunks")
        return Chunked(shape, filters, tuple(chunks))


def _types(h5t: Any) -> list[tuple[str, Any]]:
    """Return NumPy's codes and HDF5's types of the numbers that are read."""
    found = []
    for order, suffix in (("<", "LE"), (">", "BE")):
        found += [(f"{order}f{n}", getattr(h5t, f"IEEE_F{8 * n}{suffix}")) for n in (2, 4, 8)]
        for n in (1, 2, 4, 8):
            found.append((f"{order}i{n}", getattr(h5t, f"STD_I{8 * n}{suffix}")))
            found.append((f"{order}u{n}", getattr(h5t, f"STD_U{8 * n}{suffix}")))
    return found


def _is_bool(kind: Any, h5t: Any) -> bool:
    """Tell whether an enumeration is h5py's of False and True."""
    if kind.get_nmembers() != 2 or not kind.get_super().equal(h5t.STD_I8LE):
        return False
    return [(kind.get_member_name(i), kind.get_member_value(i)) for i in (0, 1)] == [
        (b"FALSE", 0),
        (b"TRUE", 1),
    ]


def _said(kind: Any) -> str:
    try:
        return f"{kind.dtype}"[:100]
    except (TypeError, ValueError, RuntimeError):
        return f"HDF5's class {kind.get_class()}, {kind.get_size()} bytes"
