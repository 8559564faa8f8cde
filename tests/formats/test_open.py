"""What is read of files of every layout."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest
import torch

from kerastorch.saving.formats.open import open_weight_file
from tests.formats.keras_files import (
    BIAS,
    CONFIG,
    KERNEL,
    archive,
    directory,
    found,
    legacy,
    shards,
    tree,
)


@pytest.mark.parametrize("make", [tree, archive, directory])
def test_a_tree_is_read(make, tmp_path):
    contents, weights = found(make(tmp_path / "x"))
    assert contents.layout == "classes"
    assert [(layer.path, layer.name) for layer in contents.layers] == [
        ("layers/conv2d", "c"),
        ("layers/flatten", None),
        ("", "m"),
    ]
    assert list(weights) == ["layers/conv2d/vars/0", "layers/conv2d/vars/1"]
    assert torch.equal(weights["layers/conv2d/vars/0"], torch.tensor(KERNEL))
    assert contents.ignored == ("optimizer",)
    bundled = make is not tree
    assert contents.version == ("3.9" if bundled else None)
    assert contents.config == (CONFIG if bundled else None)


@pytest.mark.parametrize("whole", [True, False])
def test_a_legacy_file_is_read(whole, tmp_path):
    contents, weights = found(legacy(tmp_path / "x", whole=whole))
    assert (contents.version, contents.backend) == ("2.9", "theano")
    assert contents.layout == "layers"
    assert contents.config == (CONFIG if whole else None)
    assert [(layer.path, len(layer.weights)) for layer in contents.layers] == [
        ("c", 2),
        ("flatten", 0),
    ]
    assert [w.name for w in contents.layers[0].weights] == ["kernel", "bias"]
    assert torch.equal(weights["c/kernel:0"], torch.tensor(KERNEL))
    assert contents.ignored == (("optimizer_weights",) if whole else ())


def test_slashes_in_layer_names_are_groups(tmp_path):
    contents, _ = found(legacy(tmp_path / "x", names=("block/conv", "block/bn"), suffix=""))
    assert [layer.name for layer in contents.layers] == ["block/conv", "block/bn"]
    assert contents.layers[0].weights[0].name == "kernel"


def test_split_names_are_joined(tmp_path):
    path = legacy(tmp_path / "x", whole=False)
    with h5py.File(path, "r+") as file:
        del file.attrs["layer_names"]
        file.attrs.update(
            {"layer_names0": np.array([b"c"]), "layer_names1": np.array([b"flatten"])}
        )
    assert [layer.name for layer in found(path)[0].layers] == ["c", "flatten"]


def test_a_model_of_its_own_weights_is_read(tmp_path):
    path = legacy(tmp_path / "x")
    with h5py.File(path, "r+") as file:
        own = file.create_group("model_weights/top_level_model_weights")
        own.attrs["weight_names"] = ["w:0"]
        own["w:0"] = BIAS
        file["model_weights/c/stray"] = BIAS
    contents, weights = found(path)
    assert contents.layers[-1].path == "top_level_model_weights"
    assert torch.equal(weights["w:0"], torch.tensor(BIAS))
    assert contents.ignored == ("model_weights/c/stray", "optimizer_weights")


def test_counted_layers_are_read(tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file.attrs["nb_layers"] = 2
        file.create_group("layer_0").attrs["nb_params"] = 0
        group = file.create_group("layer_1")
        group.attrs["nb_params"] = 2
        group["param_0"], group["param_1"] = KERNEL, BIAS
    contents, weights = found(tmp_path / "x")
    assert [(layer.path, layer.name) for layer in contents.layers] == [
        ("layer_0", None),
        ("layer_1", None),
    ]
    assert list(weights) == ["param_0", "param_1"]


@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize("layers", ["layers", "_layer_checkpoint_dependencies"])
def test_older_names_of_groups_mean_the_same(layers, separator, tmp_path):
    path = f"{layers}{separator}functional/{layers}{separator}conv2d_2/vars/0"
    contents, weights = found(tree(tmp_path / "x", {path: KERNEL}))
    assert list(weights) == ["layers/functional/layers/conv2d_2/vars/0"]
    assert contents.format.endswith("2.14") == (layers != "layers")


def test_weights_are_in_numeric_order(tmp_path):
    keys = [*range(12), "z"]
    _, weights = found(tree(tmp_path / "x", {f"layers/a/vars/{key}": BIAS for key in keys}))
    assert list(weights) == [f"layers/a/vars/{key}" for key in keys]


@pytest.mark.parametrize("where", ["index", "directory"])
def test_shards_are_read(where, tmp_path):
    index = shards(tmp_path / "s.weights.json")
    contents, weights = found(index if where == "index" else tmp_path)
    assert list(weights) == ["layers/conv2d/vars/0", "layers/conv2d/vars/1", "layers/d/vars/0"]
    assert contents.layers[0].name == "c"


def test_a_config_alone_is_read(tmp_path):
    (tmp_path / "x").write_text(json.dumps({**CONFIG, "keras_version": "2.4", "x": float("nan")}))
    contents, weights = found(tmp_path / "x")
    assert contents.config["class_name"] == "Sequential"
    assert (contents.version, contents.layers, weights) == ("2.4", (), {})


def test_arrays_are_read(tmp_path):
    np.savez(tmp_path / "x.npz", KERNEL, BIAS)
    assert found(tmp_path / "x.npz")[0].named_by_caller
    np.save(tmp_path / "y.npy", BIAS)
    assert torch.equal(*found(tmp_path / "y.npy")[1].values(), torch.tensor(BIAS))


def test_progress_and_path_types(tmp_path):
    told: list[int] = []
    path = archive(tmp_path / "x")
    for source in (path, str(path), os.fsencode(path)):
        found(source, progress=told.append)
    assert sum(told) == 3 * (KERNEL.nbytes + BIAS.nbytes)


def test_shape_and_type_are_known_before_reading(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("kerastorch.saving.formats.byte_range.ByteRange.read_into", refuse)
    with open_weight_file(tree(tmp_path / "x")) as contents:
        weights = contents.layers[0].weights
        assert [(w.shape, w.dtype, w.name) for w in weights] == [
            ((1, 2, 3, 4), "float32", None),
            ((4,), "float32", None),
        ]


def test_an_object_is_no_path():
    contents, weights = found([KERNEL, BIAS])
    assert len(weights) == 2 and contents.named_by_caller
