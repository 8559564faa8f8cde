"""Hostile variables: pickled Keras objects in place of HDF5, `weights_format="npz"` on torch."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import torch

from compat.security.hostile.arrays import described, npy
from compat.security.hostile.configs import payload
from compat.security.hostile.parts import BIAS, KERNEL, Case, Place, genuine

HUGE = 24 << 20
_STAND_IN = f"c{__name__}\nVariable\n".encode()


class Variable:
    """Stands in for Keras's, whose name its pickles get."""

    def __init__(self, value: Any) -> None:
        self._name = "kernel"
        self._value = value
        self._regularizer = None


def pickled(value: Any) -> bytes:
    """Return a pickle, in which variables are Keras's; protocol 3 has names without lengths."""
    return pickle.dumps(value, 3).replace(_STAND_IN, b"ckeras.src.backend\nVariable\n")


def member(data: bytes) -> bytes:
    return npy(described("()", "'|O'"), data)


def of(*values: Any) -> bytes:
    """Return the member of a layer."""
    layer = {str(i): Variable(torch.nn.Parameter(torch.tensor(v))) for i, v in enumerate(values)}
    return member(pickled(np.array(layer, object)))


def archive(
    *members: tuple[str, bytes | Callable[[Place], bytes]], inner: int = 0, outer: int = 0
) -> Callable[[Place], None]:
    """Return what writes a `.keras` archive whose weights are these members."""

    def write(place: Place) -> None:
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", inner) as file:
            for name, data in members:
                file.writestr(name, data(place) if callable(data) else data)
        with zipfile.ZipFile(place.path, "w", outer) as file:
            file.writestr("metadata.json", "{}")
            file.writestr("config.json", json.dumps(genuine()))
            file.writestr("model.weights.npz", buffer.getvalue())

    return write


def layer(data: bytes | Callable[[Place], bytes]) -> Callable[[Place], None]:
    """Return what writes an archive with a member for its one layer."""
    return archive(("__root__.npy", member(pickled(np.array({}, object)))), (_LAYER, data))


def changed(before: bytes, after: bytes) -> bytes:
    """Return the genuine member with something else in its pickle."""
    data = of(KERNEL, BIAS)
    if before not in data:
        raise ValueError(f"{before!r} is not in a genuine member")
    return data.replace(before, after)


def _same_storage(count: int) -> bytes:
    """Return a member that reads one storage many times."""
    storage, *_ = torch.zeros(1 << 18).__reduce_ex__(3)[1]
    (data,) = storage.__reduce__()[1]
    read = b"ctorch.storage\n_load_from_bytes\nh\x01\x85R"
    return member(
        b"\x80\x03](B" + struct.pack("<I", len(data)) + data + b"q\x01" + read * count + b"e."
    )


def _payload(place: Place) -> bytes:
    return member(payload(place))


_LAYER = "layers/conv2d.npy"
_RUNS = "runs what a pickle names"
_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
_PARAMETER = b"ctorch._utils\n_rebuild_parameter\n"

write_genuine = layer(of(KERNEL, BIAS))

CASES = (
    Case("mkdir.variables.keras", "keras#23047", _RUNS, layer(_payload)),
    Case("root.variables.keras", "keras#23047", _RUNS,
         archive(("__root__.npy", _payload), (_LAYER, of(KERNEL, BIAS)))),
    Case("system.variables.keras", "residual", _RUNS,
         layer(changed(_PARAMETER, b"cos\nsystem\n"))),
    Case("class.variables.keras", "residual", "makes an instance of any class",
         layer(changed(b"ckeras.src.backend\nVariable\n", b"csubprocess\nPopen\n"))),
    Case("instance.variables.keras", "residual", "makes an instance of a name it may use",
         layer(changed(b"ckeras.src.backend\nVariable\n", _TENSOR))),
    Case("storage.variables.keras", "residual", "runs what a pickle inside of a storage names",
         layer(changed(b"ctorch\nFloatStorage\n", b"cposix\nFloatStorage\n"))),
    Case("count.variables.keras", "residual", "declares more numbers than it has",
         layer(changed(struct.pack("<q", BIAS.size), struct.pack("<q", 1 << 50)))),
    Case("shape.variables.keras", "residual", "allocates what a shape declares",
         layer(changed(b"K\x03K\x03K\x03K\x02t", b"J\xff\xff\xff\x7fK\x03K\x03K\x02t"))),
    Case("strides.variables.keras", "residual", "repeats numbers by a stride of 0",
         layer(changed(b"K\x12K\x06K\x02K\x01t", b"K\x12K\x06K\x00K\x01t"))),
    Case("again.variables.keras", "residual", "spends time on one storage many times",
         layer(_same_storage(60_000))),
    Case("text.variables.keras", "residual", "has text for numbers",
         layer(member(pickled(np.array({"0": "x"}, object))))),
    Case("cut.variables.keras", "residual", "is cut off", layer(of(KERNEL, BIAS)[:-30])),
    Case("deep.variables.keras", "residual", "exhausts the stack by its names",
         archive(("a/" * 20_000 + "a.npy", of(KERNEL)))),
    Case("bomb.variables.keras", "keras#23016", "inflates a thousandfold",
         archive((_LAYER, bytes(HUGE)), outer=zipfile.ZIP_DEFLATED)),
    Case("inner_bomb.variables.keras", "keras#23016", "inflates a thousandfold",
         archive(*[(f"layers/dense_{n}.npy", bytes(6 << 20)) for n in range(20)],
                 inner=zipfile.ZIP_DEFLATED)),
    Case("no_array.variables.keras", "residual", "has a member that is no array",
         archive((_LAYER, of(KERNEL, BIAS)), ("x.py", b"import os"))),
    Case("vars.variables.keras", "residual", "has a layer in the place of arrays",
         archive((_LAYER, of(KERNEL, BIAS)), ("layers/conv2d/vars.npy", of(KERNEL)))),
)  # fmt: skip
