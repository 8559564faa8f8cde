"""Short forms of what the tests parse."""

from __future__ import annotations

from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import dense, functional, input_layer, inside, node, tensor


def parsed(config, version="3.15.1"):
    return parse_model_config(config, "config.json", version)


def old(*layers, inputs, outputs, **config):
    return functional(*layers, inputs=inputs, outputs=outputs, **config)


def names(spec):
    return [one.name for one in spec.layers]


def with_shared(*, mark=7, units=(3, 3), third=False):
    def sub(name, size, marked):
        entry = dense("both", [node(tensor("in"))], units=size)
        entry = {**entry, "shared_object_id": mark} if marked else entry
        model = functional(
            input_layer("in"), entry, inputs=["in", 0, 0], outputs=["both", 0, 0], name=name
        )
        return inside(model, [node(tensor("x"))])

    models = [sub("one", units[0], False), sub("two", units[1], mark is not None)]
    models += [sub("three", units[0], True)] if third else []
    return functional(
        input_layer("x"),
        *models,
        inputs=["x", 0, 0],
        outputs=[[model["name"], 1, 0] for model in models],
    )


def entry(number, **values):
    return lambda content: content["layers"][number].update(values)


def nodes(value):
    return entry(1, inbound_nodes=value)
