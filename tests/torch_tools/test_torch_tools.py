"""What PyTorch's own tools do to whole models, and to layers that are not of torch's classes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.nn.utils import parametrizations, skip_init
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import kerastorch
from kerastorch import apply_constraints, attach_constraints, regularization_loss
from kerastorch.layers import BatchNormalization, Conv2D, Dense
from tests.layers.contract import batch, saved_and_loaded, state_of

COMPAT = Path(__file__).parents[2] / "compat"
# name -> file, shape of a batch
MODELS = {
    "digits": (COMPAT / "digits/digits.keras", (3, 8, 8, 1)),
    "nested": (COMPAT / "files/keras-3.15.1/fun_nested.keras", (3, 8, 8, 3)),
    "dropout": (COMPAT / "files/keras-3.15.1/seq_adam.keras", (3, 8, 8, 3)),
}


@pytest.fixture(params=MODELS)
def loaded(request):
    """A model made of a file, in eval mode, and a batch for it."""
    path, shape = MODELS[request.param]
    return Joined(kerastorch.load_model(path)), batch(shape)


class Joined(nn.Module):
    """Makes one tensor of a model's outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.model(x)
        if isinstance(outputs, Tensor):
            return outputs
        return torch.cat([each.flatten(1) for each in outputs], 1)


def numbers_of(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Return a model's outputs and the gradients of its parameters."""
    outputs = model(x)
    return (outputs, *torch.autograd.grad(outputs.square().sum(), list(model.parameters())))


def same_numbers(model: nn.Module, other: nn.Module, x: Tensor) -> None:
    assert_close(numbers_of(model, x), numbers_of(other, x), rtol=0, atol=0)


# Whole models: state


def safetensors_of(model: nn.Module, path: Path, *, whole: bool) -> nn.Module:
    """Return a copy that got its weights from a file of safetensors."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    if whole:
        save_model(model, path)
        load_model(other, path)
    else:
        save_file(model.state_dict(), path)
        other.load_state_dict(load_file(path))
    return other


WAYS = {
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "torch.save": lambda model, path: saved_and_loaded(model, weights_only=False),
    "safetensors model": lambda model, path: safetensors_of(model, path, whole=True),
    "safetensors file": lambda model, path: safetensors_of(model, path, whole=False),
    "assigned": lambda model, path: assigned(model),
    "meta": lambda model, path: through_meta(model),
    "shared": lambda model, path: copy.deepcopy(model).share_memory(),
}


def assigned(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model).to("meta")
    other.load_state_dict(saved_and_loaded(model.state_dict(), weights_only=True), assign=True)
    return other


def through_meta(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model).to("meta").to_empty(device="cpu")
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("way", WAYS)
def test_a_model_s_weights_travel(loaded, way, tmp_path):
    model, x = loaded
    same_numbers(WAYS[way](model, tmp_path / "file"), model, x)


def test_the_comparison_of_models_can_fail(loaded):
    model, x = loaded
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).mul_(1.001)
    with pytest.raises(AssertionError):
        same_numbers(other, model, x)


def test_safetensors_wants_the_contiguous_order(tmp_path):
    layer = Conv2D(4, (2, 3), input_shape=(5, 6, 3))
    with pytest.raises(ValueError, match="non contiguous tensor"):
        save_file(layer.state_dict(), tmp_path / "file")


# Whole models: types, devices and orders of memory


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_model_in_another_order_of_memory(loaded, order, device):
    model, x = loaded
    model, x = model.to(device), x.to(device)
    expected = numbers_of(model, x)
    model.to(memory_format=order)
    assert all(p.is_contiguous(memory_format=order) for p in model.parameters() if p.ndim == 4)
    assert_close(numbers_of(model, x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_model_of_another_type(loaded, dtype, device):
    model, x = loaded
    expected = model(x)
    outputs = model.to(device, dtype)(x.to(device))
    assert outputs.dtype is dtype
    assert_close(outputs.cpu().float(), expected, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_model_under_autocast(loaded, dtype, device):
    model, x = loaded
    expected = model(x)
    model, x = model.to(device), x.to(device)
    with torch.autocast(device, dtype):
        outputs = model(x)
    assert_close(outputs.cpu().float(), expected, rtol=5e-2, atol=5e-2)
    outputs.float().square().sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_a_scaler_and_constraints_train_a_model(fused, device):
    path, shape = MODELS["digits"]
    model, x = kerastorch.load_model(path).train().to(device), batch(shape).to(device)
    for layer in model.layers.values():
        if isinstance(layer, Conv2D):
            layer.kernel_constraint = "unit_norm"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=fused)
    attach_constraints(optimizer, model)
    scaler = torch.amp.GradScaler(device, init_scale=4.0)
    before = state_of(model)
    for infinite in (True, False):
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = model(x).float().square().mean() + regularization_loss(model)
        scaler.scale(loss).backward()
        if infinite:
            next(model.parameters()).grad.view(-1)[0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        changed = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
        assert bool(changed) is not infinite
    for layer in model.layers.values():
        if isinstance(layer, Conv2D):
            norms = torch.linalg.vector_norm(layer.kernel.detach(), dim=0)
            assert_close(norms, torch.ones_like(norms), rtol=1e-5, atol=1e-5)


# Whole models: functions of them


def test_many_models_at_once(loaded):
    model, x = loaded
    models = [copy.deepcopy(model) for _ in range(3)]
    with torch.no_grad():
        for factor, other in enumerate(models, 1):
            next(other.parameters()).mul_(factor)
    parameters, buffers = stack_module_state(models)
    base = copy.deepcopy(model).to("meta")

    def outputs(parameters, buffers):
        return functional_call(base, (parameters, buffers), (x,))

    assert_close(vmap(outputs)(parameters, buffers), torch.stack([each(x) for each in models]))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_model_s_derivatives_both_ways(loaded):
    model, x = loaded
    model, x = model.double(), x.double()
    along = batch(x.shape, torch.float64, seed=1)

    def total(x):
        return model(x).square().sum()

    _, forward = jvp(total, (x,), (along,))
    assert_close(forward, (grad(total)(x) * along).sum())


def test_a_reentrant_checkpoint_has_no_gradient_of_activity_terms():
    """It computes without gradients first; torch advises against it."""
    layer, x = (
        Conv2D(4, (2, 3), activity_regularizer="l2", input_shape=(5, 6, 3)),
        batch((2, 5, 6, 3)),
    )
    for reentrant in (False, True):
        checkpoint(layer, x.requires_grad_(), use_reentrant=reentrant)
        assert regularization_loss(layer).requires_grad is not reentrant


def test_averages_are_projected_at_once():
    """Averages of kernels of norm 1 are shorter."""
    layer = Conv2D(4, (2, 3), kernel_constraint="unit_norm", input_shape=(5, 6, 3))
    average = AveragedModel(layer)
    for _ in range(2):
        layer.reset_parameters()
        apply_constraints(layer)
        average.update_parameters(layer)
    kernel = average.module.kernel
    ones = torch.ones(kernel.shape[1:])
    assert (torch.linalg.vector_norm(kernel, dim=0) - ones).abs().max() > 0.01
    apply_constraints(average)
    assert_close(torch.linalg.vector_norm(kernel, dim=0), ones, rtol=1e-5, atol=1e-5)


# Layers where a tool builds or parametrizes them


@pytest.mark.parametrize(
    ("cls", "arguments", "shape"),
    [
        (Dense, {"units": 4}, (5,)),
        (BatchNormalization, {}, (4, 5, 3)),
        (Conv2D, {"filters": 5, "kernel_size": (2, 3)}, (7, 5, 4)),
    ],
    ids=["dense", "norm", "conv"],
)
def test_skip_init(cls, arguments, shape):
    layer = skip_init(cls, **arguments, input_shape=shape)
    built = cls(**arguments, input_shape=shape)
    described = [[(n, v.shape, v.stride(), v.device.type) for n, v in each.state_dict().items()]
                 for each in (layer, built)]  # fmt: skip
    assert layer.built and described[0] == described[1]


@pytest.mark.parametrize("norm", ["spectral_norm", "orthogonal"])
@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_parametrizations_are_those_of_torch_s_layers(norm, kind):
    native = nn.Linear(5, 4) if kind == "dense" else nn.Conv2d(3, 4, (2, 3))
    shape = (5,) if isinstance(native, nn.Linear) else (5, 6, 3)
    layer = Dense(4, input_shape=shape) if len(shape) == 1 else Conv2D(4, (2, 3), input_shape=shape)
    layer.load_state_dict(native.state_dict())
    for each in (layer, native):
        torch.manual_seed(0)
        getattr(parametrizations, norm)(each.eval() if norm == "spectral_norm" else each)
    assert_close(layer.weight, native.weight)
    x = batch((2, *shape))
    moved = native(x if len(shape) == 1 else x.permute(0, 3, 1, 2))
    outputs = moved if len(shape) == 1 else moved.permute(0, 2, 3, 1)
    assert_close(layer(x), outputs)
    layer(x).square().sum().backward()
    outputs.square().sum().backward()
    assert_close([p.grad for p in layer.parameters()], [p.grad for p in native.parameters()])
