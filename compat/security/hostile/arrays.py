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
            warnings.simplefilter("ignore")  # two members of one name
            for name, data in entries:
                file.writestr(name, data(place) if callable(data) else data)

    return write


def _object_array(place: Place) -> bytes:
    return npy(described("(1,)", "'|O'"), payload(place))


def _early_payload(place: Place) -> bytes:
    path = str(place.touched)
    return f"cos\nmkdir\n(V{path}\ntR.".encode()


def _global(module: str, name: str, *arguments: Any) -> bytes:
    """Return a pickle that calls any function of any module."""
    shown = b"".join(pickle.dumps(argument, 2)[2:-1] for argument in arguments)
    return f"\x80\x02c{module}\n{name}\n(".encode("latin-1") + shown + b"tR."


def _array(shape: bytes, data: bytes = b"C\x04abcd", kind: bytes = b"f4") -> bytes:
    """Return a pickle of one array in a list, by its instructions."""
    return (
        b"\x80\x03](cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        b"(K\x01" + shape + b"cnumpy\ndtype\nX" + struct.pack("<I", len(kind)) + kind
        + b"\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + data + b"tbe."
    )  # fmt: skip


def _nested_tuples() -> bytes:
    """Return a pickle of a tuple of two of a tuple of two of ..., as a key of a dict."""
    return b"\x80\x02}(" + b"q\x00".join([b")", *[b"h\x00h\x00\x86"] * 60]) + b"K\x01u."


def _same_bytes(count: int) -> bytes:
    """Return a pickle of many arrays that all have the same bytes."""
    one = _array(b"K\x01\x85", b"h\x00")[3:-2]
    return b"\x80\x03C\xc8" + bytes(200) + b"q\x00" + one * count + b"e."


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
    Case("eval.pkl", "residual", _RUNS, _file(_global("builtins", "eval", "1"))),
    Case("getattr.pkl", "residual", _RUNS, _file(_global("builtins", "getattr", 1, "real"))),
    Case("fromfile.pkl", "residual", "reads a file by NumPy",
         _file(_global("numpy", "fromfile", "secret"))),
    Case("load.pkl", "residual", "loads a pickle by torch",
         _file(_global("torch.storage", "_load_from_bytes", b"x"))),
    Case("instance.pkl", "residual", "makes an instance of any class",
         _file(b"(V/touched\nios\nmkdir\n.")),
    Case("persistent.pkl", "residual", "asks for an object by an id", _file(b"\x80\x02K\x01Q.")),
    Case("extension.pkl", "residual", "asks for a registered extension",
         _file(b"\x80\x02\x82\x01.")),
    Case("buffer.pkl", "residual", "asks for a buffer beside it", _file(b"\x80\x05\x97.")),
    Case("huge_bytes.pkl", "residual", "declares bytes that it has not",
         _file(b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b".")),
    Case("huge_memo.pkl", "residual", "allocates a table for one entry",
         _file(b"\x80\x02]r\xff\xff\xff\x7f."), "never"),
    Case("huge_shape.pkl", "residual", "allocates what a shape declares",
         _file(_array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"))),
    Case("negative_shape.pkl", "residual", "has a negative size",
         _file(_array(b"J\xff\xff\xff\xff\x85"))),
    Case("objects.pkl", "residual", "has pointers for numbers",
         _file(_array(b"K\x01\x85", b"](K\x01e", b"O8"))),
    Case("wrong_type.pkl", "residual", "has a type that is none",
         _file(_array(b"K\x01\x85", kind=b"f4,f4,O"))),
    Case("nested_tuples.pkl", "residual", "takes for ever to hash", _file(_nested_tuples())),
    Case("same_bytes.pkl", "residual", "has more arrays than bytes", _file(_same_bytes(1000))),
    Case("itself.pkl", "residual", "is a list that holds itself",
         _file(b"\x80\x02]q\x00h\x00a.")),
    Case("many_marks.pkl", "residual", "fills the stack", _file(b"\x80\x02" + b"(" * 300_000)),
    Case("lists.pkl", "residual", "fills the memory",
         _file(b"\x80\x02](" + b"]" * 190_000 + b"e.")),
    Case("digits.pkl", "residual", "spends time on a number",
         _file(b"L" + b"9" * 200_000 + b"L\n.")),
    Case("cut.pkl", "residual", "is cut off", _file(pickle.dumps([KERNEL, BIAS])[:-20])),
    Case("two.pkl", "residual", "has another pickle behind it",
         _file(pickle.dumps([KERNEL, BIAS]) + pickle.dumps(1))),
    Case("numbers.pkl", "residual", "has no arrays", _file(pickle.dumps([1, 2.5, "x"], 2))),
    Case("random.pkl", "residual", "is nothing",
         _file(np.random.default_rng(0).bytes(5000))),
    Case("pointer.h5", "residual", "is a Git LFS pointer",
         _file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")),
)  # fmt: skip
