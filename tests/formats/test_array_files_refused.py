"""Array files that are refused, pickles among them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kerastorch import load_weights
from kerastorch._core.errors import FileError
from kerastorch.layers import Conv2D
from kerastorch.saving.formats import zip_archive
from kerastorch.saving.formats.open import open_weight_file
from tests.formats.arrays import BIAS, KERNEL, npy, npy_of, npz, plain


def refusal(path: Path) -> str:
    """What is said of a file, or of the first of its arrays, that is refused."""
    with pytest.raises(FileError) as error, open_weight_file(path) as contents:
        for layer in contents.layers:
            for weight in layer.weights:
                weight.read()
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


# Pickles


def in_object_array(path: Path) -> None:
    objects = np.empty(2, object)
    objects[:] = [KERNEL, BIAS]
    if path.suffix == ".npy":
        np.save(path, objects)
    else:
        np.savez(path, w=objects)


@pytest.mark.parametrize(
    "name", [*(f"{protocol}.pkl" for protocol in range(6)), "objects.npy", "objects.npz"]
)
def test_a_pickle_is_refused_with_the_code_that_passes_its_arrays(name, tmp_path):
    if name.endswith(".pkl"):
        content = pickle.dumps([KERNEL, BIAS], int(name[0]))
        (tmp_path / name).write_bytes(content)
    else:
        in_object_array(tmp_path / name)
    layer = Conv2D(4, (1, 2), input_shape=(5, 7, 3))
    with pytest.raises(FileError, match="a pickle of Python objects, which is not read") as error:
        load_weights(layer, tmp_path / name)
    code = re.search(r"load_weights\(module, .*\)", str(error.value))[0]
    names = {"pickle": pickle, "numpy": np, "load_weights": load_weights, "module": layer}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the open file
        eval(code, names)
    np.testing.assert_array_equal(layer.get_weights()[0], KERNEL)
    np.testing.assert_array_equal(layer.get_weights()[1], BIAS)


class Called:
    """What would be called, were it unpickled."""

    happened = False

    def __reduce__(self):
        return call, ()


def call() -> None:
    Called.happened = True


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_pickle_is_called(protocol, tmp_path):
    data = pickle.dumps([KERNEL, Called()], protocol)
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(FileError, match="a pickle of Python objects"):
        load_weights(Conv2D(4, (1, 2)), tmp_path / "a.pkl")
    assert not Called.happened
    pickle.loads(data)
    assert Called.happened
    Called.happened = False


# What is refused


HEADER = "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}"


@pytest.mark.parametrize(
    "descr, order, shape, data, said",
    [
        ("'<f4'", "False", "(3,)", b"abcdefgh", "Found: 8 bytes, not 12"),
        ("'<f4'", "False", "(1,)", b"abcdefgh", "Found: 8 bytes, not 4"),
        ("'<f4'", "False", "(2, 1099511627776)", b"abcd", "Found: 4 bytes, not 8796093022208"),
        ("'<f4'", "False", "(999999999999999999, 99)", b"", "impossible shape"),
        ("'<f4'", "False", "(0, 999999999999999999, 99)", b"", "impossible shape"),
        ("'<f4'", "False", "(" + "1, " * 33 + ")", b"abcd", "impossible shape"),
        ("'<f4'", "False", "(-1,)", b"abcd", "impossible shape"),
        ("'<f4'", "False", "[1]", b"abcd", "shape is not valid"),
        ("'<f4'", "0", "(1,)", b"abcd", "fortran_order is not a valid bool"),
        ("[('a', '<f4')]", "False", "(1,)", b"abcd", "an array with fields"),
        ("__import__('os')", "False", "(1,)", b"abcd", "no header"),
        ("[('a', '<i2')]", "False", "(1,)", b"ab", "an array with fields"),
        ("('|i1', (2,))", "False", "(1,)", b"ab", "an array with fields"),
        ("'<f4'", "False", "(0x" + "f" * 8000 + ",)", b"abcd", "impossible shape"),
        ("'<f4'", "False", "(" + "9" * 8000 + ",)", b"abcd", "no header"),
        ("'<f16'", "False", "(1,)", bytes(16), "unsupported dtype. Found: '<f16'"),
        ("'|V4'", "False", "(1,)", b"abcd", "unsupported dtype. Found: '|V4'"),
        ("'|S4'", "False", "(1,)", b"abcd", "unsupported dtype. Found: '|S4'"),
        ("'<c8'", "False", "(1,)", b"abcdefgh", "unsupported dtype. Found: '<c8'"),
        ("'|b1'", "False", "(2,)", b"\1\2", "neither 0 nor 1"),
    ],
)
@pytest.mark.parametrize("file", ["a.npy", "a.npz"])
def test_headers_that_are_refused(descr, order, shape, data, said, file, tmp_path):
    content = npy(HEADER.format(descr, order, shape), data)
    if file == "a.npy":
        (tmp_path / file).write_bytes(content)
    else:
        npz(tmp_path / file, ("arr_0.npy", content))
    assert said in refusal(tmp_path / file)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"\x93NUMPY", "no header"),
        (b"\x93NUMPY\3\0\0\0\0\0", "no header of a plain array in .npy format 1 or 2: (3, 0)"),
        (b"\x93NUMPY\1\0\xff\xff{", "EOF: reading array header"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff{", "EOF: reading array header"),
        (npy("{" + " " * 12_000 + "}", b""), "Header info length (12003) is large"),
        (npy("{}", b""), "does not contain the correct keys"),
        (npy("((((((", b""), "no header"),
        (npy("(" * 9000, b""), "no header"),
        (npy("-" * 9000 + "1", b""), "no header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1", b""), "no header"),
        (npy("{'shape': (1,), 'fortran_order': False, 'shape': (1,)}", b""), "the correct keys"),
    ],
)
def test_starts_that_are_refused(content, said, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    assert said in refusal(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "members, said",
    [
        (["arr_0.npy", "arr_2.npy"], "not numbered without a gap"),
        (["arr_0.npy", "bias.npy"], "not numbered without a gap"),
        (["arr_0.npy", "arr_00.npy"], "not numbered without a gap"),
        (["arr_0.npy", "x.txt"], "'x.txt': a member that is not an array"),
        (["arr_0.npy", "../arr_1.npy"], "unsafe name"),
    ],
)
def test_members_that_are_refused(members, said, tmp_path):
    npz(tmp_path / "a.npz", *[(member, npy_of(BIAS)) for member in members])
    assert said in refusal(tmp_path / "a.npz")


def test_a_bomb_of_many_members_is_refused(monkeypatch, tmp_path):
    members = [(f"arr_{n}.npy", npy_of(np.zeros(1 << 16, "u1"))) for n in range(4)]
    path = npz(tmp_path / "a.npz", *members, method=zipfile.ZIP_DEFLATED)
    assert len(plain(path)) == 4
    monkeypatch.setattr(zip_archive, "FREE_BYTES", 3 << 16)
    assert f"Found: {4 * len(members[0][1])} bytes inflated" in refusal(path)
