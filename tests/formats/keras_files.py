"""Small files of every layout that Keras writes, for tests."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from kerastorch.saving.formats.open import open_weight_file

KERNEL, BIAS = np.arange(24, dtype="f4").reshape(1, 2, 3, 4), np.array([5, 6, 7, 8], "f4")
CONFIG = {"class_name": "Sequential", "config": {"name": "m", "layers": []}}
TREE = {"layers/conv2d/vars/0": KERNEL, "layers/conv2d/vars/1": BIAS, "optimizer/vars/0": BIAS}


def tree(path: Path, arrays=TREE) -> Path:
    """Write a file as Keras 3 does."""
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "m"
        for inside, array in arrays.items():
            file[inside] = array
            if "/activation/activation/" in inside:  # Keras makes a group for each layer
                file.require_group(f"{inside.partition('/activation/')[0]}/activation/vars")
        if "layers/conv2d/vars/0" in arrays:
            file["layers/conv2d/vars"].attrs["name"] = "c"
            file.create_group("layers/flatten/vars")
    return path


def legacy(path: Path, *, whole=True, names=("c", "flatten"), suffix=":0") -> Path:
    """Write a file as Keras 2 does."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": "2.9", "backend": b"theano"})
        if whole:
            file.attrs["model_config"] = json.dumps(CONFIG)
            file["optimizer_weights/x"] = BIAS
        group = file.create_group("model_weights") if whole else file
        group.attrs["layer_names"] = list(names)
        for name in names:
            layer = group.create_group(name)
            layer.attrs["weight_names"] = []
            if name != "flatten":
                layer.attrs["weight_names"] = [f"{name}/{n}{suffix}" for n in ("kernel", "bias")]
                layer[f"{name}/kernel{suffix}"] = KERNEL
                layer[f"{name}/bias{suffix}"] = BIAS
    return path


def members(folder: Path, **changed) -> dict[str, bytes]:
    found = {
        "metadata.json": b'{"keras_version": "3.9"}',
        "config.json": json.dumps(CONFIG).encode(),
        "model.weights.h5": tree(folder / "inner").read_bytes(),
    }
    return {name: data for name, data in {**found, **changed}.items() if data is not None}


def archive(path: Path, **changed) -> Path:
    inside = members(path.parent, **changed)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in inside.items():
            file.writestr(name, data)
    return path


def directory(path: Path, **changed) -> Path:
    inside = members(path.parent, **changed)
    path.mkdir()
    for name, data in inside.items():
        (path / name).write_bytes(data)
    return path


def shards(path: Path, **changed) -> Path:
    tree(path.parent / "s_0.weights.h5", {"layers/conv2d/vars/0": KERNEL})
    tree(path.parent / "s_1.weights.h5", {"layers/conv2d/vars/1": BIAS, "layers/d/vars/0": BIAS})
    index = {
        "/layers/conv2d/vars": ["s_0.weights.h5", "s_1.weights.h5"],
        "/layers/d/vars": "s_1.weights.h5",
    }
    path.write_text(json.dumps({"metadata": {}, "weight_map": {**index, **changed}}))
    return path


def found(source, **options):
    with open_weight_file(source, **options) as contents:
        return contents, {w.path: w.read() for layer in contents.layers for w in layer.weights}


def model_h5(path: Path, config, layers) -> Path:
    """Write a whole model as Keras 2 does; `layers`: layer name -> weight name -> array."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": "2.2.4", "backend": "tensorflow"})
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(layers)
        for name, arrays in layers.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/{weight}:0" for weight in arrays]
            for weight, array in arrays.items():
                layer[f"{name}/{weight}:0"] = array
    return path


def model_archive(path: Path, config, arrays, version="3.15.1") -> Path:
    """Write a whole model as Keras 3 does; `arrays`: path in the tree -> array."""
    weights = tree(path.with_suffix(".weights.h5"), arrays)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": version}))
        file.writestr("config.json", json.dumps(config))
        file.write(weights, "model.weights.h5")
    return path
