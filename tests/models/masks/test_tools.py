"""Models with masks under torch's tools."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch.testing import assert_close

from .examples import IDS, OTHERS, built, decoder, doubled, text, text_in_order

EACH = pytest.mark.parametrize("config", [text(), text_in_order(), doubled()])
FORMS = ["ignore:`torch.jit.script(_method)?` is deprecated"]
pytestmark = [pytest.mark.filterwarnings(form) for form in FORMS]


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@EACH
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), saved]
)
def test_copies(config, duplicate):
    model = built(config)
    other = duplicate(model)
    assert_close(other(IDS), model(IDS))
    mask = model.compute_mask(IDS)
    assert mask is None or torch.equal(other.compute_mask(IDS), mask)


@EACH
def test_exported_models(config):
    model = built(config)
    exported = torch.export.export(model, (IDS.float(),)).module()
    for ids in (IDS, OTHERS):  # the mask is computed of each input
        assert_close(exported(ids.float()), model(ids), rtol=1e-5, atol=1e-6)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(model, (IDS.float(),), dynamic_shapes=[{0: batch}]).module()
    both = torch.cat([IDS, OTHERS]).float()
    assert_close(exported(both), model(both), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keras_2", [False, True])
def test_an_exported_decoder(keras_2):
    model = built(decoder(keras_2))
    given = [IDS.float(), OTHERS.float()]
    exported = torch.export.export(model, (given,)).module()
    assert_close(exported(given[::-1]), model(given[::-1]), rtol=1e-5, atol=1e-6)


@EACH
def test_compiled_models(config):
    model = built(config)
    run = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for ids in (IDS, OTHERS):
            assert_close(run(ids.float()), model(ids.float()), rtol=1e-5, atol=1e-6)
    model.train()
    run(IDS.float()).square().sum().backward()
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model(IDS.float()).square().sum().backward()
    for one, parameter in zip(found, model.parameters(), strict=True):
        assert_close(one, parameter.grad, rtol=1e-5, atol=1e-6)


@EACH
def test_hooks_and_half_precision(config):
    model = built(config)
    names = []
    for name, module in model.layers.items():
        module.register_forward_hook(lambda *_, name=name: names.append(name))
    outputs = model(IDS)
    assert names == [name for name in model.layers if name != "x"]
    low = copy.deepcopy(model).bfloat16()(IDS)
    assert low.dtype == torch.bfloat16
    assert_close(low.float(), outputs, rtol=0.1, atol=0.1)
    high = copy.deepcopy(model).double()(IDS)
    assert_close(high.float(), outputs, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(model(IDS).float(), outputs, rtol=0.1, atol=0.1)


def test_gradients_do_not_reach_the_steps_of_padding():
    model = built(text()).train()
    model(IDS)[:3].square().sum().backward()
    gradient = model.embedding.weight.grad
    assert not gradient[0].any() and gradient[1:].any(-1).all()
