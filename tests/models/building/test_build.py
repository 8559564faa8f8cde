"""Models made from configs: what they compute, and that they are real modules."""

from __future__ import annotations

import pytest
import torch

from kerastorch.layers import Conv2D, Dense, InputLayer, PReLU
from kerastorch.models.build import build_model
from kerastorch.models.functional import Functional
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.building.examples import built
from tests.models.configs import (
    build_all,
    chain,
    dense,
    input_layer,
    layer,
    list_unbuilt_layers,
    sequential,
)


def test_layers_become_modules_under_their_names():
    model = built(chain(dense("one"), layer("ReLU", "two"), dense("three", units=2)))
    assert type(model) is Functional
    assert list(model.layers) == ["x", "one", "two", "three"]
    assert isinstance(model.one, Dense)
    assert isinstance(model.x, InputLayer)
    assert list(model.state_dict()) == ["one.weight", "one.bias", "three.weight", "three.bias"]
    assert (model.name, model.one.name, model.trainable) == ("model", "one", True)


def test_nothing_is_allocated_before_the_weights_are_known():
    spec = parse_model_config(
        chain(dense("a", units=2**40), dense("b", units=2**40)), "config.json"
    )
    model = build_model(spec)
    assert [(path, shape) for path, _, shape in list_unbuilt_layers(model)] == [
        ("a", (None, 4)),
        ("b", (None, 2**40)),
    ]
    assert model.input_shapes["b"] == model.output_shapes["a"] == (None, 2**40)
    assert "not built" in repr(model)


@pytest.mark.parametrize("make", [sequential, chain])
@pytest.mark.parametrize("flag", ["sparse", "ragged"])
def test_inputs_that_may_be_sparse_or_ragged(flag, make):
    config = make(dense("d")) if make is chain else make(input_layer("x"), dense("d"))
    (given, *_) = config["config"]["layers"]
    given["config"][flag] = True
    model = built(config)
    assert model.layers["x"].get_config()[flag] is True
    x = torch.tensor([[0.0, 2.0, 0.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    assert torch.equal(model(x.to_sparse()), model(x))
    rows = torch.nested.nested_tensor([torch.ones(4), torch.ones(3)], layout=torch.jagged)
    with pytest.raises(ValueError, match=r"`x` must be dense or sparse\. .* Pad it with"):
        model(rows)


@pytest.mark.parametrize("name", ["", "a.b", "layers", "spec", "train", "_plan", "_modules", "T"])
def test_a_name_that_no_attribute_can_have_is_changed(name):
    taken = name.replace(".", "_") or "_"
    model = built(
        sequential(input_layer("x"), dense(name), dense(f"{taken}_"), dense(taken + "__"))
    )
    assert list(model.layers) == ["x", name, f"{taken}_", f"{taken}__"]
    modules = list(model.layers.values())
    assert len({id(module) for module in modules}) == 4
    assert dict(model.named_modules()).keys() >= {f"{taken}_", f"{taken}__"}
    assert model.layers[name].name == name
    state = {key: value + 1 for key, value in model.state_dict().items()}
    assert len(state) == 6
    model.load_state_dict(state)
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_names_of_keras_2_may_have_a_slash():
    model = built(sequential(dense("conv1/bn", batch_input_shape=[None, 4])))
    assert list(model.state_dict()) == ["conv1/bn.weight", "conv1/bn.bias"]
    assert model.layers["conv1/bn"].name == "conv1/bn"


def test_layers_as_activations_become_parts_of_their_layer():
    config = {"class_name": "PReLU", "config": {"shared_axes": [1, 2], "trainable": True}}
    conv = layer("Conv2D", "conv", filters=2, kernel_size=3, activation=config)
    model = build_model(
        parse_model_config(sequential(input_layer("x", (None, 5, 6, 3)), conv), "config.json")
    )
    shapes = {path: shape for path, _, shape in list_unbuilt_layers(model)}
    assert shapes == {"conv": (None, 5, 6, 3), "conv/activation": (None, 3, 4, 2)}
    build_all(model)
    assert isinstance(model.conv, Conv2D)
    assert isinstance(model.conv.activation, PReLU)
    assert list(model.state_dict()) == ["conv.weight", "conv.bias", "conv.activation.alpha"]
