"""Losses and constraints in a plain PyTorch training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kerastorch import apply_constraints, attach_constraints
from kerastorch.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from kerastorch.layers import Conv2D

SHAPE = (4, 5, 3)
INPUTS = torch.linspace(-1, 1, 2 * 60).view(2, *SHAPE)
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd-fused": lambda p: torch.optim.SGD(p, lr=0.1, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adam-foreach": lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
    "adam-fused": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
}


def conv(**arguments) -> Conv2D:
    return Conv2D(2, (2, 3), **{"input_shape": SHAPE, **arguments})


def halved(w: Tensor) -> Tensor:
    """Return a projection that shows how often it was made."""
    return w * 0.5


def halved_in_place(w: Tensor) -> Tensor:
    return w.mul_(0.5)


def sgd(*modules: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([p for module in modules for p in module.parameters()], lr=0.1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(INPUTS).square().mean().backward()
    optimizer.step()


class Tree(nn.Module):
    """Layers here and there among plain modules."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.plain = nn.Linear(2, 2)
        self.listed = nn.ModuleList([nn.Sequential(nn.ReLU(), layer) for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        return sum(branch(x) for branch in self.listed)


# attach_constraints, apply_constraints

PROJECTIONS = {
    "max_norm": (MaxNorm(0.75, axis=[0, 1, 2]), lambda v, n: v * min(n, 0.75) / (n + 1e-7)),
    "min_max_norm": (
        MinMaxNorm(0.5, 0.75, rate=0.25, axis=[0, 1, 2]),
        lambda v, n: v * (0.25 * np.clip(n, 0.5, 0.75) + 0.75 * n) / (n + 1e-7),
    ),
    "unit_norm": (UnitNorm(axis=[0, 1, 2]), lambda v, n: v / (n + 1e-7)),
    "non_neg": (NonNeg(), lambda v, n: np.maximum(v, 0)),
    "own": (halved, lambda v, n: v / 2),
    "own, in place": (halved_in_place, lambda v, n: v / 2),
    "none": (Constraint(), lambda v, n: v),
    "a view": (lambda w: w[:1, :1, :1].expand_as(w), lambda v, n: v[:1, :1, :1] + 0 * v),
}


def each_filter(project: Callable, kernel: np.ndarray) -> np.ndarray:
    """Project each filter of a kernel (h, w, in, out) by itself, in float64."""
    filters = [kernel[..., n].astype("float64") for n in range(kernel.shape[-1])]
    return np.stack([project(v, np.sqrt((v**2).sum())) for v in filters], axis=-1)


@pytest.fixture
def kernel() -> np.ndarray:
    """A kernel (h, w, in, out) whose filters have norms below and above what is allowed."""
    values = np.random.default_rng(3).normal(size=(2, 3, 3, 2))
    values /= np.sqrt((values**2).sum((0, 1, 2)))
    return (values * [0.25, 2]).astype("float32")


@pytest.mark.parametrize("constraint, project", PROJECTIONS.values(), ids=PROJECTIONS)
def test_apply_constraints_projects_in_the_order_of_keras(constraint, project, kernel):
    layer = conv(kernel_constraint=constraint)
    layer.set_weights([kernel, np.array([-1, 1])])
    apply_constraints(nn.Sequential(layer))
    found, bias = layer.get_weights()
    np.testing.assert_allclose(found, each_filter(project, kernel), rtol=1e-5, atol=1e-7)
    assert bias.tolist() == [-1, 1]


@pytest.mark.parametrize("constraint, project", PROJECTIONS.values(), ids=PROJECTIONS)
def test_a_step_is_projected_once_after_it(constraint, project, kernel):
    layer = conv(kernel_constraint=constraint, bias_constraint="non_neg")
    layer.set_weights([kernel, np.array([-1, 1])])
    optimizer = sgd(layer)
    attach_constraints(optimizer, layer)
    gradient = np.random.default_rng(4).normal(size=kernel.shape)
    layer.weight.grad = torch.empty_like(layer.weight)
    layer.weight.grad.permute(2, 3, 1, 0).copy_(torch.from_numpy(gradient))
    layer.bias.grad = torch.ones(2)
    optimizer.step()
    found, bias = layer.get_weights()
    expected = each_filter(project, kernel - 0.1 * gradient)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(bias, [0, 0.9], rtol=1e-6)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_step_of_every_optimizer_is_projected_once(make):
    layer = conv(kernel_constraint=halved)
    twin = copy.deepcopy(layer)
    optimizer, plain = make(layer.parameters()), make(twin.parameters())
    attach_constraints(optimizer, layer)
    for _ in range(3):
        step(layer, optimizer)
        step(twin, plain)
        with torch.no_grad():
            twin.weight.mul_(0.5)
        assert torch.equal(layer.weight, twin.weight)
        assert torch.equal(layer.bias, twin.bias)


def test_the_projection_is_in_place():
    layer = conv(kernel_constraint=halved)
    optimizer = sgd(layer)
    attach_constraints(optimizer, layer)
    weight, address, strides = layer.weight, layer.weight.data_ptr(), layer.weight.stride()
    step(layer, optimizer)
    assert layer.weight is weight
    assert (weight.data_ptr(), weight.stride()) == (address, strides)
    assert weight.is_leaf
    assert weight.requires_grad


def test_forward_projects_nothing():
    layer = conv(kernel_constraint=halved)
    attach_constraints(sgd(layer), layer)
    before = layer.get_weights()[0]
    layer(INPUTS).sum().backward()
    assert np.array_equal(layer.get_weights()[0], before)


def test_the_handle_ends_it():
    layer = conv(kernel_constraint=Counting())
    optimizer = sgd(layer)
    handle = attach_constraints(optimizer, layer)
    step(layer, optimizer)
    handle.remove()
    step(layer, optimizer)
    assert layer.kernel_constraint.calls == 1


class Counting(Constraint):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, w: Tensor) -> Tensor:
        self.calls += 1
        return w


def counts(*layers: Conv2D) -> list[int]:
    return [layer.kernel_constraint.calls for layer in layers]


def test_only_the_weights_of_the_optimizer_are_projected():
    a, b = conv(kernel_constraint=Counting()), conv(kernel_constraint=Counting())
    tree = Tree(a, b)
    one, other = sgd(a), sgd(b)
    attach_constraints(one, tree)
    step(tree, one)
    assert counts(a, b) == [1, 0]
    attach_constraints(other, tree)
    step(tree, other)
    assert counts(a, b) == [1, 1]


def test_layers_that_are_built_later_are_projected():
    layer = Conv2D(2, (2, 3), kernel_constraint="non_neg")
    model = nn.Sequential(layer)
    optimizer = sgd(model)
    attach_constraints(optimizer, model)
    step(model, optimizer)
    assert (layer.kernel >= 0).all()


def test_parameters_that_are_added_later_are_projected():
    a, b = conv(kernel_constraint=Counting()), conv(kernel_constraint=Counting())
    tree = Tree(a, b)
    optimizer = sgd(a)
    attach_constraints(optimizer, tree)
    step(tree, optimizer)
    optimizer.add_param_group({"params": b.parameters()})
    step(tree, optimizer)
    assert counts(a, b) == [2, 1]


def test_a_constraint_that_is_set_later_is_used():
    a, b = conv(kernel_constraint="non_neg"), conv()
    tree = Tree(a, b)
    optimizer = sgd(tree)
    attach_constraints(optimizer, tree)
    a.kernel_constraint, b.kernel_constraint = None, "non_neg"
    step(tree, optimizer)
    assert (a.kernel < 0).any()
    assert (b.kernel >= 0).all()


def test_parameters_without_gradients_stay():
    used, unused, frozen = (conv(kernel_constraint=Counting()) for _ in range(3))
    frozen.trainable = False
    optimizer = sgd(used, unused, frozen)
    attach_constraints(optimizer, Tree(used, unused, frozen))
    step(Tree(used, frozen), optimizer)
    assert counts(used, unused, frozen) == [1, 0, 0]


@pytest.mark.parametrize(
    "make",
    [OPTIMIZERS["sgd"], lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=4)],
    ids=["sgd", "lbfgs"],
)
def test_a_step_with_a_closure_is_projected_once(make):
    layer = conv(kernel_constraint=Counting()).to(memory_format=torch.contiguous_format)
    optimizer = make(layer.parameters())
    attach_constraints(optimizer, layer)

    def closure():
        optimizer.zero_grad()
        loss = layer(INPUTS).square().mean()
        loss.backward()
        return loss

    expected = layer(INPUTS).square().mean().item()
    assert optimizer.step(closure).item() == pytest.approx(expected)
    assert counts(layer) == [1]


def scaled_step(layer, optimizer, scaler, *, infinite: bool, unscale: bool) -> None:
    optimizer.zero_grad()
    scaler.scale(layer(INPUTS).square().mean()).backward()
    if infinite:
        layer.bias.grad[0] = torch.inf
    if unscale:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("unscale", [False, True], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("constraint", [halved, halved_in_place], ids=["pure", "in place"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_step_that_a_scaler_skips_changes_nothing(make, constraint, unscale):
    layer = conv(kernel_constraint=constraint)
    twin = copy.deepcopy(layer)
    optimizer, plain = make(layer.parameters()), make(twin.parameters())
    attach_constraints(optimizer, layer)
    scalers = [torch.amp.GradScaler("cpu", init_scale=4.0) for _ in range(2)]
    before = layer.get_weights()
    scaled_step(layer, optimizer, scalers[0], infinite=True, unscale=unscale)
    for found, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    scaled_step(twin, plain, scalers[1], infinite=True, unscale=unscale)
    scaled_step(layer, optimizer, scalers[0], infinite=False, unscale=unscale)
    scaled_step(twin, plain, scalers[1], infinite=False, unscale=unscale)
    assert not np.array_equal(layer.get_weights()[0], before[0])
    assert torch.equal(layer.weight, 0.5 * twin.weight)
    assert torch.equal(layer.bias, twin.bias)


def test_attaching_twice_projects_once():
    layer = conv(kernel_constraint=Counting())
    optimizer, other = sgd(layer), sgd(layer)
    handle = attach_constraints(optimizer, layer)
    assert attach_constraints(optimizer, layer) is handle
    step(layer, optimizer)
    assert counts(layer) == [1]
    attach_constraints(other, layer)
    step(layer, other)
    assert counts(layer) == [2]
    handle.remove()
    step(layer, optimizer)
    assert counts(layer) == [2]
    attach_constraints(optimizer, layer)
    step(layer, optimizer)
    assert counts(layer) == [3]
