"""Sources of weights, and modules to load them into."""

from __future__ import annotations

import numpy as np
import torch

from kerastorch.saving.formats.weight_file import SavedLayer, Weight, WeightFile

RANDOM = np.random.default_rng(0)


def array(*shape, dtype="float32"):
    return RANDOM.normal(size=shape).astype(dtype)


ARRAYS = {"layout": "paths", "named_by_caller": True}


def weight(path, value, name=None):
    tensor = torch.from_numpy(np.array(value))
    kind = str(tensor.dtype).removeprefix("torch.")
    return Weight(path, name, tuple(tensor.shape), kind, tensor.clone)


def contents(*layers, layout="classes", **others):
    return WeightFile("file", "a format", layers, layout=layout, **others)


def tree(**groups):
    """Contents of a tree: path with "__" for "/" -> its arrays, or its name and its arrays."""
    layers = []
    for key, value in groups.items():
        path = key.replace("__", "/")
        name, values = value if isinstance(value, tuple) else (None, value)
        weights = tuple(weight(f"{path}/vars/{i}", v) for i, v in enumerate(values))
        layers.append(SavedLayer(path, name, weights))
    return contents(*layers)


def legacy(**groups):
    """Contents of an old file: layer -> a dict of its arrays by their names."""
    layers = (
        SavedLayer(layer, layer, tuple(weight(n, v, n.split("/")[-1]) for n, v in named.items()))
        for layer, named in groups.items()
    )
    return contents(*layers, layout="layers", version="2.15.0", backend="tensorflow")


def conv(*shape):
    return [array(*shape), array(shape[-1])]


def stored(value):
    return np.asarray(value.detach())


def sources(report):
    return {entry.target: entry.source for entry in report.loaded}
