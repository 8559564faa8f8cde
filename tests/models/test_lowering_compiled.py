"""Lowered models, compiled."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.models.configs import functional, input_layer
from tests.models.lowered import add, built, conv, one
from tests.models.test_lowering_random import batch, listed, trained
from tests.models.test_lowering_random import built as built_of

IMAGE = (None, 12, 11, 4)
FORMS = ["ignore:`torch.jit.script(_method)?` is deprecated", "ignore:softmax.*:UserWarning"]
pytestmark = [pytest.mark.filterwarnings(form) for form in FORMS]


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def undrawn(model):
    """Draw nothing anew in training: what a seed of an integer draws cannot be compiled."""
    for module in model.modules():
        if "Dropout" in type(module).__name__:
            module.rate = 0.0
    return model


@pytest.mark.sweep
@pytest.mark.parametrize(("seed", "dynamic"), [(3, False), (10, False), (4, True)])
def test_random_models_in_one_graph(seed, dynamic):
    compiled, plain = (undrawn(built_of(seed)).double().train() for _ in range(2))
    run = torch.compile(compiled, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for samples in (3, 5) if dynamic else (3,):
        x = batch(seed, samples=samples)
        assert_close(trained(compiled, x, run), trained(plain, x), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        assert_close(listed(run.eval()(x)), listed(plain.eval()(x)), rtol=1e-9, atol=1e-9)


def block():
    """Return two convolutions around which their input goes, after a padded and pooled one."""
    entries = [
        input_layer("x", IMAGE),
        one("ZeroPadding2D", "pad0", "x", padding=1),
        {**conv("conv0", "pad0", strides=2), "padding": "valid"},
        one("BatchNormalization", "bn0", "conv0"),
        one("Activation", "act0", "bn0", activation="relu"),
        one("ZeroPadding2D", "pad1", "act0", padding=1),
        one("MaxPooling2D", "pool", "pad1", pool_size=3, strides=2),
        conv("conv1", "pool"),
        one("BatchNormalization", "bn1", "conv1"),
        one("Activation", "act1", "bn1", activation="relu"),
        conv("conv2", "act1"),
        one("BatchNormalization", "bn2", "conv2"),
        add("sum", "pool", "bn2"),
        one("Activation", "act2", "sum", activation="relu"),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["act2", 0, 0]])


def images(samples=3):
    return torch.randn((samples, *IMAGE[1:]), generator=torch.Generator().manual_seed(2))


@pytest.mark.sweep
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_inductor_gives_the_numbers(training):
    compiled, plain = (built(block()).train(training) for _ in range(2))
    run = torch.compile(compiled, fullgraph=True)
    with torch.set_grad_enabled(training):
        if training:
            found, expected = trained(compiled, images(), run), trained(plain, images())
        else:
            found, expected = run(images()), plain(images())
    assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [False, pytest.param(True, marks=pytest.mark.sweep)])
def test_axes_move_once_on_the_way_in_and_once_on_the_way_out(training):
    turned = []

    def backend(graph, inputs):
        turned.extend(n for n in graph.graph.nodes if "permute" in str(n.target))
        return graph

    with torch.set_grad_enabled(training):
        torch.compile(built(block()).train(training), backend=backend, fullgraph=True)(images())
    assert len(turned) == 2
