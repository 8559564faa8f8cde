"""Models made from configs are real modules, and their loss terms add up."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import nn

from kerastorch import regularization_loss
from kerastorch._core.errors import FileError
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.contract import COPIES
from tests.models.building.examples import (
    ARRAYS,
    EXPECTED,
    add,
    built,
    shared,
    two_inputs,
    with_mode,
)
from tests.models.configs import (
    chain,
    dense,
    functional,
    input_layer,
    inside,
    layer,
    node,
    sequential,
    tensor,
)

# Behaviour as a module


def test_a_state_dict_goes_into_another_one_built_or_not():
    config = chain(dense("a"), dense("b"))
    model, other = built(config), built(config)
    fresh = build_model(parse_model_config(config, "config.json"))
    other.load_state_dict(model.state_dict())
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(model(x), other(x))
    assert torch.equal(model(x), fresh(x))


@pytest.mark.parametrize("config", [shared(), sequential(input_layer("x"), dense("a", units=4))])
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_computes_the_same_and_is_its_own(config, how):
    model = built(config)
    x = torch.randn(2, 4)
    expected = model(x)
    other = COPIES[how](model)
    assert torch.equal(other(x), expected)
    terms = [float(term.detach()) for term in model.losses]
    other(2 * x)
    assert [float(term.detach()) for term in model.losses] == terms
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(model(x), expected)
    assert not other(x).any()


def test_train_and_eval_reach_all_layers():
    model = built(sequential(input_layer("x"), layer("Dropout", "d", rate=0.5)))
    x = torch.ones(50, 4)
    assert torch.equal(model.eval()(x), x)
    assert not torch.equal(model.train()(x), x)


@pytest.mark.parametrize("training", [True, False])
def test_a_mode_that_keras_2_fixed_stays(training):
    model = built(with_mode(training))
    assert model.training
    assert model.inner.d.training is training
    for mode in (True, False):
        nn.Sequential(model).train(mode)
        assert model.inner.d.training is training
        assert model.f.training is mode
    assert copy.deepcopy(model).train().inner.d.training is training


def test_two_modes_of_one_layer_are_refused():
    built(with_mode(True, twice=True))
    message = "config.json: a layer must be called with one `training` throughout. Found: two for"
    with pytest.raises(FileError, match=message):
        built(with_mode(True, twice=False))
    with pytest.raises(FileError, match="two for 'inner/d'"):
        built(with_mode(False, twice=True))


def test_inputs_follow_the_type_of_the_model():
    x = torch.randn(2, 4, dtype=torch.float64)
    model = built(chain(dense("a"))).double()
    expected = x @ model.a.kernel + model.a.bias
    assert torch.equal(model(x), expected)  # not rounded to float32 on the way
    assert model.half()(x).dtype is torch.float16


def test_trainable_is_that_of_all_layers():
    config = chain(dense("a", kernel_regularizer="l2"), dense("b"))
    model = built(config)
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.trainable = False
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.a.trainable
    assert not model.losses
    model.trainable = True
    assert model.a.trainable
    assert len(model.losses) == 1
    config["config"]["trainable"] = False
    model = built(config)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.a.trainable  # as in Keras: its own config says so


def test_dead_tensors_are_freed():
    alive = []

    class Step(nn.Module):
        def forward(self, x):
            self.before = sum(one() is not None for one in alive)
            y = x + 1
            alive.append(weakref.ref(y))
            return y

    names = [f"s{n}" for n in range(6)]
    config = chain(*(layer("Step", name) for name in names))
    model = build_model(
        parse_model_config(config, "config.json"), custom_layers={"Step": lambda config: Step()}
    )
    model(torch.zeros(2, 4))
    assert [model.layers[name].before for name in names] == [0, 1, 1, 1, 1, 1]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a")  # which Dynamo looks at
@pytest.mark.parametrize("config", [shared(), with_mode(True)], ids=["shared", "mode"])
def test_it_compiles_without_a_break(config):
    model = built(config).eval()
    x = torch.randn(2, 4)
    if config["config"]["layers"][1]["class_name"] == "Sequential":
        model.inner.d.rate = 0.0
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    expected = model(x)
    terms = [term.detach() for term in model.losses]
    torch.testing.assert_close(compiled(x), expected)
    assert len(model.losses) == len(terms)
    torch.testing.assert_close([term.detach() for term in model.losses], terms)


def test_it_can_be_exported():
    model = built(two_inputs([["a", 0, 0], ["b", 0, 0]]))
    exported = torch.export.export(model, (list(ARRAYS.values()),))
    torch.testing.assert_close(exported.module()(list(ARRAYS.values())), EXPECTED)


# Loss terms


def test_a_layer_that_is_called_again_adds_up_and_each_call_starts_afresh():
    model = built(shared())
    layer = model.inner.d
    x = torch.randn(2, 4)
    expected, y = [], x
    for _ in range(4):
        y = layer(y)
        expected.append(layer.losses[0])
    for _ in range(2):
        assert torch.equal(model(x), y)
        torch.testing.assert_close(model.losses, expected)
        torch.testing.assert_close(regularization_loss(model), sum(expected))
    (gradient,) = torch.autograd.grad(sum(model.losses), layer.weight, retain_graph=True)
    (wanted,) = torch.autograd.grad(sum(expected), layer.weight)
    torch.testing.assert_close(gradient, wanted)
    model.inner(x)
    assert len(model.losses) == 2


def test_what_ran_in_an_earlier_call_is_not_counted_again():
    def sub(name, marked):
        both = dense("both", [node(tensor("in"))], 4, activity_regularizer="l2")
        both = {**both, "shared_object_id": 1} if marked else both
        own = dense(f"own_{name}", [node(tensor("both"))], 4, activity_regularizer="l1")
        model = functional(
            input_layer("in"), both, own,
            inputs=["in", 0, 0], outputs=[own["name"], 0, 0], name=name,
        )  # fmt: skip
        return inside(model, [node(tensor("x"))])

    model = built(functional(
        input_layer("x"), sub("one", False), sub("two", True), add("sum", "one", "two"),
        inputs=["x", 0, 0], outputs=["sum", 0, 0],
    ))  # fmt: skip
    assert model.one.both is model.two.both
    assert set(model.state_dict()) > {"one.both.weight", "two.both.weight"}
    for _ in range(3):
        model(torch.randn(2, 4))
        assert len(model.losses) == 4


def test_a_sequential_model_of_models_adds_up_too():
    inner = shared()
    inner["config"]["name"] = "first"
    model = built(sequential(input_layer("x"), inner, dense("last", activity_regularizer="l1")))
    for _ in range(2):
        model(torch.randn(2, 4))
        assert len(model.losses) == 5
