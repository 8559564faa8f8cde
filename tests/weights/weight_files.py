"""Files of weights, with and without their config."""

from __future__ import annotations

import json

import h5py
import numpy as np

RANDOM = np.random.default_rng(0)


def array(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def stored(value):
    return np.asarray(value.detach())


def sequential(*layers, name="model"):
    listed = [{"class_name": kind, "config": config} for kind, config in layers]
    return {"class_name": "Sequential", "config": {"name": name, "layers": listed}}


def image(*shape):
    return ("InputLayer", {"batch_shape": [None, *shape], "name": "image"})


def conv(filters, size, **config):
    return ("Conv2D", {"filters": filters, "kernel_size": size, **config})


TWO = sequential(image(5, 4, 3), conv(2, [2, 3], name="c"), ("Dense", {"units": 4, "name": "d"}))


def json_file(folder, config):
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def tree_file(folder, groups):
    """A weights file of Keras 3: a group's path -> its arrays."""
    path = folder / "m.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for group, arrays in groups.items():
            inside = file.create_group(f"{group}/vars")
            for index, value in enumerate(arrays):
                inside[str(index)] = value
    return path


def old_file(folder, layers, config=None, **attributes):
    """A file of an old Keras: a layer -> a dict of its arrays by their names."""
    path = folder / "m.h5"
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(layers)
        group.attrs.update(attributes)
        for layer, arrays in layers.items():
            inside = group.create_group(layer)
            inside.attrs["weight_names"] = list(arrays)
            for name, value in arrays.items():
                inside[name] = value
    return path


def weights_of_two():
    return {"layers/conv2d": [array(2, 3, 3, 2), array(2)], "layers/dense": [array(2, 4), array(4)]}


def nested(**inner):
    layers = (conv(2, 1, name="a", **inner), ("BatchNormalization", {"name": "n"}))
    model = sequential(image(5, 4, 3), *layers, name="inner")
    return sequential(image(5, 4, 3), (model["class_name"], model["config"]), name="outer")


def changed(groups, **changes):
    found = {**groups, **{f"layers/{name}": value for name, value in changes.items()}}
    return {group: arrays for group, arrays in found.items() if arrays is not None}
