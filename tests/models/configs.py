"""Configs of models as Keras writes them, by hand, for the tests."""

from __future__ import annotations

from typing import Any

from kerastorch.models.functional import Model
from kerastorch.saving.weights.module_weights import list_unbuilt_layers

Config = dict[str, Any]


def layer(class_name: str, name: str, nodes: Any = None, **config: Any) -> Config:
    """Return an entry of a model's layers."""
    entry = {"class_name": class_name, "config": {"name": name, **config}}
    return entry if nodes is None else {**entry, "name": name, "inbound_nodes": nodes}


def dense(name: str, nodes: Any = None, units: int = 3, **config: Any) -> Config:
    return layer("Dense", name, nodes, units=units, trainable=True, dtype="float32", **config)


def input_layer(name: str, shape: Any = (None, 4), **config: Any) -> Config:
    return layer("InputLayer", name, [], batch_shape=list(shape), dtype="float32", **config)


def tensor(name: str, call: int = 0, index: int = 0, shape: Any = None) -> Config:
    """Return a tensor as Keras 3 writes it."""
    config: Config = {"dtype": "float32", "keras_history": [name, call, index]}
    return {"class_name": "__keras_tensor__", "config": {**config, "shape": shape}}


def node(*args: Any, **kwargs: Any) -> Config:
    """Return a call as Keras 3 writes it."""
    return {"args": list(args), "kwargs": kwargs}


def sequential(*layers: Config, name: str = "model", **config: Any) -> Config:
    content = {"name": name, "trainable": True, "dtype": "float32", "layers": list(layers)}
    return {"class_name": "Sequential", "config": {**content, **config}}


def functional(
    *layers: Config, inputs: Any, outputs: Any, name: str = "model", **config: Any
) -> Config:
    content = {"name": name, "trainable": True, "layers": list(layers)}
    ends = {"input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": {**content, **ends, **config}}


def inside(model: Config, nodes: Any) -> Config:
    """Return a model as an entry of another one's layers."""
    return {**model, "name": model["config"]["name"], "inbound_nodes": nodes}


def chain(*layers: Config) -> Config:
    """Return a Functional model of Keras 3 that calls layers one after the other on one input."""
    names = ["x", *(entry["config"]["name"] for entry in layers)]
    called = [
        {**entry, "name": name, "inbound_nodes": [node(tensor(before))]}
        for entry, name, before in zip(layers, names[1:], names, strict=False)
    ]
    return functional(input_layer("x"), *called, inputs=["x", 0, 0], outputs=[[names[-1], 0, 0]])


def build_all(model: Model) -> None:
    """Build all layers of a model whose input shapes are known."""
    for path, layer, shape in list_unbuilt_layers(model):
        assert shape is not None, path
        layer.build(shape)
