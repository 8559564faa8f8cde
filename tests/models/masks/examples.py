"""Configs of models with masks, as Keras 3 and Keras 2 write them."""

from __future__ import annotations

from typing import Any

import torch

from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.building.examples import operation
from tests.models.configs import (
    build_all,
    dense,
    functional,
    input_layer,
    layer,
    node,
    sequential,
    tensor,
)

STEPS = 5
IDS = torch.tensor([[3, 1, 4, 0, 0], [0, 0, 2, 5, 1], [4, 0, 2, 0, 3], [0, 0, 0, 0, 0]])
OTHERS = torch.tensor([[0, 1, 2, 3, 4], [2, 2, 0, 0, 0], [1, 5, 0, 2, 0], [5, 4, 3, 2, 1]])
MASK = IDS != 0


def built(config: Any, **kwargs: Any) -> Any:
    """Return the model of a config in evaluation mode, with random weights."""
    model = build_model(parse_model_config(config, "config.json", "3.15.1"), **kwargs)
    build_all(model)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.7, 0.7)
    return model.eval()


def ids(name: str = "x") -> Any:
    return input_layer(name, (None, STEPS))


def embedding(name: str = "embedding", nodes: Any = None, **config: Any) -> Any:
    given = {"input_dim": 6, "output_dim": 3, "mask_zero": True, **config}
    return layer("Embedding", name, nodes, **given)


def recurrent(class_name: str, name: str, nodes: Any = None, **config: Any) -> Any:
    return layer(class_name, name, nodes, **{"units": 4, "return_sequences": True, **config})


def called(keras_2: bool, *sources: str) -> Any:
    """Return the calls of a layer on tensors, one call each, in one of two dialects."""
    if keras_2:
        return [[[source, 0, 0, {}]] for source in sources]
    return [node(tensor(source)) for source in sources]


def text(keras_2: bool = False) -> Any:
    """Return an embedding, an LSTM, a GRU and a readout; the GRU receives the mask, too."""
    return functional(
        ids(),
        embedding(nodes=called(keras_2, "x")),
        recurrent("LSTM", "lstm", called(keras_2, "embedding")),
        recurrent("GRU", "gru", called(keras_2, "lstm")),
        dense("dense", called(keras_2, "gru"), 2),
        inputs=[["x", 0, 0]],
        outputs=[["dense", 0, 0]],
    )


def text_in_order() -> Any:
    parts = embedding(), recurrent("LSTM", "lstm"), recurrent("GRU", "gru"), dense("dense", units=2)
    return sequential(ids(), *parts)


def decoder(keras_2: bool) -> Any:
    """Return an encoder whose last states are the first ones of a decoder with a mask."""
    states = [["encoder", 0, 1, {}], ["encoder", 0, 2, {}]]
    start = [tensor("encoder", 0, 1), tensor("encoder", 0, 2)]
    old, new = [[["rows", 0, 0, {}], *states]], [node(tensor("rows"), initial_state=start)]
    return functional(
        ids("x"),
        ids("y"),
        embedding(nodes=called(keras_2, "x")),
        embedding("rows", called(keras_2, "y")),
        recurrent("LSTM", "encoder", called(keras_2, "embedding"), return_state=True),
        recurrent("LSTM", "decoder", old if keras_2 else new),
        inputs=[["x", 0, 0], ["y", 0, 0]],
        outputs=[["decoder", 0, 0]],
    )


def doubled() -> Any:
    """Return an operation between an embedding and an LSTM."""
    return functional(
        ids(),
        embedding(nodes=[node(tensor("x"))]),
        operation("Multiply", "double", [node(tensor("embedding"), 2.0)]),
        recurrent("LSTM", "lstm", [node(tensor("double"))]),
        inputs=["x", 0, 0],
        outputs=["lstm", 0, 0],
    )
