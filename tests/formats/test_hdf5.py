"""HDF5 files: what is read of them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from kerastorch._core.errors import FileError
from kerastorch.saving.formats.hdf5 import objects, reader
from tests.formats.hdf5_files import KERNEL, opened, root_of, tensor_of, written

TYPES = ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "|b1"]
TYPES += [f"{order}{sign}{n}" for order in "<>" for sign in "iu" for n in (1, 2, 4, 8)]
PACKED = {
    "chunks": {"chunks": (2, 2, 3, 3)},
    "gzip": {"chunks": (1, 3, 3, 4), "compression": "gzip"},
    "shuffle": {"chunks": (2, 3, 4, 5), "compression": "gzip", "shuffle": True},
    "checksum": {"chunks": (2, 2, 2, 2), "fletcher32": True},
    "all": {"chunks": (1, 1, 3, 4), "compression": 9, "shuffle": True, "fletcher32": True},
}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("code", TYPES)
def test_every_type_of_number_is_read(code, libver, tmp_path):
    value = (np.arange(-3, 9).reshape(2, 6) % 120).astype(code)
    with h5py.File(tmp_path / "x", "w", libver=libver) as file:
        file.create_dataset("a", data=value)
    found = tensor_of(tmp_path / "x")
    native = value.astype(value.dtype.newbyteorder("="))
    assert found.numpy().dtype == native.dtype
    np.testing.assert_array_equal(found.numpy(), native)


@pytest.mark.parametrize("said", [True, False])
def test_bfloat16_is_read_with_and_without_its_attribute(said, tmp_path):
    tensor = torch.tensor([[1.5, -2.0, 3e38]], dtype=torch.bfloat16)
    with h5py.File(tmp_path / "x", "w") as file:
        array = file.create_dataset("a", data=tensor.view(torch.int16).numpy().view("V2"))
        if said:
            array.attrs["dtype"] = "bfloat16"
    assert torch.equal(tensor_of(tmp_path / "x"), tensor)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 0)])
def test_arrays_of_few_numbers_are_read(shape, tmp_path):
    found = tensor_of(written(tmp_path / "x", np.full(shape, 7.5)))
    assert found.shape == shape and (found == 7.5).all()


@pytest.mark.parametrize("options", PACKED.values(), ids=PACKED)
def test_packed_arrays_are_read(options, tmp_path):
    found = tensor_of(written(tmp_path / "x", **options))
    np.testing.assert_array_equal(found.numpy(), KERNEL)


def test_an_array_in_its_header_is_read(tmp_path):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(KERNEL.shape)
    with h5py.File(tmp_path / "x", "w") as file:
        array = h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, plist)
        array.write(h5py.h5s.ALL, h5py.h5s.ALL, KERNEL)
    np.testing.assert_array_equal(tensor_of(tmp_path / "x").numpy(), KERNEL)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_attributes_of_every_kind_are_read(libver, tmp_path):
    texts = {"name": "ü" * 70_000, "backend": b"plain", "keras_version": np.bytes_("2.1")}
    lists = {"layer_names": ["a", "ö", ""], "weight_names": np.array([b"k:0", b"bias:0"])}
    with h5py.File(tmp_path / "x", "w", libver=libver) as file:
        for key, value in {**texts, **lists}.items():
            file.attrs[key] = value
        file.attrs["nb_layers"] = 3
        file.attrs["training_config"] = np.zeros(3)
        file.create_group("g").attrs["weight_names"] = []
    root = root_of(tmp_path / "x")
    assert root.attributes == {
        "name": "ü" * 70_000,
        "backend": "plain",
        "keras_version": "2.1",
        "layer_names": ("a", "ö", ""),
        "weight_names": ("k:0", "bias:0"),
        "nb_layers": 3,
    }
    assert root.members["g"].attributes == {"weight_names": ()}


def test_progress_tells_every_byte(tmp_path):
    window = opened(written(tmp_path / "x"))
    told: list[int] = []
    reader.read_tree("file", window, told.append).members["a"]()
    assert sum(told) == KERNEL.nbytes
    window.file.close()


def test_a_file_that_was_closed_is_told(tmp_path):
    array = root_of(written(tmp_path / "x")).members["a"]
    with pytest.raises(FileError, match=r"file: a: an array that cannot be read.*Open the file"):
        array()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 5000])
def test_the_checksum_is_that_of_hdf5(size, tmp_path):
    value = np.arange(size, dtype="u1") * 7 + 200
    path = written(tmp_path / "x", np.append(value, np.uint8(1)), chunks=(size + 1,), fletcher32=1)
    with h5py.File(path) as file:
        packed = file["a"].id.read_direct_chunk((0,))[1]
    assert len(packed) == size + 5
    assert objects.apply_filters(packed, (objects.FLETCHER32,), 0, size + 1, 1) == packed[:-4]


@pytest.mark.parametrize("shape", [(1000, 700), (3, 400_000), (400_000,), (5, 2)], ids=str)
def test_blocks_of_rows_make_the_array(shape, tmp_path):
    value = np.random.default_rng(0).normal(size=shape).astype("<f4")
    window = opened(written(tmp_path / "a.h5", value))
    told: list[int] = []
    with window.file:
        blocks = list(reader.read_tree("file", window, told.append).members["a"].blocks())
    assert (len(blocks) > 1) == (value.nbytes > 1 << 20)
    torch.testing.assert_close(torch.cat(blocks), torch.from_numpy(value), rtol=0, atol=0)
    assert sum(told) == value.nbytes
