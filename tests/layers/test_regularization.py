"""Dropout layers."""

from __future__ import annotations

import pytest
import torch

from kerastorch.layers import Dropout, SpatialDropout2D
from tests.layers.case import cases
from tests.layers.noise.rows import NOISE

REFUSED_ARGUMENTS = [
    ("rate", -0.1, ValueError),
    ("rate", 1.1, ValueError),
    ("rate", "0.5", TypeError),
    ("rate", None, TypeError),
]
CASES = [
    *NOISE,
    *cases(
        Dropout,
        {"rate": 0.5},
        {"rate": 0.6, "seed": -3, "noise_shape": [5, 1, None]},
        {"rate": 0.6, "seed": 2**30, "noise_shape": (1, 4)},
        {"rate": 0.3, "seed": 7},
        {"rate": 1},
        integers="kept",
        shape=(5, 6, 4),
        other=[(5, 7, 4)],
        refused_arguments=[
            *REFUSED_ARGUMENTS,
            *(("noise_shape", n, ValueError) for n in ("ab", 3, (1, 0), (1, -1), (1.5,), ("a",))),
            ("seed", "a", ValueError),
        ],
        samples=True,
    ),
    *cases(
        Dropout,
        {"rate": 0.3, "seed": 7, "noise_shape": (None, 1)},
        {"rate": 0},
        integers="kept",
        shape=(30, 4),
        refused_arguments=REFUSED_ARGUMENTS,
        samples=True,
    ),
    *cases(
        SpatialDropout2D,
        {"rate": 0.4, "seed": 3},
        {"rate": 0.5, "seed": 3, "data_format": "channels_first"},
        {"rate": 0.0},
        integers="kept",
        shape=(5, 3, 4, 6),
        other=[(2, 5, 7, 6)],
        refused=[(5, 3, 4)],
        refused_arguments=[("rate", 2, ValueError), ("data_format", "x", ValueError)],
        samples=True,
        exempt=frozenset(  # Keras's config has not all of it
            {
                "test_config_lists_every_argument_but_where_and_how_it_runs",
                "test_config_keeps_what_all_layers_share",
            }
        ),
    ),
]


@pytest.mark.parametrize("seed", [None, 4])
def test_dropout_keeps_the_mean(seed):
    layer, x = Dropout(0.25, seed=seed), torch.ones(200, 100, requires_grad=True)
    outputs = layer(x)
    assert sorted(outputs.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert outputs.mean().item() == pytest.approx(1, abs=0.02)
    outputs.sum().backward()
    assert torch.equal(x.grad, outputs)
    assert not torch.equal(layer(x), outputs)
    assert layer.eval()(x) is x


def test_a_seed_decides_whatever_torch_is_at():
    x = torch.ones(20)
    first = [Dropout(0.5, seed=3)(x) for _ in range(2)]
    assert torch.equal(*first)
    torch.manual_seed(5)
    left = Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout(0.5)(x), left)


def test_configs_of_keras_2():
    config = {"name": "a", "dtype": "float32", "rate": 0.3, "noise_shape": None, "seed": None}
    assert SpatialDropout2D.from_config(config).rate == 0.3
