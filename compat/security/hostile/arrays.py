"""Hostile files of arrays: `.npy` headers, `.npz` members and pickles."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

from compat.security.hostile.configs import payload
from compat.security.hostile.parts import BIAS, KERNEL, Case, Place

HUGE = 24 << 20


def npy(text: str, data: bytes, version: int = 1, length: int | None = None) -> bytes:
    """Return a `.npy` file with any header."""
    header = text.encode("latin-1") + b"\n"
    size = len(header) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", size)
        + (header + data)
    )


def described(shape: str, descr: str = "'<f4'", order: str = "False", more: str = "") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}"


def _file(data: bytes | Callable[[Place], bytes]) -> Callable[[Place], object]:
    return lambda place: place.path.write_bytes(data(place) if callable(data) else data)


def _saved(array: Any) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _zip(
    *entries: tuple[str, bytes | Callable[[Place], bytes]], method: int = zipfile.ZIP_STORED
) -> Callable[[Place], None]:
    def write(place: Place) -> None:
        with zipfile.ZipFile(place.path, "w", method) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two members with the same name
            for name, data in entries:
                file.writestr(name, data(place) if callable(data) else data)

    return write


def _object_array(place: Place) -> bytes:
    return npy(described("(1,)", "'|O'"), payload(place))


def _early_payload(place: Place) -> bytes:
    path = str(place.touched)
    return f"cos\nmkdir\n(V{path}\ntR.".encode()


_RUNS = "runs what a pickle names"

CASES = (
    # Headers
    Case("shape.npy", "keras#23016", "allocates what a shape declares",
         _file(npy(described("(1125899906842624,)"), b"abcd"))),
    Case("shape_overflow.npy", "keras#23016", "allocates what a shape declares",
         _file(npy(described("(4294967296, 4294967296, 1)"), b""))),
    Case("shape_empty.npy", "residual", "has an axis of no length beside a huge one",
         _file(npy(described("(0, 999999999999999999, 999999999999999999)"), b""))),
    Case("shape_negative.npy", "residual", "has a negative size",
         _file(npy(described("(-1,)"), b"abcd"))),
    Case("shape_axes.npy", "residual", "has more axes than any array",
         _file(npy(described("(" + "1, " * 900 + ")"), b"abcd"))),
    Case("code.npy", "residual", "has code in its header",
         _file(npy(described("(1,)", more="'x': __import__('os')"), b"abcd"))),
    Case("nested.npy", "residual", "exhausts the stack of a parser",
         _file(npy("(" * 9000, b""))),
    Case("long.npy", "residual", "has a long header", _file(npy("{" + " " * 60_000, b""))),
    Case("cut_header.npy", "residual", "is cut off", _file(npy("{", b"", 2, 2**32 - 1))),
    Case("cut.npy", "residual", "is cut off", _file(_saved(KERNEL)[:-5])),
    Case("longer.npy", "residual", "has data behind its end", _file(_saved(KERNEL) + b"abcd")),
    Case("version.npy", "residual", "is of another version",
         _file(npy(described("(1,)"), b"abcd", 3))),
    Case("fields.npy", "residual", "has fields", _file(_saved(np.zeros(3, [("a", "f4")])))),
    Case("text.npy", "residual", "has text for numbers", _file(_saved(np.array(["a", "b"])))),
    Case("complex.npy", "residual", "has complex numbers", _file(_saved(np.ones(3, "c8")))),
    Case("times.npy", "residual", "has dates for numbers", _file(_saved(np.ones(3, "m8[s]")))),
    Case("bool.npy", "residual", "has a truth value of 2",
         _file(npy(described("(1,)", "'|b1'"), b"\x02"))),
    # Members
    Case("bomb.npz", "keras#23016", "inflates a thousandfold",
         _zip(("arr_0.npy", lambda _: npy(described(f"({HUGE // 4},)"), bytes(HUGE))),
              method=zipfile.ZIP_DEFLATED)),
    Case("many_bombs.npz", "residual", "inflates a thousandfold, in many members",
         _zip(*[(f"arr_{n}.npy", npy(described(f"({1 << 20},)"), bytes(4 << 20)))
                for n in range(12)], method=zipfile.ZIP_DEFLATED)),
    Case("shape.npz", "keras#23016", "allocates what a shape declares",
         _zip(("arr_0.npy", npy(described("(1125899906842624,)"), b"abcd")))),
    Case("twice.npz", "residual", "has two arrays of one name",
         _zip(("arr_0.npy", _saved(KERNEL)), ("arr_0.npy", _saved(BIAS)))),
    Case("gap.npz", "residual", "lacks an array amid the numbers",
         _zip(("arr_0.npy", _saved(KERNEL)), ("arr_2.npy", _saved(BIAS)))),
    Case("mixed.npz", "residual", "has numbers and names",
         _zip(("arr_0.npy", _saved(KERNEL)), ("bias.npy", _saved(BIAS)))),
    Case("slip.npz", "residual", "leads out of where it is extracted",
         _zip(("../arr_0.npy", _saved(KERNEL)))),
    Case("no_array.npz", "residual", "has a member that is no array",
         _zip(("arr_0.npy", _saved(KERNEL)), ("x.py", b"import os"))),
    Case("objects.npz", "keras#23047", _RUNS, _zip(("arr_0.npy", _object_array))),
    Case("keras_npz.keras", "keras#23047", _RUNS,
         _zip(("config.json", b"{}"), ("metadata.json", b"{}"),
              ("model.weights.npz", payload))),
    # Pickles
    Case("objects.npy", "keras#23047", _RUNS, _file(_object_array)),
    Case("mkdir_0.pkl", "residual", _RUNS, _file(_early_payload)),
    Case("mkdir_4.pkl", "residual", _RUNS, _file(payload)),
    Case("cut.pkl", "residual", "is cut off", _file(pickle.dumps([KERNEL, BIAS])[:-20])),
    Case("random.pkl", "residual", "is nothing",
         _file(np.random.default_rng(0).bytes(5000))),
    Case("pointer.h5", "residual", "is a Git LFS pointer",
         _file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")),
)  # fmt: skip
