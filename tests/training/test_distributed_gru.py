"""A GRU's weights, which are computed from its parameters, sharded over two processes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from kerastorch import attach_constraints, regularization_loss
from kerastorch.constraints import MaxNorm
from kerastorch.layers import GRU
from tests.training.sharded import assert_same, calls_sharded, centered, largest, sharded, whole

RULES = {
    "kernel_regularizer": "l2",
    "recurrent_regularizer": largest,
    "bias_regularizer": "l1",
    "kernel_constraint": MaxNorm(0.3, axis=0),
    "bias_constraint": centered,
}


def trains_as_one_process() -> None:
    torch.manual_seed(0)
    layer = GRU(5, bias_initializer="uniform", input_shape=(4, 3), **RULES)
    twin, x = nn.Sequential(copy.deepcopy(layer)), torch.randn(2, 4, 3)
    model = sharded(nn.Sequential(layer))
    for one in (model, twin):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.5)
        attach_constraints(optimizer, one)
        for _ in range(3):
            optimizer.zero_grad()
            loss = one(x).clone().square().mean() + regularization_loss(one)
            loss.backward()
            optimizer.step()
    for own, expected in zip(model.parameters(), twin.parameters(), strict=True):
        assert_same(whole(own), expected.detach())
    model[0].set_weights([0.5 * array for array in twin[0].get_weights()])
    for own, expected in zip(model.parameters(), twin.parameters(), strict=True):
        assert_same(whole(own), 0.5 * expected.detach())


@calls_sharded
def test_training_leaves_the_weights_of_one_process(pair):
    pair.run(trains_as_one_process)
