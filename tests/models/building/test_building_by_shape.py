"""Models that are built for a shape, without a call."""

from __future__ import annotations

import pytest
import torch
from torch.nn.parameter import is_lazy

from kerastorch.layers import TimeDistributed
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all, dense, functional, input_layer, layer, sequential


def make(config):
    return build_model(parse_model_config(config, "config.json", "2.15.0"))


def list_lazy(module):
    return [name for name, tensor in module.named_parameters() if is_lazy(tensor)]


def old(entry):
    """Return an entry as Keras 2 writes it inside of another layer."""
    return {"class_name": entry["class_name"], "config": entry["config"]}


def models():
    """Return models without and with declared inputs, with a model inside, and of Keras 2."""
    inner = sequential(dense("a", units=5), layer("BatchNormalization", "n"), name="inner")
    called = [[["i", 0, 0, {}]]]
    ends = {"inputs": [["i", 0, 0]], "outputs": [["d", 0, 0]]}
    prelu = {"class_name": "PReLU", "config": {"name": "p"}}
    return {
        "sequential": sequential(dense("a", units=5), dense("b")),
        "declared": sequential(input_layer("i"), dense("a", units=5)),
        "nested": sequential(inner, dense("b", activation=prelu)),
        "keras 2": functional(input_layer("i"), dense("d", called), **ends),
    }


@pytest.mark.parametrize("name", models())
def test_a_model_is_built_for_a_shape(name):
    model = make(models()[name])
    assert list_lazy(model)
    model.build((None, 4))
    assert not list_lazy(model)
    weights = [tensor.clone() for tensor in model.parameters()]
    model.build((None, 4))  # what is built stays as it is
    model(torch.randn(2, 4))
    for one, tensor in zip(weights, model.parameters(), strict=True):
        assert torch.equal(one, tensor)


@pytest.mark.parametrize("name", models())
def test_a_model_at_each_step_is_built_with_its_layer(name):
    inner = make(models()[name])
    wrapped = TimeDistributed(inner)
    wrapped.build((None, 7, 4))
    assert wrapped.built and not list_lazy(inner)
    wrapped = {"name": "t", "layer": old(models()[name]), "batch_input_shape": [None, 7, 4]}
    entry = {"class_name": "TimeDistributed", "config": wrapped}
    model = make({"class_name": "Sequential", "config": {"name": "m", "layers": [entry]}})
    build_all(model)
    assert not list_lazy(model)
    assert model(torch.randn(2, 7, 4)).shape[:2] == (2, 7)


def test_unknown_sizes_are_refused():
    model = make(sequential(dense("a", units=5), dense("b")))
    for shape in ((None, None), (4,)):
        with pytest.raises(ValueError, match="Dense: `input_shape` must be a shape"):
            model.build(shape)
    assert len(list_lazy(model)) == 4
