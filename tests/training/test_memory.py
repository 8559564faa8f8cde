"""The memory of a train step, beside modules written by hand: what is allocated, not how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from kerastorch.layers import BatchNormalization, Conv2D, Dense
from tests.layers.contract import batch

SHAPE = (4, 24, 30, 8)


def peak(model: nn.Module, x: Tensor) -> int:
    """Return the most bytes that a train step holds at once, beyond what there was before."""

    def step() -> None:
        model(x).square().mean().backward()
        model.zero_grad()

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        step()
    events = run.profiler.kineto_results.events()
    memory = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    held = most = 0
    for event in memory:
        held += event.nbytes()
        most = max(most, held)
    assert memory
    return most


class ByHand(nn.Module):
    """A torch layer for channels_last batches, as one writes it by hand."""

    def __init__(self, layer: nn.Module, act: Callable[[Tensor], Tensor], sides: list[int]) -> None:
        super().__init__()
        self.layer = layer.to(memory_format=torch.channels_last)
        self.act = act
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            x = x.permute(0, 3, 1, 2)
        if self.sides:
            x = F.pad(x, self.sides)
        y = self.act(self.layer(x))
        return y.permute(0, 2, 3, 1) if y.ndim == 4 else y


def itself(x: Tensor) -> Tensor:
    return x


# name -> Conv2D's arguments, nn.Conv2d's arguments, how the activation and padding are written
CONVOLUTIONS = {
    "valid": ({}, {}, itself, []),
    "relu": ({"activation": "relu", "padding": "same"}, {"padding": 1}, torch.relu_, []),
    "tanh": ({"activation": "tanh"}, {}, torch.tanh_, []),
    "silu": ({"activation": "silu"}, {}, F.silu, []),
    "strided": (
        {"activation": "relu", "padding": "same", "strides": 2}, {"stride": 2}, torch.relu_,
        [0, 1, 0, 1],
    ),
    "depthwise": (
        {"groups": 8, "padding": "same", "strides": 2}, {"groups": 8, "stride": 2}, itself,
        [0, 1, 0, 1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_takes_no_more_than_one_by_hand(name):
    arguments, native, act, sides = CONVOLUTIONS[name]
    layer = Conv2D(16, 3, input_shape=SHAPE[1:], **arguments)
    by_hand = ByHand(nn.Conv2d(8, 16, 3, **native), act, sides)
    by_hand.layer.load_state_dict(layer.state_dict())
    x = batch(SHAPE)
    torch.testing.assert_close(layer(x), by_hand(x))
    assert peak(layer, x) <= peak(by_hand, x)


def test_other_layers_take_no_more_than_those_by_hand():
    x = batch((64, 40))
    by_hand = ByHand(nn.Linear(40, 50), torch.relu_, [])
    assert peak(Dense(50, activation="relu", input_shape=(40,)), x) <= peak(by_hand, x)
    x = batch(SHAPE)
    two = 2 * 8 * x.element_size()  # the moving statistics from before the step
    assert peak(BatchNormalization(input_shape=SHAPE[1:]), x) <= two + peak(
        ByHand(nn.BatchNorm2d(8), itself, []), x
    )


def test_an_activity_term_is_not_kept_beyond_its_step():
    layer = Conv2D(16, 3, activity_regularizer="l2", input_shape=SHAPE[1:])
    x = batch(SHAPE)
    assert len({peak(layer, x) for _ in range(3)}) == 1


def test_the_measure_tells():
    class Copying(Conv2D):
        def forward(self, inputs):
            return super().forward(inputs.clone())

    x = batch(SHAPE)
    plain, copying = (cls(16, 3, input_shape=SHAPE[1:]) for cls in (Conv2D, Copying))
    assert peak(copying, x) >= peak(plain, x) + x.numel() * x.element_size()
