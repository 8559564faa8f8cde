"""The rows of the recurrent layers for the tests of every layer."""

from typing import Any

from kerastorch.layers import (
    GRU,
    LSTM,
    RNN,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
)

from ..case import NoModule, cases
from ..wrappers.rows import INNER

REFUSED: list[tuple[str, Any, type[Exception]]] = [
    ("units", 0, ValueError),
    ("units", -1, ValueError),
    ("activation", "no_such", ValueError),
]

# The last tensor of the state is the second bias of torch.nn, which is always 0.
SECOND_BIAS = frozenset(["test_set_weights_takes_nothing_where_one_weight_is_computed"])

# Keras on torch cannot make an orthogonal matrix in float16.
GLOROT = {"recurrent_initializer": "glorot_uniform"}
# Its automatic name would depend on the layers made before.
STACK = StackedRNNCells([LSTMCell(3, **GLOROT), SimpleRNNCell(2, **GLOROT)], name="stack")

CASES = [
    *cases(
        LSTM,
        {**GLOROT, "units": 3},
        {**GLOROT, "units": 3, "return_sequences": True, "use_bias": False},
        NoModule(
            {**GLOROT, "units": 2, "activation": "relu", "recurrent_activation": "hard_sigmoid"}
        ),
        NoModule(
            {
                **GLOROT,
                "units": 2,
                "go_backwards": True,
                "return_sequences": True,
                "bias_initializer": "uniform",
            }
        ),
        shape=(2, 5, 4),
        other=[(3, 5, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=REFUSED,
        integers="converted",
        in_double=False,
        exempt=SECOND_BIAS,
    ),
    *cases(
        GRU,
        {**GLOROT, "units": 3},
        NoModule({**GLOROT, "units": 3, "return_sequences": True, "reset_after": False}),
        NoModule(
            {**GLOROT, "units": 2, "activation": "relu", "recurrent_activation": "hard_sigmoid"}
        ),
        shape=(2, 5, 4),
        other=[(3, 5, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=REFUSED,
        integers="converted",
        in_double=False,
    ),
    *cases(
        SimpleRNN,
        {**GLOROT, "units": 3},
        {**GLOROT, "units": 3, "return_sequences": True, "activation": "relu"},
        shape=(2, 5, 4),
        other=[(3, 5, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=REFUSED,
        integers="converted",
        in_double=False,
        exempt=SECOND_BIAS,
    ),
    *cases(
        RNN,
        {"cell": GRUCell(3, **GLOROT)},
        {"cell": LSTMCell(3, **GLOROT), "return_sequences": True},
        {"cell": STACK, "go_backwards": True},
        shape=(2, 5, 4),
        other=[(3, 5, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=[("cell", 3, ValueError)],
        integers="converted",
        in_double=False,
        exempt=INNER,
    ),
]

# A cell is called with its states, so that the tests of every layer do not apply.
CELLS = [
    case
    for cell in (LSTMCell, GRUCell, SimpleRNNCell)
    for case in cases(cell, {"units": 3}, shape=(2, 4))
]
CELLS += cases(StackedRNNCells, {"cells": [LSTMCell(3), GRUCell(2)]}, shape=(2, 4))
