"""Two processes, plain torch: DistributedDataParallel and `fully_shard` train as one process."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from kerastorch import apply_constraints, attach_constraints, regularization_loss
from kerastorch.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from kerastorch.layers import Conv2D, Dense
from tests.training.sharded import (
    FILTER,
    OPTIMIZERS,
    SHAPE,
    WRAPPERS,
    assert_same,
    at_root,
    batches,
    built,
    calls_sharded,
    centered,
    centered_in_place,
    sharded,
    share,
    whole,
)
from tests.training.two_processes import RANKS, Pair


def steps(model: nn.Module, make: Callable[..., Any], data: Any) -> Iterator[tuple[float, Any]]:
    """Train, and yield each step's loss and the weights after it."""
    optimizer = make(model.parameters())
    attach_constraints(optimizer, model)
    for inputs, targets in data:
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean() + regularization_loss(model)
        loss.backward()
        optimizer.step()
        yield loss.item(), [whole(parameter) for parameter in model.parameters()]


def trains_as_one_process(wrapper: str, optimizer: str) -> None:
    model = built(contiguous="channels_last" not in wrapper)
    twin = copy.deepcopy(model)
    wrapped = WRAPPERS[wrapper](model)
    data = batches(6)
    start = [p.detach().clone() for p in twin.parameters()]
    expected = steps(twin, OPTIMIZERS[optimizer], data)
    shares = [(share(inputs), share(targets)) for inputs, targets in data]
    count = 0
    for (loss, weights), (right_loss, right) in zip(
        steps(wrapped, OPTIMIZERS[optimizer], shares), expected, strict=True
    ):
        assert_same(weights, right)
        losses = torch.tensor(loss)
        distributed.all_reduce(losses)
        assert_same(losses.item() / RANKS, right_loss)
        count += 1
    assert count == 6
    assert not any(torch.equal(a, b) for a, b in zip(start, weights, strict=True))


@pytest.mark.parametrize(
    "wrapper, optimizer",
    [
        pytest.param(wrapper, optimizer, marks=() if "ddp" in wrapper else calls_sharded)
        for wrapper in WRAPPERS
        for optimizer in OPTIMIZERS
        if optimizer != "adam-fused" or wrapper in ("ddp", "fully_shard")
    ],
)
def test_each_step_leaves_the_weights_of_one_process(pair, wrapper, optimizer):
    pair.run(trains_as_one_process, wrapper, optimizer)


@pytest.mark.parametrize("wrong, message", [("raises", "(?s)Rank 1: .*ZeroD"), ("hangs", "hangs")])
def test_the_pair_tells(wrong, message):
    with Pair() as pair:
        pair.run(distributed.barrier)
        pair.timeout = 2
        with pytest.raises(AssertionError, match=message):
            pair.run(goes_wrong, wrong)


def goes_wrong(how: str) -> None:
    if distributed.get_rank() == 1:
        if how == "raises":
            raise ZeroDivisionError
        time.sleep(1000)
    distributed.barrier()


# The terms of the loss


CALLED = ("forward", "evaluation")


def a_sharded_loss_is_that_of_one_process(state: str) -> None:
    model = built()
    twin = copy.deepcopy(model)
    inputs, _ = batches(1)[0]
    wrapped = sharded(model)
    if state == "after forward":
        wrapped(inputs)
        twin(inputs)
        assert type(wrapped[-1].weight) is nn.Parameter  # gathered: FSDP leaves it to the backward
    elif state == "after evaluation":
        with torch.no_grad():
            wrapped(inputs)
            twin(inputs)
    for factor in (1, 3):
        found = regularization_loss(wrapped)
        expected = regularization_loss(twin)
        assert type(found) is Tensor
        assert_same(found, expected)
        if state == "before":
            (factor * found).backward()
            (factor * expected).backward()
    for name, parameter in twin.named_parameters():
        if parameter.grad is not None:
            assert_same(whole(wrapped.get_parameter(name).grad), parameter.grad)
    assert sum(p.grad is not None for p in wrapped.parameters()) == (8 if state == "before" else 0)


STATES = ["before", *(pytest.param(f"after {s}", marks=calls_sharded) for s in CALLED)]


@pytest.mark.parametrize("state", STATES)
def test_a_sharded_loss_is_that_of_one_process(pair, state):
    pair.run(a_sharded_loss_is_that_of_one_process, state)


def gathered_weights_have_no_part_in_the_loss_of_the_next_forward() -> None:
    model = built()
    twin = copy.deepcopy(model)
    wrapped = sharded(model, reshard_after_forward=False)
    inputs, _ = batches(1)[0]
    with torch.no_grad():
        wrapped(inputs)  # leaves every weight gathered
        twin(inputs)
    for each in (wrapped, twin):
        loss = regularization_loss(each)
        (loss + each(inputs).square().mean()).backward()
    for name, parameter in twin.named_parameters():
        assert_same(whole(wrapped.get_parameter(name).grad), parameter.grad)


@calls_sharded
def test_gathered_weights_have_no_part_in_the_loss_of_the_next_forward(pair):
    pair.run(gathered_weights_have_no_part_in_the_loss_of_the_next_forward)


# Constraints

CONSTRAINTS = {
    "max_norm": MaxNorm(0.5, axis=FILTER),
    "max_norm of all": MaxNorm(0.5, axis=None),
    "max_norm over filters": MaxNorm(0.5, axis=-1),
    "max_norm of numbers": MaxNorm(0.5, axis=[]),
    "min_max_norm": MinMaxNorm(0.5, 0.75, rate=0.25, axis=FILTER),
    "min_max_norm over all axes": MinMaxNorm(0.5, 0.75, axis=[*FILTER, 3]),
    "unit_norm": UnitNorm(axis=FILTER),
    "unit_norm over filters": UnitNorm(axis=(2, 3)),
    "non_neg": NonNeg(),
    "own": centered,
    "own, in place": centered_in_place,
}


def a_projection_is_that_of_one_process(constraint: Any, filters: int, state: str) -> None:
    layer = Conv2D(filters, 3, kernel_constraint=constraint, bias_constraint=centered)
    layer.build((None, *SHAPE))
    model = nn.Sequential(layer.to(memory_format=torch.contiguous_format))
    twin = copy.deepcopy(model)
    wrapped = at_root(model)
    if state == "gathered":
        with torch.no_grad():
            wrapped(torch.zeros(1, *SHAPE))
        assert type(wrapped[0].weight) is nn.Parameter
    apply_constraints(wrapped)
    weight = wrapped[0].weight
    before = twin[0].weight.detach().clone()
    apply_constraints(twin)
    assert_same(whole(weight), twin[0].weight.detach())
    assert not torch.equal(before, twin[0].weight)
    assert_same(whole(wrapped[0].bias), twin[0].bias.detach())
    if state == "gathered":
        assert_same(wrapped(torch.ones(1, *SHAPE)), twin(torch.ones(1, *SHAPE)))


@pytest.mark.parametrize(
    "filters, state",
    [
        (4, "sharded"),
        pytest.param(3, "gathered", marks=calls_sharded),
        (3, "sharded"),
        (1, "sharded"),
    ],
)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_projection_is_that_of_one_process(pair, constraint, filters, state):
    pair.run(a_projection_is_that_of_one_process, CONSTRAINTS[constraint], filters, state)


def a_result_of_another_shape_is_refused() -> None:
    model = at_root(nn.Sequential(Dense(3, kernel_constraint=first_rows, input_shape=(4,))))
    before = whole(model[0].weight)
    with pytest.raises(ValueError, match=r"^Dense: `kernel_constraint` must be a callable that"):
        apply_constraints(model)
    assert torch.equal(before, whole(model[0].weight))


def first_rows(w: Tensor) -> Tensor:
    return w[:1]


def test_a_result_of_another_shape_is_refused(pair):
    pair.run(a_result_of_another_shape_is_refused)


def a_scaler_skips_a_sharded_step() -> None:
    for infinite in (True, False):
        model = built()
        twin = copy.deepcopy(model)
        wrapped = sharded(model)
        inputs, targets = batches(1)[0]
        found = []
        for each, (x, y) in ((wrapped, (share(inputs), share(targets))), (twin, (inputs, targets))):
            optimizer = OPTIMIZERS["adam-fused"](each.parameters())
            attach_constraints(optimizer, each)
            scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
            scaler.scale((each(x) - y).square().mean() + regularization_loss(each)).backward()
            if infinite:
                bias: Any = each[0].bias.grad
                (bias.to_local() if hasattr(bias, "to_local") else bias)[0] = torch.inf
            scaler.step(optimizer)
            found.append([whole(parameter) for parameter in each.parameters()])
        assert_same(*found)
        start = [parameter.detach() for parameter in built().parameters()]
        assert all(map(torch.equal, found[0], start)) is infinite


@calls_sharded
def test_a_scaler_skips_a_sharded_step(pair):
    pair.run(a_scaler_skips_a_sharded_step)
