"""The attributes of HDF5 objects that Keras reads, bounded by the size of the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ...._core.errors import FileError
from ..byte_range import ByteRange
from .vlen_strings import StringReader

Attribute = str | int | tuple[str, ...]

_KNOWN = (
    "backend", "dtype", "keras_version", "layer_names", "model_config", "name", "nb_layers",
    "nb_params", "weight_names",
)  # fmt: skip
_PART = re.compile(r"(layer|weight)_names[0-9]{1,5}")  # Keras splits long ones into several
_MOST = 10_000  # of one object
_MOST_STRINGS = 1_000_000  # of one attribute


class AttributeReader:
    """Reads attributes; their total size may not exceed the size of the file."""

    def __init__(
        self, h5py: Any, window: ByteRange, make_error: Callable[[str, str], FileError]
    ) -> None:
        self.h5py, self.window, self.make_error = h5py, window, make_error
        self.strings = StringReader(window, self._count_bytes)
        self.nbytes = 0

    def read(self, member: Any, path: str) -> dict[str, Attribute]:
        """Return the known attributes of a group or a dataset."""
        count = self.h5py.h5a.get_num_attrs(member)
        if count > _MOST:
            raise self.make_error(path, f"more than {_MOST} attributes. Found: {count}")
        found: dict[str, Attribute] = {}
        names: list[bytes] = []
        # Access by index would search from the start each time.
        self.h5py.h5a.iterate(member, names.append)
        for raw in names:
            name = raw.decode("utf-8", "replace")
            if name in _KNOWN or _PART.fullmatch(name):
                attribute = self.h5py.h5a.open(member, raw)
                found[name] = self._read_value(member, attribute, f"{path}@{name}")
        return found

    def _read_value(self, member: Any, attribute: Any, path: str) -> Attribute:
        h5t = self.h5py.h5t
        shape, kind, space = attribute.shape, attribute.get_type(), attribute.get_space()
        if space.get_simple_extent_type() == self.h5py.h5s.NULL or 0 in shape:
            return ()
        if len(shape) > 1 or kind.committed() or space.get_simple_extent_npoints() > _MOST_STRINGS:
            raise self.make_error(path, f"no text and no list of texts. Found: shape {shape}")
        self._count_bytes(attribute.get_storage_size())
        if kind.get_class() == h5t.INTEGER and not shape:
            value = np.empty((), np.int64)
            attribute.read(value, h5t.NATIVE_INT64)
            return int(value)
        if kind.get_class() != h5t.STRING:
            raise self.make_error(path, f"no text. Found: HDF5's type class {kind.get_class()}")
        if kind.is_variable_str():
            address = self.h5py.h5o.get_info(member).addr
            raw = self.strings.read(address, attribute.name, shape[0] if shape else 1)
        else:
            values = np.empty(shape, kind.dtype)
            attribute.read(values, kind)
            raw = values.reshape(-1).tolist()
        texts = tuple(text.rstrip(b"\0").decode() for text in raw)
        return texts if shape else texts[0]

    def _count_bytes(self, nbytes: int) -> None:
        self.nbytes += nbytes
        if self.nbytes > self.window.size:
            raise self.make_error("", "attributes of more bytes than the file has")
