"""What cannot be projected after a step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations, prune

from kerastorch import apply_constraints, attach_constraints
from tests.training.test_training import SHAPE, Tree, conv, sgd, step


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
