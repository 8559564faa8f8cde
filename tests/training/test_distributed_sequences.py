"""Two processes train recurrent layers and attention by DistributedDataParallel as one does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from kerastorch import attach_constraints, regularization_loss
from kerastorch.constraints import MaxNorm
from kerastorch.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Embedding,
    MultiHeadAttention,
    SimpleRNN,
)
from tests.training.sharded import OPTIMIZERS, assert_same, share
from tests.training.two_processes import RANKS

WORDS, STEPS, BATCH = 9, 5, 4
LENGTHS = torch.tensor([5, 3, 0, 4])  # each process has others

RULES: dict[str, Any] = {
    "recurrent_regularizer": "l2",
    "recurrent_constraint": MaxNorm(0.5),
    "bias_initializer": "uniform",
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: LSTM(3, **RULES),
    "LSTM with relu": lambda: LSTM(3, activation="relu", activity_regularizer="l2", **RULES),
    "GRU": lambda: GRU(3, **RULES),
    "GRU that resets before": lambda: GRU(3, reset_after=False, **RULES),
    "SimpleRNN": lambda: SimpleRNN(3, **RULES),
    "Bidirectional": lambda: Bidirectional(LSTM(3, **RULES)),
    "MultiHeadAttention": lambda: MultiHeadAttention(
        2, 3, kernel_regularizer="l2", kernel_constraint=MaxNorm(0.7)
    ),
    # A rate that drops nothing, but has the weights of the keys computed by themselves
    "MultiHeadAttention with dropout": lambda: MultiHeadAttention(2, 3, dropout=1e-9),
}


class Classifier(nn.Module):
    """An embedding, a layer that takes its mask, and a readout."""

    def __init__(self, layer: nn.Module, masked: bool) -> None:
        super().__init__()
        self.embedding = Embedding(WORDS, 4, mask_zero=masked)
        self.layer, self.readout = layer, Dense(2)

    def forward(self, ids: Tensor) -> Tensor:
        x, mask = self.embedding(ids), self.embedding.compute_mask(ids)
        if isinstance(self.layer, MultiHeadAttention):
            h = self.layer(x, x, key_mask=mask).mean(1)
        else:
            h = self.layer(x, mask=mask)
        return self.readout(h)


def make_batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, WORDS, (BATCH, STEPS), generator=generator)
    ids[torch.arange(STEPS) >= LENGTHS[:, None]] = 0
    return ids, torch.randn(BATCH, 2, generator=generator)


def train_step(model: nn.Module, optimizer: Any, ids: Tensor, wanted: Tensor) -> None:
    optimizer.zero_grad()
    ((model(ids) - wanted).square().mean() + regularization_loss(model)).backward()
    optimizer.step()


def trains_as_one_process(name: str, masked: bool) -> None:
    model = Classifier(LAYERS[name](), masked)
    model(make_batch(0)[0])
    twin = copy.deepcopy(model)
    start = [parameter.detach().clone() for parameter in twin.parameters()]
    wrapped = DistributedDataParallel(model)
    optimizers = [OPTIMIZERS["sgd"](one.parameters()) for one in (wrapped, twin)]
    for optimizer, one in zip(optimizers, (wrapped, twin), strict=True):
        attach_constraints(optimizer, one)
    for seed in range(3):
        ids, wanted = make_batch(seed)
        train_step(wrapped, optimizers[0], share(ids), share(wanted))
        train_step(twin, optimizers[1], ids, wanted)
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            assert_same(one.grad, other.grad)
            assert_same(one.detach(), other.detach())
    trained = [one for one in twin.parameters() if one.requires_grad]
    assert not any(map(torch.equal, start, trained))


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_and_weights_are_those_of_one_process(pair, name, masked):
    pair.run(trains_as_one_process, name, masked)


def keeps_states_of_its_own() -> None:
    model = LSTM(3, stateful=True, return_sequences=True, input_shape=(None, 4))
    twin = copy.deepcopy(model)
    wrapped = DistributedDataParallel(model)
    x = torch.randn(BATCH, 2 * STEPS, 4, generator=torch.Generator().manual_seed(0))
    for part in x.chunk(2, 1):
        model.zero_grad(), twin.zero_grad()
        outputs, expected = wrapped(share(part)), twin(part)
        assert_same(outputs, share(expected))
        outputs.square().mean().backward(), expected.square().mean().backward()
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            assert_same(one.grad, other.grad)
    for one, other in zip(model.states or (), twin.states or (), strict=True):
        assert one.shape == (BATCH // RANKS, 3)
        assert_same(one, share(other))
    distributed.barrier()


def test_a_stateful_layer_keeps_the_states_of_its_part_of_the_batch(pair):
    pair.run(keeps_states_of_its_own)
