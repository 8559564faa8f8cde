"""BatchNormalization."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from kerastorch import apply_constraints
from kerastorch.layers import BatchNormalization
from tests.layers.case import NoModule, batch, cases
from tests.layers.contract import assert_lazy, assert_same_state, step

REFUSED_ARGUMENTS = [
    ("axis", [3], TypeError),
    ("axis", "a", ValueError),
    ("axis", 4, IndexError),
    ("momentum", "a", ValueError),
    ("momentum", None, TypeError),
    ("synchronized", True, ValueError),
]
RENORM = {"renorm": True, "gamma_initializer": "random_normal"}
IMAGES = {"shape": (3, 4, 5, 6), "other": [(2, 7, 8, 6)]}
CASES = [
    *cases(
        BatchNormalization,
        {"gamma_initializer": "random_normal", "beta_initializer": "random_normal"},
        {"gamma_initializer": "random_normal", "center": False},
        {"center": False, "scale": False},
        {"axis": -2, "scale": False, "momentum": 0.6},
        {"axis": 2, "center": False},
        {"epsilon": 0.1, "gamma_regularizer": "l2", "beta_regularizer": "l1"},
        {"activity_regularizer": "l1", "trainable": False},
        integers="converted",
        **{**IMAGES, "other": [(2, 4, 5, 6)]},
        refused=[(3, 4, 7, 7), (3,)],
        refused_arguments=REFUSED_ARGUMENTS,
        in_double=False,
    ),
    *cases(
        BatchNormalization,
        {"gamma_initializer": "random_normal", "axis": 1},
        integers="converted",
        shape=(3, 4, 5, 6),
        other=[(2, 4, 7, 8)],
        refused=[(3, 7, 5, 6), (3,)],
        refused_arguments=REFUSED_ARGUMENTS,
        in_double=False,
        thorough=True,
    ),
    *cases(
        BatchNormalization,
        RENORM,
        {**RENORM, "renorm_clipping": {"rmax": 1.1, "rmin": 0.9, "dmax": 0.2}},
        {**RENORM, "renorm_momentum": 0.5, "scale": False, "momentum": 0.7},
        {**RENORM, "center": False, "axis": -1},
        converts=False,
        integers="converted",
        **IMAGES,
        refused=[(3, 4, 5, 7)],
        in_double=False,
        refused_arguments=[
            ("renorm_clipping", {"a": 1}, ValueError),
            ("renorm_clipping", {"rmax": 1, "rmin": 2}, ValueError),
            ("renorm_clipping", {"dmax": -1}, ValueError),
        ],
    ),
    *cases(
        BatchNormalization,
        {},
        NoModule({"axis": 0, "epsilon": 0.1}),
        integers="converted",
        shape=(4, 3),
        other=[(4, 3)],
        refused=[(3, 4), (3,)],
        in_double=False,
        refused_arguments=[("axis", 2, IndexError)],
    ),
]


def test_a_wrong_state_dict_of_a_model_names_the_layer_and_the_weight():
    layer = BatchNormalization(input_shape=(4, 5, 6))
    good = layer.state_dict()
    for name, value in good.items():  # each has one axis: only another size than the rest's
        model = nn.Sequential(BatchNormalization())
        state = {f"0.{n}": v for n, v in good.items()} | {f"0.{name}": value.new_zeros(2)}
        with pytest.raises(RuntimeError, match=rf"\b0\.{name}\b"):
            model.load_state_dict(state)
        assert_lazy(model[0])
        model.load_state_dict({f"0.{n}": v for n, v in good.items()})
        assert_same_state(model[0].state_dict(), good)


def test_prune():
    layer = BatchNormalization(gamma_initializer="random_normal", input_shape=(4, 5, 6))
    x = batch((3, 4, 5, 6))
    prune.l1_unstructured(layer, "weight", amount=2)  # gamma's one axis is that of channels
    least = layer.weight_orig.abs().argsort()[:2]
    before = layer(x)
    assert torch.equal(before.any(0).any(0).any(0), layer.weight != 0)
    step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.01))
    assert (layer.weight == 0).nonzero().flatten().tolist() == sorted(least.tolist())


def test_moving_statistics_follow_the_biased_variance():
    layer = BatchNormalization(momentum=0.8, dtype="float64")
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(4):
        x = batch((2, 5, 4, 3), torch.float64, seed) * 3 + 1
        outputs = layer(x)
        flat = x.reshape(-1, 3).numpy()
        expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-3)
        assert_close(outputs.reshape(-1, 3), torch.from_numpy(expected))
        mean = mean * 0.8 + flat.mean(0) * 0.2
        variance = variance * 0.8 + flat.var(0) * 0.2
        assert_close(layer.running_mean, torch.from_numpy(mean))
        assert_close(layer.running_var, torch.from_numpy(variance))
    outputs = layer.eval()(x)
    assert_close(outputs, (x - layer.running_mean) / (layer.running_var + 1e-3).sqrt())


def test_a_frozen_layer_keeps_its_statistics():
    layer = BatchNormalization(trainable=False)
    layer(batch((3, 4, 6)))
    assert layer.running_mean.eq(0).all() and layer.running_var.eq(1).all()


def test_one_number_a_channel_and_none():
    layer = BatchNormalization(momentum=0.5)
    assert_close(layer(torch.tensor([[3.0, -1.0]])), torch.zeros(1, 2))
    assert layer.running_var.tolist() == [0.5, 0.5] and layer.running_mean.tolist() == [1.5, -0.5]
    layer(torch.zeros(0, 2))
    assert layer.running_mean.tolist() == [1.5, -0.5]


def test_constraints_and_losses_reach_gamma_and_beta():
    layer = BatchNormalization(
        gamma_initializer="ones",
        gamma_constraint="non_neg",
        gamma_regularizer="l2",
        beta_regularizer="l2",
        input_shape=(3,),
    )
    assert len(layer.losses) == 2
    with torch.no_grad():
        layer.weight.fill_(-1)
    apply_constraints(layer)
    assert layer.weight.tolist() == [0, 0, 0]
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert layer.count_params() == 12
