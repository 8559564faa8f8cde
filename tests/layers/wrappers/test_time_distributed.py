"""TimeDistributed: its rows for the tests of every layer, and what is special about it."""

from __future__ import annotations

from kerastorch.layers import (
    LSTM,
    BatchNormalization,
    Conv2D,
    Dense,
    TimeDistributed,
)

from ..case import cases
from .rows import INNER

CONSTANT = frozenset(  # its initial values are no random numbers
    {
        "test_functional_call",
        "test_reset_parameters_draws_in_place",
        "test_two_layers_start_with_values_of_their_own",
        "test_weights_round_trip",
    }
)

CASES = [
    *cases(
        TimeDistributed,
        {"layer": Dense(3, activation="relu", kernel_regularizer="l2", name="inner")},
        shape=(2, 5, 4),
        other=[(3, 6, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=[("layer", 3, ValueError), ("layer", None, ValueError)],
        integers="converted",
        policies_agree=False,
        exempt=INNER,
    ),
    *cases(
        TimeDistributed,
        {"layer": Conv2D(3, 2, activity_regularizer="l2", name="inner")},
        shape=(2, 5, 4, 3, 2),
        other=[(3, 6, 4, 3, 2)],
        refused=[(2, 5, 4, 3, 1), (2, 0, 4, 3, 2)],
        refused_arguments=[("layer", 3, ValueError)],
        integers_agree=False,  # Keras leaves them to torch
        policies_agree=False,
        exempt=INNER,
    ),
    *cases(
        TimeDistributed,
        {"layer": BatchNormalization(name="inner")},
        shape=(6, 5, 4),
        other=[(7, 6, 4)],
        refused=[(2, 5, 3), (2, 0, 4)],
        refused_arguments=[("layer", 3, ValueError)],
        policies_agree=False,
        exempt=INNER | CONSTANT,
        thorough=True,
    ),
    *cases(
        TimeDistributed,
        {"layer": LSTM(3, name="inner")},
        {"layer": TimeDistributed(Dense(3, activity_regularizer="l1", name="i"), name="inner")},
        shape=(2, 5, 4, 3),
        refused=[(2, 5, 4, 2), (2, 5)],
        refused_arguments=[("layer", 3, ValueError)],
        policies_agree=False,
        exempt=INNER | {"test_state"},  # with the second bias of torch.nn
    ),
]
