"""Models of the tests of what is made from configs."""

from __future__ import annotations

import torch

from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import (
    build_all,
    dense,
    functional,
    input_layer,
    inside,
    layer,
    node,
    tensor,
)


def built(config, **kwargs):
    model = build_model(parse_model_config(config, "config.json", "3.15.1"), **kwargs)
    build_all(model)
    return model


def operation(class_name, name, nodes, **config):
    return {**layer(class_name, name, nodes, **config), "module": "keras.src.ops.numpy"}


def add(name, *sources):
    return layer("Add", name, [node([tensor(one) for one in sources])], trainable=True)


def two_inputs(inputs, outputs=("sum", 0, 0)):
    return functional(
        input_layer("a"),
        input_layer("b"),
        dense("double", [node(tensor("b"))], units=4, kernel_initializer="ones"),
        add("sum", "a", "double"),
        inputs=inputs,
        outputs=list(outputs),
    )


def shared(activity="l2"):
    """Return a model that calls a layer twice, once of it in a nested model."""
    inner = functional(
        input_layer("in"),
        dense("d", [node(tensor("in")), node(tensor("d"))], 4, activity_regularizer=activity),
        inputs=["in", 0, 0],
        outputs=["d", 1, 0],
        name="inner",
    )
    return functional(
        input_layer("x"),
        inside(inner, [node(tensor("x")), node(tensor("inner", 0))]),
        inputs=["x", 0, 0],
        outputs=["inner", 2, 0],
    )


ARRAYS = {"a": torch.arange(8.0).reshape(2, 4), "b": torch.ones(2, 4)}
EXPECTED = ARRAYS["a"] + 4.0


def with_mode(training, *, twice=None):
    nodes = [[["x", 0, 0, {"training": training}]]]
    nodes += [] if twice is None else [[["x", 0, 0, {"training": twice}]]]
    inner = {"class_name": "Sequential", "config": {
        "name": "inner", "layers": [input_layer("in"), layer("Dropout", "d", rate=0.5)],
    }}  # fmt: skip
    return functional(
        input_layer("x"),
        inside(inner, nodes),
        layer("Flatten", "f", [[["x", 0, 0, {}]]]),
        inputs=[["x", 0, 0]],
        outputs=[["inner", 1 + n, 0] for n in range(len(nodes))] + [["f", 0, 0]],
    )


def wrong(*layers, outputs):
    return functional(input_layer("x"), *layers, inputs=["x", 0, 0], outputs=outputs)
