"""Keras's pickled variables, as `weights_format="npz"` wrote them on torch, read as data.

Each layer is a pickled dict of Keras's `Variable` objects, whose values are torch's tensors, whose
numbers are in a file of torch's inside of the pickle, which is five pickles and the numbers. All of
them go through the machine that takes arrays out of pickles: here it knows a few more names, none
of which it imports or calls, and two more instructions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from ..._core.errors import FileError
from .hdf5.keras3_layout import NOT_LAYERS, VARS
from .hdf5.objects import Array, Group
from .npy import MOST_BYTES, header
from .pickled import Machine, Name, PickledArray, Type, integers, unpickled
from .zip_archive import Archive

Parts = tuple[str, ...]
Members = dict[str, Group | Array]

_SUFFIX = ".npy"
_ROOT = "__root__"
_MOST_PARTS = 32  # of a layer's path
_KEY = re.compile(r"\w{1,50}", re.ASCII)
_WANTED = "a layer's variables"
_AGAIN = "Save it again with Keras: model.save('model.keras')."

_TORCH_FILE = (0x1950A86A20F9469CFC6C, 1001)  # the first two pickles: what it is, and its version
_STORAGES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "|V2", "Long": "<i8",
    "Int": "<i4", "Short": "<i2", "Char": "|i1", "Byte": "|u1", "Bool": "|b1",
}  # fmt: skip


class _Storage(NamedTuple):
    """The numbers of torch's tensors: NumPy's code of their type, and their bytes."""

    code: str
    data: bytes


class _TorchFile(Machine):
    """The pickles of a file of torch's, one after another; their names are types of numbers."""

    names: ClassVar[Mapping[tuple[str, str], str]] = {
        ("torch", f"{name}Storage"): code for name, code in _STORAGES.items()
    }
    wanted = _WANTED
    remedy = _AGAIN

    def step(self, code: bytes) -> None:
        if code == b"Q":  # a storage by what is told of it
            self.stack.append(*self.popped(1))
        else:
            super().step(code)

    def following(self) -> Any:
        """Return the value of the next pickle."""
        self.stack.clear()
        self.memo.clear()
        return self.run()

    def storage(self) -> _Storage:
        """Return the one storage that the file holds."""
        magic, version, system, told, keys = (self.following() for _ in range(5))
        known = type(magic) is type(version) is int and (magic, version) == _TORCH_FILE
        if not known or not isinstance(system, dict) or system.get("little_endian") is not True:
            raise self.refused("a file of torch's of another version, or from another machine")
        one = isinstance(keys, list) and len(keys) == 1
        if not one or not isinstance(told, tuple) or len(told) != 6:
            raise self.refused("a file of torch's that holds something else than one storage")
        word, kind, key, _, count, view = told
        named = isinstance(word, str) and isinstance(key, str) and isinstance(keys[0], str)
        whole = named and (word, key) == ("storage", keys[0]) and view is None
        if not whole or not isinstance(kind, Name) or type(count) is not int:
            raise self.refused("a file of torch's that holds something else than one storage")
        code, numbers = kind.meaning, self.number("<q")
        data = self.taken(self.size - self.stream.tell())
        if numbers != count or len(data) != count * int(code[2:]):
            raise self.refused(f"{len(data)} bytes for {count} numbers of {code}")
        return _Storage(code, data)


class _Variables(Machine):
    """What a layer's pickle says of its variables; each becomes an array."""

    names: ClassVar[Mapping[tuple[str, str], str]] = {
        **Machine.names,
        ("keras.src.backend", "Variable"): "variable",
        ("keras.src.backend.torch.core", "Variable"): "variable",  # early versions of Keras 3
        ("torch._utils", "_rebuild_parameter"): "parameter",
        ("torch._utils", "_rebuild_tensor_v2"): "tensor",
        ("torch.storage", "_load_from_bytes"): "storage",
        ("collections", "OrderedDict"): "hooks",
    }
    wanted = _WANTED
    remedy = _AGAIN

    def step(self, code: bytes) -> None:
        if code == b"\x81":
            cls, arguments = self.popped(2)
            if not isinstance(cls, Name) or cls.meaning != "variable" or arguments != ():
                raise self.refused("an object that is no variable")
            self.stack.append(PickledArray())
        else:
            super().step(code)

    def call(self, meaning: str, arguments: tuple[Any, ...]) -> Any:
        match meaning, arguments:
            case "hooks", ():
                return {}
            case "storage", (bytes() as data,):
                self.count(len(data))
                return _TorchFile(self.where, data).storage()
            case "tensor", (_Storage() as storage, int() as offset, shape, strides, _, _):
                return self.tensor(storage, offset, integers(shape), integers(strides))
            case "parameter", (PickledArray() as array, _, _):
                return array
        return super().call(meaning, arguments)

    def tensor(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> PickledArray:
        order, kind, item = storage.code[0], storage.code[1:], int(storage.code[2:])
        count = 1
        for size, stride in zip(reversed(shape), reversed(strides), strict=True):
            if size < 0 or (size > 1 and stride != count and 0 not in shape):
                raise self.refused("a tensor whose last axis is not the fastest in memory")
            count *= size
        if not 0 <= offset <= len(storage.data) // item - count:
            raise self.refused("a tensor beyond the end of its storage")
        data = storage.data[offset * item : (offset + count) * item]
        return self.fill(PickledArray(), Type(kind, order), shape, data, "C")

    def set_state(self, target: Any, state: Any) -> None:
        if not isinstance(state, dict) or not isinstance(target, PickledArray):
            super().set_state(target, state)
            return
        value = state.get("_value")
        if not isinstance(value, PickledArray) or value.form is None or target.data is not None:
            raise self.refused("a variable without a value")
        target.form, target.data = value.form, value.data


def variables_of(archive: Archive) -> Group:
    """Return the tree of an `.npz` archive of pickled variables, as an HDF5 file has it.

    Args:
        archive: The archive; of what is no layer's, the pickles are left alone.

    Raises:
        FileError: it is damaged, or a pickle holds something else than variables.
    """
    groups: dict[Parts, Members] = {(): {}}
    for member, info in archive.members.items():
        name = member.removesuffix(_SUFFIX)
        path = () if name == _ROOT else tuple(name.split("/"))
        if name == member or VARS in path or len(path) > _MOST_PARTS or info.compress_type:
            what = f"{member[:200]!r}: a member that is no layer of an archive as NumPy writes it"
            raise FileError(f"{archive.source}: {what}. {_AGAIN}")
        arrays = {} if path[:1] and path[0] in NOT_LAYERS else _arrays(archive, member)
        _grown(groups, path)[VARS] = Group("/".join([*path, VARS]), {}, arrays)
    return Group("", {}, groups[()])


def _grown(groups: dict[Parts, Members], path: Parts) -> Members:
    """Return what is in a group, which is made where there is none."""
    if path not in groups:
        groups[path] = {}
        _grown(groups, path[:-1])[path[-1]] = Group("/".join(path), {}, groups[path])
    return groups[path]


def _arrays(archive: Archive, member: str) -> Members:
    """Return the arrays of one layer by their numbers."""
    where, window = f"{archive.source}: {member}", archive.window(member)
    form, at = header(where, window.taken(0, MOST_BYTES))
    found = None
    if form is None:
        found = unpickled(where, window.taken(at, window.size - at), _Variables)
    inside = found.data if isinstance(found, PickledArray) else None
    layer = inside[0] if isinstance(inside, list) and len(inside) == 1 else None
    if not isinstance(layer, dict):
        raise FileError(f"{where}: no pickled dict of a layer's variables. {_AGAIN}")
    arrays: Members = {}
    for key, value in layer.items():
        if not _KEY.fullmatch(key) or not isinstance(value, PickledArray) or value.form is None:
            raise FileError(f"{where}: {key[:50]!r}: no variable. {_AGAIN}")
        arrays[key] = Array(where, key, value.form, window, bytes(value.data))
    return arrays
