"""The attributes of an HDF5 object: those that Keras's readers look at, bounded by the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...._core.errors import FileError
from ..byte_range import Window
from .vlen_strings import Strings

Attribute = str | int | tuple[str, ...]

_KNOWN = (
    "backend", "dtype", "keras_version", "layer_names", "model_config", "name", "nb_layers",
    "nb_params", "weight_names",
)  # fmt: skip
_SPLIT = ("layer_names", "weight_names")  # which Keras splits into several where they are long
_MOST = 10_000  # of one object
_MOST_STRINGS = 1_000_000  # of one attribute


class AttributeReader:
    """Reads attributes and counts the bytes that they take.

    Args:
        h5py: The library.
        window: The file.
        refused: Makes the error from the path inside and what is wrong there.
    """

    def __init__(self, h5py: Any, window: Window, refused: Callable[[str, str], FileError]) -> None:
        self.h5py = h5py
        self.window = window
        self.refused = refused
        self.strings = Strings(window, self._take)
        self.taken = 0

    def of(self, member: Any, path: str) -> dict[str, Attribute]:
        """Return the attributes of known names of a group or a dataset.

        Args:
            member: The group or dataset.
            path: Where it is in the file.

        Raises:
            FileError: there are too many, or one is none that Keras writes.
        """
        count = self.h5py.h5a.get_num_attrs(member)
        if count > _MOST:
            raise self.refused(path, f"more than {_MOST} attributes. Found: {count}")
        found: dict[str, Attribute] = {}
        names: list[bytes] = []
        self.h5py.h5a.iterate(member, names.append)  # by an index, each would be sought anew
        for raw in names:
            name = raw.decode("utf-8", "replace")
            if name in _KNOWN or any(_is_part(name, whole) for whole in _SPLIT):
                attribute = self.h5py.h5a.open(member, raw)
                found[name] = self._value(member, attribute, f"{path}@{name}")
        return found

    def _value(self, member: Any, attribute: Any, path: str) -> Attribute:
        h5t = self.h5py.h5t
        shape, kind, space = attribute.shape, attribute.get_type(), attribute.get_space()
        if space.get_simple_extent_type() == self.h5py.h5s.NULL or 0 in shape:
            return ()
        if len(shape) > 1 or kind.committed() or space.get_simple_extent_npoints() > _MOST_STRINGS:
            raise self.refused(path, f"no text and no list of texts. Found: shape {shape}")
        self._take(attribute.get_storage_size())
        if kind.get_class() == h5t.INTEGER and not shape:
            number = np.empty((), np.int64)
            attribute.read(number, h5t.NATIVE_INT64)
            return int(number)
        if kind.get_class() != h5t.STRING:
            raise self.refused(path, f"no text. Found: HDF5's type class {kind.get_class()}")
        return self._texts(member, attribute, kind)

    def _texts(self, member: Any, attribute: Any, kind: Any) -> Attribute:
        shape = attribute.shape
        if kind.is_variable_str():
            address = self.h5py.h5o.get_info(member).addr
            raw = self.strings.of(address, attribute.name, shape[0] if shape else 1)
        else:
            values = np.empty(shape, kind.dtype)
            attribute.read(values, kind)
            raw = values.reshape(-1).tolist()
        texts = tuple(text.rstrip(b"\0").decode() for text in raw)
        return texts if shape else texts[0]

    def _take(self, nbytes: int) -> None:
        self.taken += nbytes
        if self.taken > self.window.size:
            raise self.refused("", "attributes of more bytes than the file has")


def _is_part(name: str, whole: str) -> bool:
    """Tell whether an attribute is a part of one that Keras split: "layer_names0"."""
    rest = name.removeprefix(whole)
    return rest != name and rest.isascii() and rest.isdecimal() and len(rest) < 6
