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

from ..case import cases

REFUSED: list[tuple[str, Any, type[Exception]]] = [
    ("units", 0, ValueError),
    ("units", -1, ValueError),
    ("activation", "no_such", ValueError),
]

# The last tensor of the state is the second bias of torch.nn, which is always 0.
SECOND_BIAS = frozenset(["test_set_weights_takes_nothing_where_one_weight_is_computed"])

CASES = [
    *cases(
        LSTM,
        {"units": 3},
        {"units": 3, "return_sequences": True, "use_bias": False},
        {"units": 2, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"units": 2, "go_backwards": True, "return_sequences": True, "bias_initializer": "uniform"},
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
        {"units": 3},
        {"units": 3, "return_sequences": True, "reset_after": False},
        {"units": 2, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
        shape=(2, 5, 4),
        other=[(3, 5, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=REFUSED,
        integers="converted",
        in_double=False,
    ),
    *cases(
        SimpleRNN,
        {"units": 3},
        {"units": 3, "return_sequences": True, "activation": "relu"},
        shape=(2, 5, 4),
        other=[(3, 5, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=REFUSED,
        integers="converted",
        in_double=False,
        exempt=SECOND_BIAS,
    ),
]

# A cell is called with its states, so that the tests of every layer do not apply.
CELLS = [
    case
    for cell in (LSTMCell, GRUCell, SimpleRNNCell)
    for case in cases(cell, {"units": 3}, shape=(2, 4))
]
CELLS += cases(RNN, {"cell": LSTMCell(3)}, shape=(2, 5, 4))
CELLS += cases(StackedRNNCells, {"cells": [LSTMCell(3), GRUCell(2)]}, shape=(2, 4))
