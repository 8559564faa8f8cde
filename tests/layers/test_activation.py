"""Activation layers."""

from __future__ import annotations

import numpy as np
import pytest

from kerastorch.activations.serialization import ACTIVATIONS
from kerastorch.layers import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from tests.layers.case import NoModule, cases

MATRIX = {"shape": (3, 4), "other": [(2, 4), (5, 4)]}
NAMES = sorted(set(ACTIVATIONS.table) - {"threshold", "glu", "hard_sigmoid_keras2"})
NO_MODULE = ("exponential", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus")
# An unbuilt PReLU takes slopes of any rank.
ANY_RANK = frozenset({"test_a_wrong_shaped_state_dict_is_an_error_and_changes_no_shape"})
CASES = [
    *cases(
        Activation,
        *((NoModule if name in NO_MODULE else dict)(activation=name) for name in NAMES),
        {"activation": None},
        {"activation": "tanh", "activity_regularizer": "l1"},
        shape=(3, 6, 2),
        other=[(5, 4, 2)],
        refused_arguments=[("activation", "foo", ValueError)],
        integers_agree=False,
    ),
    *cases(
        ReLU,
        NoModule({"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}),
        {},
        {"max_value": 6},
        NoModule({"max_value": 0}),
        {"max_value": float("inf")},
        {"negative_slope": 0.3},
        {"threshold": 0.4},
        NoModule({"max_value": 6.0, "negative_slope": 0.2}),
        NoModule({"negative_slope": 2, "threshold": 1}),
        shape=(3, 4, 2),
        other=[(2, 5, 2)],
        refused_arguments=[
            ("max_value", -1, ValueError),
            ("max_value", "1", TypeError),
            ("negative_slope", -0.1, ValueError),
            ("negative_slope", None, ValueError),
            ("threshold", -3, ValueError),
            ("threshold", None, ValueError),
        ],
        integers_agree=False,
    ),
    *cases(
        LeakyReLU,
        {},
        {"negative_slope": 0},
        {"negative_slope": 1.5},
        **MATRIX,
        refused_arguments=[
            ("negative_slope", -1, ValueError),
            ("negative_slope", None, ValueError),
            ("negative_slope", "1", TypeError),
        ],
        integers_agree=False,
    ),
    *cases(
        ELU,
        {},
        {"alpha": 0.5},
        {"alpha": -0.5},
        integers="converted",
        **MATRIX,
        refused_here=[("alpha", "a", ValueError)],
        integers_agree=False,
    ),
    *cases(
        Softmax,
        NoModule({"axis": (1, -1)}),
        {},
        {"axis": 1},
        NoModule({"axis": [-1, 1]}),
        NoModule({"axis": (2,)}),
        {"axis": 0},
        integers="converted",
        shape=(3, 4, 5),
        other=[(2, 6, 5)],
        refused_arguments=[
            *[("axis", 3, IndexError), ("axis", (1, 3), IndexError)],
            *[("axis", (1, 1), RuntimeError), ("axis", (0, -3), RuntimeError)],
        ],
        integers_agree=False,
    ),
    *cases(
        PReLU,
        {"alpha_initializer": "random_normal"},
        {"alpha_constraint": "non_neg", "alpha_initializer": "ones"},
        {"shared_axes": []},
        integers="converted",
        **MATRIX,
        refused=[(3, 5), (3, 4, 2)],
        refused_arguments=[("shared_axes", [2], IndexError), ("colour", 3, ValueError)],
        integers_agree=False,
        exempt=ANY_RANK,
    ),
    *cases(
        PReLU,
        {"alpha_initializer": "random_normal", "shared_axes": [1, 2]},
        {
            "alpha_initializer": "random_normal",
            "shared_axes": (1, 2),
            "alpha_regularizer": "l2",
            "activity_regularizer": "l1",
        },
        integers="converted",
        shape=(3, 4, 5, 2),
        other=[(2, 6, 7, 2)],
        refused=[(3, 4, 5, 3), (3, 4, 2)],
        refused_arguments=[("shared_axes", [4], IndexError)],
        integers_agree=False,
        thorough=True,
        exempt=ANY_RANK,
    ),
    *cases(
        PReLU,
        {"shared_axes": 1},
        {"shared_axes": 2, "alpha_initializer": "ones"},
        integers="converted",
        shape=(3, 4, 5),
        refused=[(3, 6, 4)],
        refused_arguments=[("shared_axes", 3, IndexError)],
        integers_agree=False,
    ),
]


def test_configs_of_keras_2():
    config = {"name": "a", "dtype": "float32", "alpha": np.array(0.3, "float32")}
    assert LeakyReLU.from_config(config).negative_slope == pytest.approx(0.3)
