"""Tools that count operations and parameters count the same of a layer as of PyTorch's own."""

from __future__ import annotations

from math import prod

import pytest
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kerastorch.layers import Conv2D, Dense
from tests.torch_tools.exporting import WARNINGS

SHAPE = (2, 9, 12, 4)
# name -> Conv2D's arguments, and the output's height and width
CONVOLUTIONS = {
    "valid": ({"strides": (2, 3)}, (4, 4)),
    "dilated": ({"dilation_rate": (1, 3)}, (8, 6)),
    "same": ({"padding": "same"}, (9, 12)),
    "same-strided": ({"padding": "same", "strides": (2, 3)}, (5, 4)),
    "same-grouped": ({"padding": "same", "strides": (2, 3), "groups": 2}, (5, 4)),
    "first": ({"padding": "same", "strides": (2, 3), "data_format": "channels_first"}, (5, 4)),
}


def conv2d(name):
    """Return a layer, an input, and the multiplications by hand: one for each kernel and place."""
    arguments, places = CONVOLUTIONS[name]
    layer = Conv2D(6, (2, 3), **arguments)
    x = torch.randn(SHAPE)
    x = x.permute(0, 3, 1, 2) if name == "first" else x
    layer.build(x.shape)
    by_hand = SHAPE[0] * prod(places) * 6 * (2 * 3 * SHAPE[3] // arguments.get("groups", 1))
    return layer, x, by_hand


def dense():
    layer = Dense(5, input_shape=(9, 12, 4))
    return layer, torch.randn(SHAPE), prod(SHAPE) * 5


def counted_by_torch(module, x) -> int:
    """Return the multiplications that `torch.utils.flop_counter` sees: it counts additions, too."""
    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops() // 2


def counted_by_fvcore(module, x) -> int:
    from fvcore.nn import FlopCountAnalysis  # warns as it is imported

    return FlopCountAnalysis(module.eval(), x).unsupported_ops_warnings(False).total()


@pytest.mark.filterwarnings(*WARNINGS)
@pytest.mark.parametrize("count", [counted_by_torch, counted_by_fvcore])
class TestCounts:
    @pytest.mark.parametrize("name", CONVOLUTIONS)
    def test_of_a_convolution(self, count, name):
        layer, x, by_hand = conv2d(name)
        assert count(layer, x) == by_hand
        native = layer.to_torch(input_size=SHAPE[1:3])
        assert count(native, x if name == "first" else x.permute(0, 3, 1, 2)) == by_hand

    def test_of_a_product(self, count):
        layer, x, by_hand = dense()
        assert count(layer, x) == by_hand == count(nn.Linear(4, 5), x)


@pytest.mark.parametrize("name", [*CONVOLUTIONS, "dense"])
def test_torchinfo(name):
    layer, x, by_hand = dense() if name == "dense" else conv2d(name)
    found = torchinfo.summary(layer, input_data=x, verbose=0)
    assert found.total_params == found.trainable_params == layer.count_params()
    assert found.summary_list[0].output_size == list(layer.compute_output_shape(x.shape))
    if name == "first":  # of any convolution, torchinfo takes axis 1 for the channels
        biases = prod(layer.compute_output_shape(x.shape))
        assert found.total_mult_adds == by_hand + biases
