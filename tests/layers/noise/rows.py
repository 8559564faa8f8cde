"""The rows of the layers of noise, and of ActivityRegularization."""

from __future__ import annotations

from typing import Any

from kerastorch.layers import ActivityRegularization, AlphaDropout, GaussianDropout, GaussianNoise
from tests.layers.case import NoModule, cases

SHARED: dict[str, Any] = {"integers": "kept", "samples": True}
REFUSED_ARGUMENTS = [
    *(("rate", value, ValueError) for value in (-0.1, 1.1)),
    *(("rate", value, TypeError) for value in ("0.5", None)),
]
NOISE = [
    *cases(
        GaussianNoise,
        {"stddev": 0.5, "seed": 7},
        {"stddev": 1, "seed": -3},
        {"stddev": 0},
        shape=(5, 7, 6, 4),
        other=[(2, 5, 6, 4)],
        refused_arguments=[
            *(("stddev", value, ValueError) for value in (-0.1, 1.1)),
            *(("stddev", value, TypeError) for value in ("a", None)),
        ],
        **SHARED,
    ),
    *cases(
        GaussianDropout,
        {"rate": 0.5, "seed": 7},
        {"rate": 0.2, "seed": 2**30},
        {"rate": 0},
        shape=(5, 7, 6, 4),
        other=[(2, 5, 6, 4)],
        refused_arguments=REFUSED_ARGUMENTS,
        refused_here=[("rate", 1, ZeroDivisionError)],  # by Keras in training alone
        **SHARED,
    ),
    *cases(
        AlphaDropout,
        {"rate": 0.5, "seed": 7},
        NoModule({"rate": 0.3, "seed": 3, "noise_shape": (5, 1, None)}),
        NoModule({"rate": 0.6, "seed": 4, "noise_shape": (4,)}),
        {"rate": 0},
        shape=(5, 6, 4),
        other=[(5, 7, 4)],
        refused_arguments=REFUSED_ARGUMENTS,
        refused_here=[
            ("rate", 1, ZeroDivisionError),  # by Keras in training alone
            *(("noise_shape", n, ValueError) for n in ("ab", 3, (1, 0), (1.5,))),
        ],
        **SHARED,
    ),
    *cases(
        AlphaDropout,
        {"rate": 0.4, "seed": 5},
        shape=(5, 7, 6, 4),
        refused_arguments=REFUSED_ARGUMENTS,
        **SHARED,
    ),
    *cases(
        ActivityRegularization,
        {"l1": 0.1, "l2": 0.2},
        {"l2": 0.5},
        {},
        integers_agree=False,  # torch adds no booleans
        shape=(5, 7, 6, 4),
        refused_arguments=[
            *((name, value, ValueError) for name in ("l1", "l2") for value in (-1, "a")),
            ("activity_regularizer", "l2", TypeError),
        ],
        exempt=frozenset(  # it has a regularizer of its own, which no config has
            {"test_config_lists_every_argument_but_where_and_how_it_runs", "test_copies"}
        ),
    ),
]
