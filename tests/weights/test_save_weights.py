"""save_weights: the tree that is written, what is refused, and what is left behind."""

from __future__ import annotations

import re
import warnings

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras


def tree(path):
    """Each array's path -> its shape and type; each named group's path -> its name."""
    found = {}

    def note(name, member):
        if isinstance(member, h5py.Dataset):
            found[name] = (member.shape, str(member.dtype), dict(member.attrs))
        elif "name" in member.attrs:
            found[name] = member.attrs["name"]

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def test_layers_are_numbered_by_class_in_their_order(tmp_path):
    path = tmp_path / "m.weights.h5"
    model = nn.Sequential(
        keras.Conv2D(4, (1, 2), name="first", input_shape=(5, 5, 3)),
        keras.layers.Dropout(0.5, name="drop"),
        nn.Sequential(nn.Conv2d(4, 2, 1, bias=False), nn.ReLU()),
        keras.layers.Normalization(mean=0.0, variance=1.0, name="given"),
        keras.layers.Normalization(name="measured", input_shape=(5, 4, 2)),
        keras.Conv2D(
            3,
            1,
            activation=keras.layers.PReLU(name="slopes", input_shape=(3,)),
            name="last",
            input_shape=(5, 4, 2),
        ),
    )
    keras.save_weights(model, path)
    plain = {}
    assert tree(path) == {
        "vars": "sequential",
        "layers/conv2d/vars": "first",
        "layers/conv2d/vars/0": ((1, 2, 3, 4), "float32", plain),
        "layers/conv2d/vars/1": ((4,), "float32", plain),
        "layers/dropout/vars": "drop",
        "layers/conv2d_1/vars": "2.0",  # the path of what has no name of its own
        "layers/conv2d_1/vars/0": ((1, 1, 4, 2), "float32", plain),
        "layers/normalization/vars": "given",
        "layers/normalization_1/vars": "measured",
        "layers/normalization_1/vars/0": ((2,), "float32", plain),
        "layers/normalization_1/vars/1": ((2,), "float32", plain),
        "layers/normalization_1/vars/2": ((), "int32", plain),
        "layers/conv2d_2/vars": "last",
        "layers/conv2d_2/vars/0": ((1, 1, 2, 3), "float32", plain),
        "layers/conv2d_2/vars/1": ((3,), "float32", plain),
        "layers/conv2d_2/activation/vars": "slopes",
        "layers/conv2d_2/activation/vars/0": ((3,), "float32", plain),
    }


def test_values_are_in_keras_order_and_come_back(tmp_path):
    path = tmp_path / "m.weights.h5"
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.Linear(4, 6), nn.BatchNorm1d(6))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(1, 2)
    keras.save_weights(model, path)
    with h5py.File(path) as file:
        kernel = file["layers/conv2d/vars/0"][:]
        np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), model[0].weight.detach())
        np.testing.assert_array_equal(file["layers/dense/vars/0"][:].T, model[1].weight.detach())
        order = [file[f"layers/batch_normalization/vars/{n}"][:] for n in range(4)]
    norm = model[2]
    expected = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    for found, value in zip(order, expected, strict=True):
        np.testing.assert_array_equal(found, value.detach())
    other = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.Linear(4, 6), nn.BatchNorm1d(6))
    keras.load_weights(other, path)
    assert all(torch.equal(other.state_dict()[n], v) for n, v in model.state_dict().items())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "mixed_bfloat16"])
def test_every_type_of_numbers_comes_back(tmp_path, dtype):
    path = tmp_path / "m.weights.h5"
    layer = keras.layers.Dense(3, dtype=dtype, input_shape=(2,))
    keras.save_weights(layer, path)
    other = keras.layers.Dense(3, dtype=dtype)
    keras.load_weights(other, path)
    assert torch.equal(other.weight, layer.weight)
    raw = tree(path)["layers/dense/vars/0"]
    if dtype == "bfloat16":
        assert raw[1:] == ("|V2", {"dtype": "bfloat16"})
    else:
        assert raw[1:] == ("float32" if dtype.startswith("mixed") else dtype, {})


def test_lora_is_merged(tmp_path):
    path = tmp_path / "m.weights.h5"
    layer = keras.Conv2D(4, 1, lora_rank=2, input_shape=(3, 3, 2))
    with torch.no_grad():
        layer.lora_kernel_b.uniform_(1, 2)
    keras.save_weights(layer, path)
    assert set(tree(path)) == {
        "vars", "layers/conv2d/vars", "layers/conv2d/vars/0", "layers/conv2d/vars/1",
    }  # fmt: skip
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["layers/conv2d/vars/0"][:], layer.kernel.detach())


@pytest.mark.parametrize("make", [
    lambda: keras.layers.Dense(4, lora_rank=2, input_shape=(3,)),
    lambda: keras.layers.EinsumDense("abc,cd->abd", (None, 4), lora_rank=2, input_shape=(5, 3)),
    lambda: keras.layers.Embedding(3, 4, lora_rank=2, input_shape=(5,)),
])  # fmt: skip
def test_each_layer_says_what_it_merges(tmp_path, make):
    path, layer = tmp_path / "m.weights.h5", make()
    with torch.no_grad():
        layer._tensor(layer.weight_specs[-1].parameter).uniform_(1, 2)
    keras.save_weights(nn.Sequential(layer), path)
    expected = layer.embeddings if hasattr(layer, "embeddings") else layer.kernel
    with h5py.File(path) as file:
        (group,) = file["layers"].values()
        np.testing.assert_array_equal(group["vars/0"][:], expected.detach())
        assert len(group["vars"]) == len(layer.weights) - 2


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "weights.h5.bak", "m.WEIGHTS.H5"])
def test_the_name_must_be_one_that_keras_takes(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.weights\.h5"):
        keras.save_weights(nn.Linear(2, 2), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model, path, message",
    [
        (nn.Linear(2, 2), None, "save_weights: `path` must be a path that ends in '.weights.h5'."),
        (3, "m.weights.h5", "save_weights: `model` must be a torch.nn.Module."),
    ],
)
def test_what_is_no_model_or_no_path(model, path, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        keras.save_weights(model, path)


def test_a_directory_is_no_file(tmp_path):
    path = tmp_path / "m.weights.h5"
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=re.escape(f"{path}: is a directory")):
        keras.save_weights(nn.Linear(2, 2), path)
    assert not list(path.iterdir())


def test_the_directory_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        keras.save_weights(nn.Linear(2, 2), tmp_path / "none" / "m.weights.h5")


def test_all_that_cannot_be_written_is_listed_and_nothing_is_written(tmp_path):
    path = tmp_path / "m.weights.h5"
    path.write_bytes(b"before")
    model = nn.Sequential(
        nn.Linear(2, 2),
        nn.Bilinear(2, 2, 2),
        keras.layers.Dense(3),
        nn.PReLU(),
        nn.Linear(2, 2, device="meta"),
    )
    with pytest.raises(ValueError, match=r"Received: model='Sequential'\. Nothing was") as caught:
        keras.save_weights(model, path)
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  1: Keras has no layer with the weights of Bilinear.")
    for line, parts in zip(
        lines[2:], [("2", "built"), ("3", "PReLU"), ("4", "meta")], strict=False
    ):
        assert line.startswith(f"  {parts[0]}: ") and parts[1] in line
    assert "load_weights" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.weights.h5"]
    assert path.read_bytes() == b"before"


def test_a_failure_half_way_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "m.weights.h5"
    keras.save_weights(nn.Linear(2, 2), path)
    before = path.read_bytes()
    calls = []
    own = h5py.Group.create_dataset

    def fail(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise OSError("disk full")
        return own(self, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    with pytest.raises(OSError, match="disk full"):
        keras.save_weights(nn.Linear(2, 2), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.weights.h5"]


def test_computed_weights_are_written_as_they_are(tmp_path):
    path = tmp_path / "m.weights.h5"
    module = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with torch.no_grad():
        module.parametrizations.weight.original0.mul_(2)
    keras.save_weights(module, path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["layers/dense/vars/0"][:].T, module.weight.detach())


def test_a_module_that_is_used_twice_is_written_once(tmp_path):
    path = tmp_path / "m.weights.h5"
    shared = nn.Linear(2, 2)
    keras.save_weights(nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(2, 1)), path)
    groups = [name for name, value in tree(path).items() if isinstance(value, str)]
    assert sorted(groups) == ["layers/dense/vars", "layers/dense_1/vars", "vars"]


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(4, 4), lambda: keras.layers.Dense(4, input_shape=(4,))]
)
def test_a_module_of_ones_own_takes_back_what_was_written(tmp_path, make):
    def block():
        return nn.ModuleDict({"second": make(), "first": make()})

    model = nn.ModuleDict({"b": block(), "a": block(), "x": make()})
    keras.save_weights(model, tmp_path / "m.weights.h5")
    again = nn.ModuleDict({"x": make(), "a": block(), "b": block()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = keras.load_weights(again, tmp_path / "m.weights.h5")
    assert report.matched == "name"
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
