"""Losses and constraints in a plain PyTorch training loop."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from kerastorch import apply_constraints, attach_constraints, regularization_loss
from kerastorch.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from kerastorch.layers import Conv2D
from tests.layers.contract import saved_and_loaded

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


@pytest.fixture(autouse=True)
def one_thread():
    """Keep steps this small from waiting for threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


# regularization_loss


def test_the_loss_is_the_sum_over_the_whole_tree():
    first = conv(kernel_regularizer="l2", bias_regularizer="l1", bias_initializer="ones")
    second = conv(activity_regularizer="l2", kernel_regularizer=lambda w: w.abs().max())
    outputs = nn.ReLU()(INPUTS)
    tree = nn.ModuleDict({"a": Tree(first, conv()), "b": nn.Sequential(second)})
    tree["a"](INPUTS)
    tree["b"](outputs)
    expected = (
        0.01 * (first.get_weights()[0] ** 2).sum()
        + 0.01 * 2
        + np.abs(second.get_weights()[0]).max()
        + 0.01 * (second(outputs) ** 2).sum().item() / 2
    )
    found = regularization_loss(tree)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "model",
    [conv(), Conv2D(2, 3, kernel_regularizer="l2"), Tree(conv()), nn.ReLU(), nn.Linear(2, 3)],
    ids=["no regularizer", "not built", "tree", "no weights", "plain"],
)
def test_without_terms_the_loss_is_a_plain_zero(model):
    found = regularization_loss(model)
    assert found.shape == ()
    assert found.item() == 0
    assert not found.requires_grad


def test_a_plain_zero_is_on_the_device_of_the_model():
    assert regularization_loss(conv(device="meta")).device.type == "meta"


def test_the_loss_has_the_gradients_of_its_terms():
    layer = conv(kernel_regularizer="l2", bias_regularizer="l1", bias_initializer="ones")
    regularization_loss(nn.Sequential(layer)).backward()
    torch.testing.assert_close(layer.weight.grad, 0.02 * layer.weight.detach())
    torch.testing.assert_close(layer.bias.grad, torch.full((2,), 0.01))


def test_the_activity_term_has_gradients_through_the_layer():
    layer = conv(activity_regularizer="l2")
    outputs = layer(INPUTS)
    regularization_loss(layer).backward(retain_graph=True)
    (expected,) = torch.autograd.grad(0.01 * outputs.square().sum() / 2, layer.weight)
    torch.testing.assert_close(layer.weight.grad, expected)


def test_frozen_weights_have_no_terms():
    kept = conv(kernel_regularizer="l2", bias_regularizer="l2", bias_initializer="ones")
    frozen = conv(kernel_regularizer="l2", trainable=False)
    model = nn.Sequential(kept, frozen)
    kept.weight.requires_grad = False
    assert regularization_loss(model).item() == pytest.approx(0.02)
    kept.trainable = False
    assert regularization_loss(model).item() == 0
    kept.weight.requires_grad = True  # the layer's word counts, as in Keras
    assert regularization_loss(model).item() == 0


def test_a_frozen_layer_keeps_its_activity_term():
    layer = conv(kernel_regularizer="l2", activity_regularizer="l2", trainable=False)
    layer(INPUTS)
    assert len(layer.losses) == 1
    assert regularization_loss(layer).item() > 0


def test_the_loss_of_float64_layers_is_float64():
    layer = conv(kernel_regularizer="l2", bias_regularizer="l2", dtype="float64")
    found = regularization_loss(layer)
    assert found.dtype is torch.float64
    assert found.item() == pytest.approx(0.01 * (layer.get_weights()[0] ** 2).sum(), rel=1e-14)


def test_layers_of_different_types_add_up():
    layers = [conv(kernel_regularizer="l2", dtype=name) for name in ("float64", "float32")]
    total = regularization_loss(nn.Sequential(*layers))
    assert total.item() == pytest.approx(sum(regularization_loss(x).item() for x in layers))


def test_a_shared_layer_counts_once():
    layer = conv(kernel_regularizer="l2")
    alone = regularization_loss(layer)
    assert torch.equal(regularization_loss(nn.ModuleList([layer, Tree(layer), layer])), alone)


def test_asking_again_gives_the_same():
    layer = conv(kernel_regularizer="l2", activity_regularizer="l1")
    layer(INPUTS)
    assert torch.equal(regularization_loss(layer), regularization_loss(layer))


def test_a_second_call_replaces_the_activity_term():
    layer = conv(activity_regularizer="l2")
    layer(INPUTS)
    expected = regularization_loss(layer)
    layer(3 * INPUTS)
    assert not torch.equal(regularization_loss(layer), expected)
    layer(INPUTS)
    assert torch.equal(regularization_loss(layer), expected)


def squares(w: Tensor) -> Tensor:
    """Return a penalty with an axis, which Keras sums."""
    return w.flatten(0, -2).square().sum(0) if w.ndim > 1 else w.square()


@pytest.mark.parametrize(
    "regularizers",
    [
        {"kernel_regularizer": squares},
        {"kernel_regularizer": squares, "bias_regularizer": "l2"},
        {"kernel_regularizer": "l2", "bias_regularizer": squares},
    ],
    ids=["alone", "first", "second"],
)
def test_a_penalty_with_axes_is_summed(regularizers):
    layer = conv(**regularizers, bias_initializer="ones")
    factors = {squares: 1, "l2": 0.01}
    expected = sum(
        factors[function] * (value**2).sum()
        for function, value in zip(regularizers.values(), layer.get_weights(), strict=False)
    )
    found = regularization_loss(layer)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-5)


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


@pytest.mark.parametrize(
    "wrong",
    [lambda w: w[..., :1], lambda w: w.flatten(), lambda w: w.sum(), lambda w: w[None]],
    ids=["fewer", "flat", "scalar", "more axes"],
)
def test_a_result_of_another_shape_is_refused(wrong):
    layer = conv(kernel_constraint=wrong)
    before = layer.get_weights()[0]
    message = (
        r"^Conv2D: `kernel_constraint` must be a callable that returns the shape \(2, 3, 3, 2\)"
    )
    with pytest.raises(ValueError, match=message):
        apply_constraints(layer)
    assert np.array_equal(layer.get_weights()[0], before)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    attach_constraints(optimizer, layer)
    with pytest.raises(ValueError, match=message):
        step(layer, optimizer)
    assert np.array_equal(layer.get_weights()[0], before)


COMPUTED = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "pruned": lambda layer: prune.custom_from_mask(layer, "weight", layer.weight > 0),
}
NOT_A_PARAMETER = r"Conv2D: `kernel` must be a parameter of its own"


@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
def test_a_computed_weight_is_not_projected_but_an_error(compute):
    layer = compute(conv(kernel_constraint="non_neg"))
    with pytest.raises(ValueError, match=NOT_A_PARAMETER):
        apply_constraints(layer)
    with pytest.raises(ValueError, match=NOT_A_PARAMETER):
        attach_constraints(sgd(layer), layer)


def test_where_one_weight_is_refused_none_is_projected():
    layer, computed = (conv(kernel_constraint="non_neg") for _ in range(2))
    tree = Tree(layer, parametrizations.weight_norm(computed))
    before = layer.get_weights()[0]
    with pytest.raises(ValueError, match=NOT_A_PARAMETER):
        apply_constraints(tree)
    assert np.array_equal(layer.get_weights()[0], before)


@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
def test_a_weight_that_is_computed_later_is_an_error_at_the_step(compute):
    layer, other = (conv(kernel_constraint="non_neg") for _ in range(2))
    tree = Tree(layer, other)
    optimizer = sgd(tree)
    attach_constraints(optimizer, tree)
    compute(layer)
    with pytest.raises(ValueError, match=NOT_A_PARAMETER):
        step(tree, optimizer)


def test_a_computed_weight_of_another_optimizer_is_no_error():
    computed, layer = (conv(kernel_constraint="non_neg") for _ in range(2))
    tree = Tree(parametrizations.weight_norm(computed), layer)
    optimizer = sgd(layer)
    attach_constraints(optimizer, tree)
    step(tree, optimizer)
    assert (layer.kernel >= 0).all()


@pytest.mark.parametrize("built", [True, False], ids=["built", "not built"])
def test_an_optimizer_of_other_weights_is_refused(built):
    shape = {"input_shape": SHAPE if built else None}
    model = Tree(conv(kernel_constraint="non_neg", **shape))
    with pytest.raises(
        ValueError, match=r"^attach_constraints: `optimizer` must be one that steps"
    ):
        attach_constraints(sgd(Tree(conv())), model)


@pytest.mark.parametrize(
    "layer",
    [conv(), conv(use_bias=False, bias_constraint="non_neg")],
    ids=["no constraint", "no bias"],
)
def test_a_model_without_constrained_weights_is_left_alone(layer):
    twin = copy.deepcopy(layer)
    optimizer, plain = sgd(layer), sgd(twin)
    attach_constraints(optimizer, layer)
    step(layer, optimizer)
    step(twin, plain)
    assert torch.equal(layer.weight, twin.weight)


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


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),
    "torch.save": lambda pair: saved_and_loaded(pair, weights_only=False),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_an_optimizer_has_no_hooks_until_they_are_attached_again(copied):
    layer = conv(kernel_constraint=Counting())
    optimizer = OPTIMIZERS["adam"](layer.parameters())
    attach_constraints(optimizer, layer)
    step(layer, optimizer)
    twin, other = copied((layer, optimizer))
    assert other.param_groups[0]["params"][0] is twin.weight
    step(twin, other)
    assert counts(twin) == [1]
    attach_constraints(other, twin)
    step(twin, other)
    assert counts(layer, twin) == [1, 2]


def test_loading_its_state_keeps_the_hooks_of_an_optimizer():
    layer = conv(kernel_constraint=Counting())
    optimizer = OPTIMIZERS["adam"](layer.parameters())
    attach_constraints(optimizer, layer)
    step(layer, optimizer)
    optimizer.load_state_dict(saved_and_loaded(optimizer.state_dict(), weights_only=True))
    step(layer, optimizer)
    assert counts(layer) == [2]


def test_an_optimizer_with_a_hook_is_saved_and_loaded():
    layer = conv(kernel_constraint=lambda w: w * 0.5)
    optimizer = OPTIMIZERS["adam"](layer.parameters())
    attach_constraints(optimizer, layer)
    step(layer, optimizer)
    loaded = OPTIMIZERS["adam"](copy.deepcopy(layer).parameters())
    loaded.load_state_dict(optimizer.state_dict())
    pickled = pickle.loads(pickle.dumps(optimizer))
    copied = copy.deepcopy(optimizer)
    for other in (loaded, pickled, copied):
        torch.testing.assert_close(other.state_dict(), optimizer.state_dict(), rtol=0, atol=0)


def test_a_whole_training_run():
    torch.manual_seed(0)
    model = nn.Sequential(
        Conv2D(4, 3, activation="relu", kernel_constraint=UnitNorm([0, 1, 2])),
        Conv2D(1, (2, 1), kernel_regularizer="l2", bias_constraint="non_neg"),
    )
    inputs = torch.randn(8, 6, 5, 2)
    targets = inputs[:, 2:5, 1:4, :1]
    model(inputs)
    optimizer = OPTIMIZERS["adam"](model.parameters())
    handle = attach_constraints(optimizer, model)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean() + regularization_loss(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    handle.remove()
    assert losses[-1] < 0.5 * losses[0]
    norms = model[0].kernel.detach().square().sum((0, 1, 2)).sqrt()
    torch.testing.assert_close(norms, torch.ones(4))
    assert (model[1].bias >= 0).all()


# Long runs


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(found), Tensor) for found in gc.get_objects())


def left_of(steps: int, act: Callable[[Tensor], object]) -> tuple[int, int]:
    """Return how many inputs outlive `steps` calls, and by how much all tensors grew."""
    refs = []
    for n in range(steps):
        if n == 10:
            before = live_tensors()
        inputs = INPUTS.clone().requires_grad_()  # kept alive by every graph that leads to it
        refs.append(weakref.ref(inputs))
        act(inputs)
        del inputs
    growth = live_tensors() - before
    return sum(ref() is not None for ref in refs), growth


@pytest.mark.parametrize("trained", [True, False], ids=["trained", "called"])
def test_a_thousand_steps_with_activity_regularizers_leave_nothing(trained):
    layers = [conv(activity_regularizer="l2"), conv(activity_regularizer="l1", activation="relu")]
    model = Tree(*layers)
    optimizer = sgd(model)

    def act(inputs):
        outputs = model(inputs)
        if trained:
            optimizer.zero_grad()
            (outputs.square().mean() + regularization_loss(model)).backward()
            optimizer.step()

    inputs_left, growth = left_of(1000, act)
    assert inputs_left <= 1  # the last one, by the terms of the last call
    assert growth <= 2


def test_the_count_of_what_is_left_tells():
    layer = conv(activity_regularizer="l2")
    kept = []

    def act(inputs):
        layer(inputs)
        kept.extend(layer.losses)

    assert left_of(30, act) >= (30, 20)
