"""GaussianNoise, GaussianDropout, AlphaDropout and ActivityRegularization."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from kerastorch.layers import ActivityRegularization, AlphaDropout, GaussianDropout, GaussianNoise
from tests.layers.case import batch


@pytest.mark.parametrize(
    "layer",
    [GaussianNoise(0.5), GaussianNoise(0.5, seed=2), GaussianDropout(0.2), AlphaDropout(0.2),
     AlphaDropout(0.2, seed=2)],
    ids=repr,
)  # fmt: skip
def test_noise_has_the_moments_that_are_promised(layer):
    x = torch.randn(400, 500, generator=torch.Generator().manual_seed(1))
    variance = {GaussianNoise: 1.25, GaussianDropout: 1.25, AlphaDropout: 1.0}[type(layer)]
    outputs = layer(x)
    assert outputs.mean().item() == pytest.approx(0, abs=0.02)
    assert outputs.std().item() == pytest.approx(math.sqrt(variance), abs=0.02)
    assert not torch.equal(layer(x), outputs)
    assert layer.eval()(x) is x


@pytest.mark.parametrize("cls", [GaussianNoise, GaussianDropout, AlphaDropout])
def test_a_seed_decides_whatever_torch_is_at(cls):
    x = torch.ones(20)
    assert torch.equal(*(cls(0.5, seed=3)(x) for _ in range(2)))
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(cls(0.5)(x))
    assert torch.equal(*drawn)


def test_alpha_dropout_shares_its_mask_along_a_size_of_1():
    outputs = AlphaDropout(0.5, noise_shape=(None, 1))(torch.zeros(50, 4))
    assert (outputs == outputs[:, :1]).all() and len(outputs.unique()) == 2
    assert AlphaDropout(0.5, noise_shape=[None, 1]).get_config()["noise_shape"] == [None, 1]


@pytest.mark.parametrize("cls", [GaussianNoise, GaussianDropout, AlphaDropout])
def test_a_seed_is_an_integer(cls):
    with pytest.raises(ValueError, match=f"^{cls.__name__}: `seed` must be an integer or None"):
        cls(0.5, seed="a")


def test_integers_are_cast_in_training():
    for layer in (GaussianNoise(0.5, dtype="float64"), AlphaDropout(0.5, dtype="float64")):
        assert layer(torch.arange(5)).dtype is torch.float64
        assert layer.eval()(torch.arange(5)).dtype is torch.int64


def test_configs_of_keras_1():
    assert GaussianNoise.from_config({"sigma": 0.25, "name": "a"}).stddev == 0.25
    wide = GaussianNoise.from_config({"sigma": 5.0, "name": "a"})  # refused in Keras 3
    assert wide.stddev == 5.0 and GaussianNoise.from_config(wide.get_config()).stddev == 5.0
    assert GaussianDropout.from_config({"p": 0.25, "name": "a"}).rate == 0.25
    config = {"name": "a", "trainable": True, "l1": 0.5, "l2": 0.25}
    assert ActivityRegularization.from_config(config).activity_regularizer.l2 == 0.25


def test_activity_regularization_replaces_its_loss():
    layer, x = ActivityRegularization(l1=0.5, l2=0.25), batch((4, 3))
    for inputs in (x, 2 * x):
        assert layer(inputs) is inputs
        (loss,) = layer.losses
        assert_close(loss, (0.5 * inputs.abs().sum() + 0.25 * inputs.square().sum()) / 4)


def test_activity_regularization_keeps_integers_and_casts_booleans():
    layer = ActivityRegularization(l1=0.5, l2=0.25)
    assert layer(torch.tensor([[1, -2]])).dtype is torch.int64
    assert layer(torch.tensor([[True, False]])).dtype is torch.float32
    assert layer.losses[0].item() == 0.75
