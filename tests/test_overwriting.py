"""Activations of a rebuilt model that overwrite what nothing else reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

from kerastorch.saving import _model, _overwriting
from kerastorch.saving._config import parse_model
from kerastorch.saving._graph import build_model
from kerastorch.saving._unbuilt import initialize
from tests.configs import functional, input_layer, layer, node, sequential, tensor

SHAPE = (3, 5, 4, 2)  # that of the input, batch included


def conv(name, before=None, **config):
    nodes = None if before is None else [node(tensor(before))]
    return layer("Conv2D", name, nodes, filters=4, kernel_size=[2, 3], padding="same", **config)


def one(class_name, name, before=None, **config):
    entry = layer(class_name, name, None if before is None else [node(tensor(before))], **config)
    return {**entry, "module": "keras.layers"}


def add(name, *before):
    entry = layer("Add", name, [node([tensor(each) for each in before])])
    return {**entry, "module": "keras.layers"}


def residual(activation="relu", axis=-1):
    """Return a block whose first activation has two readers, and whose addition is an output."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        one("BatchNormalization", "bn0", "conv0", axis=axis),
        one("Activation", "act0", "bn0", activation=activation),
        conv("conv1", "act0"),
        one("ReLU", "act1", "conv1"),
        add("sum", "act0", "act1"),
        one("Activation", "act2", "sum", activation=activation),
        conv("conv2", "act2", activation="relu"),
        one("Activation", "act3", "conv2", activation="tanh"),
        add("last", "act3", "act2"),
        one("ReLU", "act4", "last", max_value=1.5),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["act4", 0, 0], ["sum", 0, 0]])


def branched(activation="relu", axis=-1):
    """Return a block with outputs that are, and are made of, what its activations get."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        one("BatchNormalization", "bn0", "conv0", axis=axis),
        one("Dropout", "same", "bn0", rate=0.5),  # hands on its input where it drops nothing
        one("Activation", "act0", "bn0", activation=activation),
        conv("conv1", "x"),
        conv("conv2", "conv1"),  # needs its input for the gradient
        one("ReLU", "act1", "conv1"),
    ]
    names = ("act0", "same", "act1", "conv2")  # the last are called first
    return functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])


def plain(activation="relu", axis=-1):
    return sequential(
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0"),
        one("BatchNormalization", "bn0", axis=axis),
        one("Activation", "act0", activation=activation),
        one("Flatten", "flat"),
        layer("Dense", "dense", units=3),
        one("ReLU", "act1"),
    )


MODELS = {"functional": residual, "branched": branched, "sequential": plain}


def built(config):
    torch.manual_seed(4)
    model = build_model(parse_model(config, "config.json"))
    initialize(model)
    return model


def batch():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


def forbid(monkeypatch):
    monkeypatch.setattr(_model, "is_allowed", lambda: False)


def count(monkeypatch):
    """Return a list that gets whether each activation, called in place, overwrote its input."""
    found = []

    def counted(module, x):
        address = x.data_ptr()
        y = _overwriting.overwritten(module, x)
        found.append(y.data_ptr() == address)
        return y

    monkeypatch.setattr(_model, "overwritten", counted)
    return found


def numbers(model, training):
    """Return outputs, and in training gradients and buffers."""
    model.double().train(training)
    torch.manual_seed(5)
    with torch.set_grad_enabled(training):
        outputs = model(batch().double())
        outputs = outputs if isinstance(outputs, list) else [outputs]
        if not training:
            return outputs
        loss = sum(y.square().sum() for y in outputs)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [*outputs, *gradients, *model.buffers()]


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("activation", ["relu", "silu", "softmax", "elu", "linear", torch.cos])
@pytest.mark.parametrize("name", MODELS)
def test_numbers_are_those_without_overwriting(name, activation, training, monkeypatch):
    custom = callable(activation)
    config = MODELS[name]("mine" if custom else activation)

    def made():
        torch.manual_seed(4)
        objects = {"mine": activation} if custom else {}
        model = build_model(parse_model(config, "config.json"), custom_objects=objects)
        initialize(model)
        return model

    found = numbers(made(), training)
    forbid(monkeypatch)
    assert_close(found, numbers(made(), training))


# What was called in place, and whether each call wrote over its input
EXPECTED = {
    ("functional", False): [True, True, True, False],
    ("functional", True): [True, True, False],
    ("branched", False): [],
    ("branched", True): [],
    ("sequential", False): [True, True],
    ("sequential", True): [True, True],
}


@pytest.mark.parametrize(("name", "training"), EXPECTED, ids=str)
def test_what_is_overwritten(name, training, monkeypatch):
    found = count(monkeypatch)
    numbers(built(MODELS[name]()), training)
    assert found == EXPECTED[name, training]


def test_nothing_else_sees_it(monkeypatch):
    """A hook keeps what a layer gave, and an output of the model is not written over."""
    model = built(residual()).eval()
    kept = {}
    for name in ("bn0", "conv1"):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, y, name=name: kept.setdefault(name, y)
        )
    with torch.no_grad():
        _, total = model(batch())
        forbid(monkeypatch)
        again = {}
        for name in ("bn0", "conv1"):
            model.get_submodule(name).register_forward_hook(
                lambda module, args, y, name=name: again.setdefault(name, y)
            )
        assert_close(total, model(batch())[1])
    assert_close(kept, again)
    assert (kept["bn0"] < 0).any()


@pytest.mark.parametrize("where", ["maker", "activation", "activation's input", "everywhere"])
def test_hooks_end_it(where, monkeypatch):
    model, found = built(plain()).eval(), count(monkeypatch)
    hook = lambda *args: None  # noqa: E731
    handles = {
        "maker": lambda: model.bn0.register_forward_hook(hook),
        "activation": lambda: model.act0.register_forward_hook(hook),
        "activation's input": lambda: model.act0.register_forward_pre_hook(hook),
        "everywhere": lambda: nn.modules.module.register_module_forward_hook(hook),
    }
    handle = handles[where]()
    with torch.no_grad():
        model(batch())
    handle.remove()
    assert found == ([] if where == "everywhere" else [True])


def test_a_module_in_the_place_of_a_layer_is_trusted_with_nothing(monkeypatch):
    """An identity hands on what others may read."""
    model = built(residual()).eval()
    with torch.no_grad():
        expected = model(batch())
    model.bn0 = nn.Identity()
    found = count(monkeypatch)
    with torch.no_grad():
        outputs = model(batch())
    assert found == [True, True, False]
    forbid(monkeypatch)
    with torch.no_grad():
        assert_close(outputs, model(batch()))
    assert not torch.equal(outputs[0], expected[0])


@pytest.mark.parametrize("activity", ["bn0", "act0"])
def test_activity_terms_keep_their_numbers(activity, monkeypatch):
    results = []
    for _ in range(2):
        model = built(plain())
        model.get_submodule(activity).activity_regularizer = "l2"
        y = model(batch())
        (y.square().sum() + sum(model.losses)).backward()
        results.append([p.grad for p in model.parameters()])
        forbid(monkeypatch)
    assert_close(*results)


@pytest.mark.parametrize("name", MODELS)
def test_functional_transforms(name, monkeypatch):
    model = built(MODELS[name]())
    parameters = dict(model.named_parameters())
    buffers = {n: b.clone() for n, b in model.named_buffers()}

    def loss(parameters, x):
        y = functional_call(model, (parameters, {n: b.clone() for n, b in buffers.items()}), (x,))
        return (y[0] if isinstance(y, list) else y).square().sum()

    model.eval()
    found = torch.func.grad(loss)(parameters, batch())
    many = torch.stack([batch(), batch() + 1])
    several = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, many)
    forbid(monkeypatch)
    assert_close(found, torch.func.grad(loss)(parameters, batch()), rtol=1e-4, atol=1e-5)
    assert_close(several, torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, many))


def test_gradients_of_gradients(monkeypatch):
    model = built(plain("tanh")).double()
    x = batch().double().requires_grad_()
    assert torch.autograd.gradgradcheck(model, (x,), fast_mode=True)
