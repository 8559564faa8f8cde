"""Fused optimizers where gradients or state have another memory order than the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from kerastorch import attach_constraints
from kerastorch._ops.fused_optimizers import match_strides
from kerastorch.layers import Conv2D, Dense, Flatten
from tests.layers.contract import batch

SHAPE = (7, 6, 3)
INPUTS = batch((4, *SHAPE))
Make = Callable[..., torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p, **k: torch.optim.SGD(p, lr=0.05, momentum=0.9, **k),
    "adam": lambda p, **k: torch.optim.Adam(p, lr=0.01, **k),
    "adam-amsgrad": lambda p, **k: torch.optim.Adam(p, lr=0.01, amsgrad=True, **k),
    "adamw-amsgrad": lambda p, **k: torch.optim.AdamW(p, lr=0.01, amsgrad=True, **k),
    "adagrad": lambda p, **k: torch.optim.Adagrad(p, lr=0.05, **k),
}


def network() -> nn.Sequential:
    layers = [Conv2D(8, (2, 3), input_shape=SHAPE), Conv2D(5, 1), Flatten(), Dense(3)]
    model = nn.Sequential(*layers)
    model(INPUTS)
    return model


def native() -> nn.Sequential:
    """Return the network of torch's own layers, whose weights are contiguous."""
    torch.manual_seed(0)
    convs = (nn.Conv2d(3, 8, (2, 3)), nn.Conv2d(8, 5, 1))
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(5 * 6 * 4, 3))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    first = next(model.children())
    x = INPUTS.permute(0, 3, 1, 2) if type(first) is nn.Conv2d else INPUTS
    model(x).square().mean().backward()
    optimizer.step()


def trained(make: Make) -> tuple[dict, dict]:
    """Return the state of a network of torch's layers and of its optimizer after three steps."""
    model = native()
    optimizer = make(model.parameters())
    for _ in range(3):
        step(model, optimizer)
    return model.state_dict(), optimizer.state_dict()


# Ways to tensors of another memory order. Each returns the optimizer to go on with.


def load_state(model, optimizer, make):
    weights, state = copy.deepcopy(trained(make))
    model.load_state_dict(weights)
    for group in state["param_groups"]:  # the state_dict says, too, whether the step is fused
        group["fused"] = optimizer.param_groups[0]["fused"]
    optimizer.load_state_dict(state)
    return optimizer


def convert(model, optimizer, make):
    model.to(memory_format=torch.contiguous_format)
    return optimizer


def assign(model, optimizer, make):
    contiguous = {name: p.detach().contiguous() for name, p in model.state_dict().items()}
    model.load_state_dict(contiguous, assign=True)
    other = make(model.parameters())
    other.load_state_dict(optimizer.state_dict())
    return other


def set_gradients(model, optimizer, make):
    def contiguous(parameter):
        parameter.grad = parameter.grad.contiguous()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(contiguous)
    return optimizer


WAYS = {"state": load_state, "order": convert, "assigned": assign, "gradients": set_gradients}


def weights_after(way, make: Make, fused: bool, *, attach: bool) -> list[torch.Tensor]:
    model = network()
    model.load_state_dict(native().state_dict())
    optimizer = make(model.parameters(), fused=fused)
    for _ in range(2):
        step(model, optimizer)
    optimizer = way(model, optimizer, make)
    if attach:
        attach_constraints(optimizer, model)
    for _ in range(4):
        step(model, optimizer)
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_fused_steps_are_those_of_plain_ones(way, make):
    expected = weights_after(way, make, fused=False, attach=False)
    found = weights_after(way, make, fused=True, attach=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_torch_s_fused_step_alone_is_wrong(way):
    """Once it is right, `match_strides` can go."""
    make = OPTIMIZERS["adam"]
    expected = weights_after(way, make, fused=False, attach=False)
    found = weights_after(way, make, fused=True, attach=False)
    assert max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True)) > 1e-3


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("way", [load_state, convert, assign])
def test_without_constraints_two_lines_do_for_the_state(way, make):
    def mended(model, optimizer, make):
        optimizer = way(model, optimizer, make)
        for weight, state in optimizer.state.items():
            like = {k: torch.empty_like(weight).copy_(v) for k, v in state.items() if k != "step"}
            state.update(like)
        return optimizer

    expected = weights_after(way, make, fused=False, attach=False)
    found = weights_after(mended, make, fused=True, attach=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_gradients_and_state_in_order_stay_the_same_tensors():
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters(), fused=True)
    step(model, optimizer)
    pointwise = model[1].weight  # its strides may differ along the sizes of 1
    pointwise.grad = pointwise.grad.contiguous()

    def tensors():
        state = [value for one in optimizer.state.values() for value in one.values()]
        return [id(tensor) for tensor in (*state, *(p.grad for p in model.parameters()))]

    before = tensors()
    match_strides(optimizer)
    assert tensors() == before


def test_optimizers_that_are_not_fused_are_left_alone():
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    step(model, optimizer)
    contiguous = model[0].weight.grad.contiguous()
    model[0].weight.grad = contiguous
    match_strides(optimizer)
    assert model[0].weight.grad is contiguous
