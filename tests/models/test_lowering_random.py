"""Random models give the same lowered as where every layer is called as it is."""

from __future__ import annotations

import copy
import io
import random
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from kerastorch.layers import Conv2D, MaxPooling2D
from kerastorch.models.build import build_model
from kerastorch.models.functional import Model
from kerastorch.models.lowering import Lowering
from kerastorch.models.program import Program
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all
from tests.models.lowered import forbid, lowered
from tests.models.random_graphs import IMAGE, random_functional, random_sequential

QUICK, MANY = 80, 320
SEEDS = [*range(QUICK), *(pytest.param(s, marks=pytest.mark.sweep) for s in range(QUICK, MANY))]
pytestmark = [
    pytest.mark.filterwarnings("ignore:softmax.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*backward hook:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
]


def built(seed, policies=False):
    config = random_sequential(seed) if seed % 5 == 4 else random_functional(seed, policies)
    torch.manual_seed(seed)
    model = build_model(parse_model_config(config, "config.json", "3.15.1"))
    build_all(model)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_(0, 0.5)
    return model


def batch(seed, dtype=torch.float64, samples=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((samples, *IMAGE[1:]), generator=generator, dtype=dtype)


def listed(outputs):
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def loss_of(outputs):
    """Return a sum in which each output counts differently."""
    total = 0.0
    for number, y in enumerate(listed(outputs), 1):
        weights = torch.arange(1, y.shape[1:].numel() + 1, dtype=torch.float64).mul(number).cos()
        total = total + (y.double().flatten(1) * weights).sum()
    return total


def trained(model, x, call=None):
    """Return outputs, gradients and buffers."""
    x = x.clone().requires_grad_()
    kept = x.detach().clone()
    outputs = (model if call is None else call)(x)
    model.zero_grad()
    if (total := loss_of(outputs)).requires_grad:
        total.backward()
    assert torch.equal(x, kept)
    gradients = [x.grad, *(p.grad for p in model.parameters())]
    return [*(y.detach() for y in listed(outputs)), *gradients, *model.buffers()]


# What is done with a model, in double precision


def in_training(model, x, draw):
    return trained(model.train(), x)


def in_inference(model, x, draw):
    return trained(model.eval(), x)


def without_gradients(model, x, draw):
    kept = x.clone()
    with draw.choice([torch.no_grad, torch.inference_mode])():
        first = listed(model.train(draw.random() < 0.3)(x))
        before = [y.clone() for y in first]
        again = listed(model(x + 1))
    assert torch.equal(x, kept)
    assert_close(first, before, equal_nan=True)
    return [y.clone() for y in [*first, *again]]


def frozen_in_part(model, x, draw):
    for parameter in model.parameters():
        parameter.requires_grad_(draw.random() < 0.5)
    for layer in model.layers.values():
        if draw.random() < 0.2:
            layer.trainable = False
    return [*[y.detach() for y in listed(model.train()(x))], *trained(model, x)]


def hooked(model, x, draw):
    seen = []
    for layer in model.layers.values():
        if draw.random() < 0.3:
            layer.register_forward_hook(lambda module, args, y: seen.extend(listed(y)))
        if draw.random() < 0.1:
            layer.register_forward_hook(
                lambda module, args, y: y * 2 if isinstance(y, torch.Tensor) else y
            )
        if draw.random() < 0.1:
            layer.register_full_backward_hook(lambda module, inside, outside: None)
    found = trained(model.train(draw.random() < 0.5), x.clone())
    return [*found, *(y.detach() for y in seen)]


def replaced(model, x, draw):
    """Put modules of others in the place of layers: what they get is theirs to write to."""
    for name, layer in model.layers.items():
        if type(layer).__name__ in ("ReLU", "Activation", "BatchNormalization", "Dropout"):
            new = draw.choice([None, None, nn.Identity(), nn.ReLU(inplace=True)])
            if new is not None:
                setattr(model, name, new)
    with torch.no_grad():
        return [y.clone() for y in listed(model.eval()(x.clone()))]


def checkpointed(model, x, draw):
    reentrant = draw.random() < 0.5
    return trained(model.eval(), x, lambda x: checkpoint(model, x, use_reentrant=reentrant))


def packed(model, x, draw):
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)
    anomaly = draw.random() < 0.2
    with hooks, torch.autograd.set_detect_anomaly(True) if anomaly else nullcontext():
        return trained(model.train(), x)


def transformed(model, x, draw):
    model.eval()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x):
        return loss_of(functional_call(model, parameters, (x,)))

    found = list(torch.func.grad(loss, 1)(parameters, x).unbind())
    if draw.random() < 0.5:
        found.append(torch.func.jvp(loss, (parameters, x), (parameters, x.cos()))[1])
        with torch.no_grad():
            found.append(torch.func.jvp(loss, (parameters, x), (parameters, x.cos()))[1])
    if draw.random() < 0.5:
        along = torch.func.grad(loss)
        found += torch.func.vmap(along, (None, 0))(parameters, torch.stack([x, x + 1])).values()
        found += listed(torch.func.vmap(model)(torch.stack([x, x + 1])))
    return found


def copied(model, x, draw):
    first = in_training(model, x, draw)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    return [*first, *trained(copy.deepcopy(model), x), *trained(again, x)]


def twice_differentiated(model, x, draw):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(model.eval()(x)), x, create_graph=True)
    if not slope.requires_grad:
        return [slope]
    return [slope, *torch.autograd.grad((slope * x.detach()).sum(), x, allow_unused=True)]


def of_no_samples(model, x, draw):
    return trained(model.train(draw.random() < 0.5), x[:0])


def in_other_memory(model, x, draw):
    strange = x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    return trained(model.train(), strange.expand(3, -1, -1, -1))


def not_finite(model, x, draw):
    x = x.clone()
    x.view(-1)[::17] = torch.tensor(draw.choice([float("nan"), float("inf"), -0.0]))
    with torch.no_grad():
        return [y.clone() for y in listed(model.eval()(x))]


SCENES = [
    *(in_training, in_inference, without_gradients, frozen_in_part, hooked, replaced),
    *(checkpointed, packed, transformed, copied, twice_differentiated, of_no_samples),
    *(in_other_memory, not_finite),
]


def both(scene, seed, monkeypatch, dtype=torch.float64, policies=False):
    """Return what a scene finds with the model lowered, and with plain calls."""
    found = []
    for allowed in (True, False):
        with monkeypatch.context() as patch:
            if not allowed:
                forbid(patch)
            model = built(seed, policies)
            model = model if policies else model.to(dtype)
            found.append(scene(model, batch(seed, dtype), random.Random(seed)))
    return found


KINDS = [
    *["Conv2D", "Dense", "BatchNormalization", "ReLU", "Activation", "LeakyReLU", "ELU", "Dropout"],
    "DepthwiseConv2D",
    *["MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "ZeroPadding2D", "Flatten"],
    *["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"],
]


def test_the_models_have_what_is_to_be_tested():
    """All kinds of layers are lowered, some overwrite, and some pad by themselves."""
    counts = Counter()
    for seed in range(QUICK):
        outer = built(seed).double()
        outer(batch(seed))
        for model in (one for one in outer.modules() if isinstance(one, Model)):
            found = lowered(model, training=True)
            counts.update(type(model.layers[name]).__name__ for name in found)
            counts["overwriting"] += sum(found.values())
            counts["nested"] += len(found) if model is not outer else 0
            for _, reader in model._program.deferred:
                layer = model.get_submodule(model._plan.calls[reader].attribute)
                counts[f"padded by {type(layer).__name__}"] += 1
    assert min(counts[name] for name in KINDS) > 2
    assert min(counts[one] for one in ("nested", "overwriting")) > 9
    assert min(counts[f"padded by {one}"] for one in ("Conv2D", "MaxPooling2D")) > 2


FAULTS = {
    "nonnegative": (MaxPooling2D, "_can_pad", lambda layer, padding, nonnegative: not layer._same),
    "gradients": (Conv2D, "_gradient_needs_output", False),
    "overwriting": (
        Lowering,
        "modes_to_overwrite",
        lambda self, number, slot: self.facts[slot].overwritable,
    ),
    "hooks": (Lowering, "has_user_hooks", staticmethod(lambda module: False)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name, monkeypatch):
    monkeypatch.setattr(*FAULTS[name])
    if name == "hooks":
        monkeypatch.setattr(Program, "is_current", lambda program, modules: True)

    def is_found(seed, scene):
        try:
            assert_close(*both(scene, seed, monkeypatch), equal_nan=True)
        except (AssertionError, RuntimeError):
            return True
        return False

    scenes = [hooked] if name == "hooks" else [in_training, without_gradients]
    assert any(is_found(seed, scene) for seed in range(QUICK) for scene in scenes)


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_and_gradients_are_those_of_plain_calls(seed, monkeypatch):
    """In training, without gradients, and what else the seed says."""
    for scene in {in_training, without_gradients, SCENES[seed % len(SCENES)]}:
        found, expected = both(scene, seed, monkeypatch)
        assert_close(found, expected, equal_nan=True, rtol=1e-9, atol=1e-9, msg=scene.__name__)


@pytest.mark.parametrize("seed", SEEDS[::8])
def test_single_precision(seed, monkeypatch):
    for scene in (in_inference, without_gradients):
        found, expected = both(scene, seed, monkeypatch, torch.float32)
        assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=scene.__name__)


@pytest.mark.parametrize("seed", SEEDS)
def test_dtypes_are_those_of_plain_calls(seed, monkeypatch):
    found, expected = both(without_gradients, seed, monkeypatch, torch.float32, policies=True)
    assert_close(found, expected, rtol=5e-2, atol=5e-2, equal_nan=True)
