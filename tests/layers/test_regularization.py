"""Dropout layers."""

from __future__ import annotations

import pytest
import torch

from kerastorch.layers import Dropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from tests.layers.case import LayerCase, NoModule, cases
from tests.layers.noise.rows import NOISE
from tests.layers.test_pooling import FIRST, INPUTS

REFUSED_ARGUMENTS = [
    ("rate", -0.1, ValueError),
    ("rate", 1.1, ValueError),
    ("rate", "0.5", TypeError),
    ("rate", None, TypeError),
]


def _spatial(layer, arguments, inputs):
    return LayerCase(
        layer,
        arguments,
        **inputs,
        integers="kept",
        refused_arguments=[
            *REFUSED_ARGUMENTS,
            *([("data_format", "x", ValueError)] if layer.rank > 1 else ()),
        ],
        refused_here=[] if layer.rank > 1 else [("data_format", "channels_last", ValueError)],
        samples=True,
        exempt=frozenset(  # Keras's config has not all of it
            {
                "test_config_lists_every_argument_but_where_and_how_it_runs",
                "test_config_keeps_what_all_layers_share",
            }
        ),
    )


CASES = [
    *NOISE,
    *cases(
        Dropout,
        {"rate": 0.5},
        NoModule({"rate": 0.6, "seed": -3, "noise_shape": [5, 1, None]}),
        NoModule({"rate": 0.6, "seed": 2**30, "noise_shape": (1, 4)}),
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
        NoModule({"rate": 0.3, "seed": 7, "noise_shape": (None, 1)}),
        {"rate": 0},
        integers="kept",
        shape=(30, 4),
        refused_arguments=REFUSED_ARGUMENTS,
        samples=True,
    ),
    *(
        _spatial(layer, {"rate": rate, "seed": seed, **form}, INPUTS[layer.rank][bool(form)])
        for layer in (SpatialDropout1D, SpatialDropout2D, SpatialDropout3D)
        for rate, seed, form in ((0.4, 3, {}), (0.0, None, {}), (0.5, 3, FIRST))
        if not (form and layer is SpatialDropout1D)
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


@pytest.mark.parametrize("layer", [SpatialDropout1D, SpatialDropout2D, SpatialDropout3D])
def test_configs_of_keras_1_and_2(layer):
    config = {"name": "a", "dtype": "float32", "rate": 0.3, "noise_shape": None, "seed": None}
    assert layer.from_config(config).rate == 0.3
    assert layer.from_config({"name": "a", "trainable": True, "p": 0.3}).rate == 0.3
    with pytest.raises(TypeError, match="noise_shape"):
        layer.from_config({**config, "noise_shape": [1, 2]})
    if layer.rank > 1:
        made = layer.from_config({"p": 0.3, "dim_ordering": "th"})
        assert made.data_format == "channels_first"


@pytest.mark.parametrize("layer", [SpatialDropout1D, SpatialDropout2D, SpatialDropout3D])
@pytest.mark.parametrize("form", [{}, FIRST], ids=["last", "first"])
def test_complete_channels_are_dropped(layer, form):
    if form and layer is SpatialDropout1D:
        return
    x = torch.ones(4, *(3, 4, 5)[: layer.rank], 20)
    x = x.movedim(-1, 1) if form else x
    y = layer(0.5, seed=1, **form)(x)
    channels = (y.movedim(1, -1) if form else y).flatten(1, -2)
    assert torch.equal(channels, channels[:, :1].expand_as(channels))
    assert 0.3 < (y == 0).double().mean() < 0.7 and y.unique().tolist() == [0, 2]
