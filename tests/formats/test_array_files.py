"""Files of arrays and arrays in memory: what is read of them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_weight_file
from tests.formats.arrays import ARRAYS, BFLOAT16, BIAS, KERNEL, npy, npy_of, npz, plain, values


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
    with open_weight_file(tmp_path / "a.npz") as contents:
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
    with open_weight_file(tmp_path / "a.npy") as contents:
        weight = contents.layers[0].weights[0]
        weight.read().zero_()
        np.testing.assert_array_equal(weight.read(), BIAS)


def test_progress_counts_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", KERNEL, BIAS)
    counted: list[int] = []
    with open_weight_file(tmp_path / "a.npz", progress=counted.append) as contents:
        assert not counted
        for weight in contents.layers[0].weights:
            weight.read()
    assert sum(counted) == KERNEL.nbytes + BIAS.nbytes


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_reading_after_the_file_is_closed(name, tmp_path):
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, KERNEL)
    with open_weight_file(tmp_path / name) as contents:
        pass
    with pytest.raises(FileError, match=name):
        contents.layers[0].weights[0].read()
