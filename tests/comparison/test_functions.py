"""The function of a layer, in which compare looks for mistakes, computes what the layer does."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from kerastorch import activations
from kerastorch._comparison.attempts import get_function
from kerastorch._comparison.difference import list_input_layouts, list_output_layouts
from tests.layers.case import LayerCase, each_case, every_case

EVERY = every_case()
KNOWN = {"kernel_size", "pool_size", "units", "epsilon"}  # arguments of which mistakes are known
UNKNOWN = {
    *("LocallyConnected1D", "LocallyConnected2D", "MaxoutDense", "RandomGaussianBlur"),
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "SimpleRNN"),
}


def has_function(case: LayerCase) -> bool:
    layer = case.built()
    return layer._as_function() is not None


def assert_computes(function, x, expected, finish=activations.linear):
    for given in list_input_layouts(x):
        try:
            found = list_output_layouts(function(given))
        except (RuntimeError, ValueError, LookupError):  # the other layout has other channels
            continue
        for y in found:
            if y.shape == expected.shape and torch.allclose(finish(y), expected, 1e-4, 1e-5):
                return
    pytest.fail(f"{function} computes something else")


@torch.no_grad()
@each_case([case for case in EVERY if has_function(case)])
def test_a_layer_with_other_weights(case: LayerCase) -> None:
    layer = case.built().eval()
    generator = np.random.default_rng(0)
    layer.set_weights([generator.uniform(0.5, 1.5, v.value.shape) for v in layer.variables])
    x = case.inputs()
    activation = getattr(layer, "activation", activations.linear)
    assert_computes(layer._as_function(), x, layer(x), activation)


def test_every_layer_with_a_known_mistake_has_a_function() -> None:
    found = {case.name for case in EVERY if has_function(case)}
    wanted = {case.name for case in EVERY if KNOWN & set(inspect.signature(case.layer).parameters)}
    assert wanted - found == UNKNOWN


@torch.no_grad()
@pytest.mark.parametrize(
    "module, shape",
    [
        (nn.Conv1d(4, 6, 3, 2, padding=1, groups=2), (2, 4, 9)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 4, 9, 8)),
        (nn.Conv3d(4, 6, 2, padding="valid", bias=False), (2, 4, 5, 4, 3)),
        (nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1), (2, 4, 5, 4)),
        (nn.Linear(4, 3), (2, 5, 4)),
        (nn.BatchNorm2d(4).eval(), (2, 4, 3, 5)),
        (nn.BatchNorm1d(4, affine=False, track_running_stats=False), (2, 4, 3)),
        (nn.LayerNorm((3, 5)), (2, 4, 3, 5)),
        (nn.LayerNorm(5, elementwise_affine=False), (2, 4, 5)),
        (nn.GroupNorm(2, 4, affine=False), (2, 4, 3, 5)),
        (nn.RMSNorm(5), (2, 4, 5)),
        (nn.MaxPool2d(3, 2, 1), (2, 4, 9, 8)),
        (nn.AvgPool3d(2), (2, 4, 5, 4, 3)),
        (nn.Sequential(nn.ReLU(inplace=True), nn.Conv1d(4, 2, 3)), (2, 4, 9)),
    ],
    ids=str,
)
def test_a_module_of_torch(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    function = get_function(module)
    assert function is not None
    expected = module(x.clone())
    before = x.clone()
    assert torch.allclose(function(x), expected, 1e-4, 1e-5)
    assert torch.equal(x, before)


def test_what_has_no_function() -> None:
    assert get_function(nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")) is None
    assert get_function(nn.LSTM(2, 2)) is None
    assert get_function(nn.Sequential(*(nn.ReLU() for _ in range(9)))) is None  # a whole model
