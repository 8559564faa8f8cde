"""Optimizers with constraints over many steps and after copies and files."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import pytest
from torch import Tensor

from kerastorch import attach_constraints, regularization_loss
from tests.layers.contract import saved_and_loaded
from tests.training.test_training import INPUTS, OPTIMIZERS, Counting, Tree, conv, counts, sgd, step

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
