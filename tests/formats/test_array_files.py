"""Files of arrays and arrays in memory: what is read of them, and what is refused."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from kerastorch import load_weights
from kerastorch._core.errors import FileError
from kerastorch.layers import Conv2D
from kerastorch.saving.formats import zip_archive
from kerastorch.saving.formats.array_files import open_arrays
from kerastorch.saving.formats.in_memory import array_contents, is_live, live_contents

KERNEL = np.arange(24, dtype="float32").reshape(1, 2, 3, 4)
BIAS = np.array([0.5, -1.0, 2.0, 4.0], "float32")
ARRAYS = {
    "C": KERNEL,
    "Fortran": np.asfortranarray(KERNEL),
    "moved": np.moveaxis(KERNEL, 1, 3),
    "every other": KERNEL[:, :, ::2],
    "backwards": KERNEL[..., ::-1],
    "big-endian": KERNEL.astype(">f4"),
    "big-endian int": np.arange(-3, 5).astype(">i2"),
    "bool": np.array([True, False, True]),
    "one number": np.array(7.5),
    "no axis": np.float32(2.5),
    **{f"int{n}": np.arange(-2, 3).astype(f"int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}": np.array([0, 1, 2**n - 1], f"uint{n}") for n in (8, 16, 32, 64)},
    **{f"float{n}": np.array([0.5, -np.inf, np.nan], f"float{n}") for n in (16, 32, 64)},
    "empty": np.zeros((0, 3), "float32"),
}
BFLOAT16 = torch.tensor([1.5, -2.0, 3e38], dtype=torch.bfloat16)


def values(path: Path) -> dict[str, list[tuple]]:
    """Layer's path -> (path, name, array) of its weights, bfloat16 as a tensor."""
    with open_arrays(path) as contents:
        assert contents.named_by_caller
        assert contents.source == str(path)
        found = {}
        for layer in contents.layers:
            found[layer.path] = []
            for weight in layer.weights:
                tensor = weight.read()
                assert (tuple(tensor.shape), f"torch.{weight.dtype}") == (
                    weight.shape,
                    str(tensor.dtype),
                )
                assert tensor.is_contiguous()
                bare = tensor if tensor.dtype is torch.bfloat16 else tensor.numpy()
                found[layer.path].append((weight.path, weight.name, bare))
        return found


def plain(path: Path) -> list[np.ndarray]:
    """The arrays of a file without layers, in order."""
    found = values(path)
    assert list(found) == [""]
    assert [name for _, name, _ in found[""]] == [None] * len(found[""])
    return [array for _, _, array in found[""]]


def refusal(path: Path) -> str:
    """What is said of a file, or of the first of its arrays, that is refused."""
    with pytest.raises(FileError) as error, open_arrays(path) as contents:
        for layer in contents.layers:
            for weight in layer.weights:
                weight.read()
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


def npy(header: str, data: bytes, version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def npy_of(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


# Arrays as NumPy writes them


@pytest.mark.parametrize("name", ARRAYS)
def test_npy(name, tmp_path):
    np.save(tmp_path / "a.npy", ARRAYS[name])
    (found,) = plain(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, ARRAYS[name])
    assert found.dtype == ARRAYS[name].dtype.newbyteorder("=")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save, tmp_path):
    save(tmp_path / "a.npz", *ARRAYS.values())
    for found, array in zip(plain(tmp_path / "a.npz"), ARRAYS.values(), strict=True):
        np.testing.assert_array_equal(found, array)


def test_members_are_in_the_order_of_their_numbers(tmp_path):
    arrays = [np.full(2, n) for n in range(12)]
    members = [(f"arr_{n}.npy", npy_of(arrays[n])) for n in reversed(range(12))]
    found = plain(npz(tmp_path / "a.npz", *members))
    assert [int(array[0]) for array in found] == list(range(12))


def test_members_by_path_are_layers(tmp_path):
    named = {"model/b/kernel:0": KERNEL, "a/bias": BIAS, "model/b/bias:0": BIAS, "scale": KERNEL}
    np.savez(tmp_path / "a.npz", **named)
    found = values(tmp_path / "a.npz")
    assert [(layer, [w[:2] for w in weights]) for layer, weights in found.items()] == [
        ("model/b", [("model/b/kernel:0", "kernel"), ("model/b/bias:0", "bias")]),
        ("a", [("a/bias", "bias")]),
        ("", [("scale", "scale")]),
    ]
    np.testing.assert_array_equal(found["model/b"][0][2], KERNEL)
    with open_arrays(tmp_path / "a.npz") as contents:
        assert [layer.name for layer in contents.layers] == ["b", "a", None]


def test_bytes_of_two_are_bfloat16(tmp_path):
    data = npy("{'descr': '|V2', 'fortran_order': False, 'shape': (3,), }",
               BFLOAT16.view(torch.int16).numpy().tobytes())  # fmt: skip
    (tmp_path / "a.npy").write_bytes(data)
    ((_, _, found),) = values(tmp_path / "a.npy")[""]
    assert found.dtype is torch.bfloat16
    assert torch.equal(found, BFLOAT16)


@pytest.mark.parametrize(
    "header",
    [
        "{'shape': (1, 2), 'descr': '<i2', 'fortran_order': True}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (1L, 2L), }   ",
        "{ 'descr':'<i2','fortran_order':False,'shape':(1,2) }",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_headers_of_other_writers(header, version, tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(header, b"\1\0\2\0", version))
    (found,) = plain(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, [[1, 2]])


def test_what_is_read_is_not_shared(tmp_path):
    np.save(tmp_path / "a.npy", BIAS)
    with open_arrays(tmp_path / "a.npy") as contents:
        weight = contents.layers[0].weights[0]
        weight.read().zero_()
        np.testing.assert_array_equal(weight.read(), BIAS)


def test_progress_counts_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", KERNEL, BIAS)
    counted: list[int] = []
    with open_arrays(tmp_path / "a.npz", progress=counted.append) as contents:
        assert not counted
        for weight in contents.layers[0].weights:
            weight.read()
    assert sum(counted) == KERNEL.nbytes + BIAS.nbytes


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_reading_after_the_file_is_closed(name, tmp_path):
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, KERNEL)
    with open_arrays(tmp_path / name) as contents:
        pass
    with pytest.raises(FileError, match=name):
        contents.layers[0].weights[0].read()


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


# Arrays in memory


def test_arrays_in_a_list():
    contents = array_contents([KERNEL, torch.from_numpy(BIAS), BFLOAT16, KERNEL[..., ::-1]])
    (layer,) = contents.layers
    assert (layer.path, layer.name, contents.named_by_caller) == ("", None, True)
    assert [(w.path, w.name, w.shape, w.dtype) for w in layer.weights] == [
        ("0", None, (1, 2, 3, 4), "float32"),
        ("1", None, (4,), "float32"),
        ("2", None, (3,), "bfloat16"),
        ("3", None, (1, 2, 3, 4), "float32"),
    ]
    read = [weight.read() for weight in layer.weights]
    np.testing.assert_array_equal(read[3], KERNEL[..., ::-1])
    assert torch.equal(read[2], BFLOAT16)
    read[0].zero_()
    assert KERNEL.any()


def test_arrays_in_a_dict():
    contents = array_contents({"a/kernel": KERNEL, "b": [BIAS], "a/bias": BIAS}, "these")
    assert contents.source == "these"
    assert [(v.path, v.name, len(v.weights)) for v in contents.layers] == [
        ("a", "a", 2),
        ("b", "b", 1),
    ]


@pytest.mark.parametrize(
    "value, said",
    [
        (7, "`source` must be a path, a layer or a model of Keras, or arrays in a list or a dict"),
        (KERNEL, "`source` must be a path"),
        ([KERNEL, [1.0, 2.0]], "`1` must be an array of real numbers"),
        ([np.array(["a"])], "`0` must be an array of real numbers"),
        ([np.array([1j])], "`0` must be an array of real numbers"),
        ({"a": {"b": None}}, "`a/b` must be an array of real numbers"),
        ({3: KERNEL}, "`source` must be a dict by strings"),
    ],
)
def test_what_is_no_arrays(value, said):
    with pytest.raises(TypeError) as error:
        live_contents(value)
    assert said in str(error.value)


def test_only_layers_of_keras_are_live():
    assert not is_live(Conv2D(2, 3))
    assert not is_live(torch.nn.Conv2d(1, 1, 1))
    assert not is_live([KERNEL])
    assert not is_live(None)


class Variable:
    """A variable as TensorFlow has it."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.dtype, self.shape, self.array = name, array.dtype, array.shape, array

    def value(self):
        raise NotImplementedError

    def numpy(self) -> np.ndarray:
        return self.array


def keras_2() -> type:
    """A layer's class as Keras 2 has it."""

    class Layer:
        built = True

        def __init__(self, name: str, weights=(), inner=()) -> None:
            self.name, self.inner = name, list(inner)
            self.weights = [*weights, *(w for layer in inner for w in layer.weights)]

        def _flatten_layers(self, recursive: bool = True, include_self: bool = True):
            assert not recursive
            assert not include_self
            yield from self.inner

    Layer.__module__ = "tf_keras.src.engine.base_layer"
    return Layer


def test_a_layer_of_keras_2():
    layer = keras_2()
    weights = [Variable("td/inner/kernel:0", KERNEL), Variable("td/inner/bias:0", BIAS)]
    contents = live_contents(layer("td", inner=[layer("inner", weights)]))
    assert contents.format == "tf_keras object in memory"
    (inner,) = contents.layers
    assert (inner.path, inner.name) == ("inner", "inner")
    assert [(w.path, w.name) for w in inner.weights] == [
        ("inner/kernel", "kernel"),
        ("inner/bias", "bias"),
    ]
    np.testing.assert_array_equal(inner.weights[0].read(), KERNEL)
