"""SavedModels of many layers that share one object, or one array."""

from __future__ import annotations

from typing import Any

import numpy as np

from compat.security.hostile.parts import Place, keras2_layer
from tests.formats.tensorflow_files.bundle import write_files
from tests.formats.tensorflow_files.object_graph import Variable
from tests.formats.tensorflow_files.saved_model import build_saved_model


def _many_layers(count: int = 1000) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a model of many layers with the same weights, and the weights."""
    size = 256
    names = [f"d{number}" for number in range(count)]
    layers = [keras2_layer("Dense", name=name, units=size, use_bias=False) for name in names]
    first = keras2_layer("InputLayer", batch_input_shape=[None, size], name="input")
    config = keras2_layer("Sequential", name="sequential", layers=[first, *layers])
    kernel = np.zeros((size, size), "float32")
    return config, {name: {"kernel": kernel} for name in names}


def write_shared(place: Place) -> None:
    """Write a model whose layers are all the same object."""
    config, arrays = _many_layers()
    layer = {"kernel": Variable("d/kernel", arrays["d0"]["kernel"])}
    root = {f"layer-{number}": layer for number in range(len(arrays))}
    write_files(place.path, build_saved_model(config, {}, root=root).files())


def write_shared_array(place: Place) -> None:
    """Write a model whose layers' weights are all the same array."""
    config, arrays = _many_layers()
    found = build_saved_model(config, {name: {"kernel": np.zeros(1)} for name in arrays})
    variables = [node for node in found.nodes if node.attributes]
    key = variables[0].attributes[0][2]
    found.arrays = {key: arrays["d0"]["kernel"]}
    for node in variables:
        node.attributes = [(*node.attributes[0][:2], key)]
    write_files(place.path, found.files())
