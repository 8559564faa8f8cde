"""Values and gradients in all ranks compared with the oracle, and the ways of padding "same"."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch._core.layout import weight_to_kernel
from kerastorch._ops import convolution as convolution_module
from kerastorch._ops import convolution_cpu as choices
from kerastorch.layers import Conv2D
from tests.layers.case import batch
from tests.layers.convolution.oracle import convolve
from tests.layers.convolution.rows import EACH, ROWS, channels_of, geometry, is_channels_first, make

F64 = torch.float64


def from_oracle(case, layer, x):
    """Return what the oracle says that a layer returns for an input in the layer's layout."""
    x = x.detach().cpu().double()
    last = np.moveaxis(x.numpy(), 1, -1) if is_channels_first(case) else x.numpy()
    kernel, *bias = (array.astype(np.float64) for array in layer.get_weights())
    y = convolve(last, kernel, *bias, **geometry(case))
    return torch.from_numpy(np.moveaxis(y, -1, 1) if is_channels_first(case) else y)


def test_the_oracle_knows_what_was_worked_out_by_hand():
    x = np.array([1.0, 2, 3, 4, 5]).reshape(1, 5, 1)
    kernel = np.array([1.0, 10]).reshape(2, 1, 1)
    one = {"strides": (1,), "dilation": (1,)}
    for expected, options in [
        ([21, 32, 43, 54], one),
        ([21, 32, 43, 54, 5], {**one, "padding": "same"}),
        ([21, 43, 5], {**one, "padding": "same", "strides": (2,)}),
        ([31, 42, 53], {**one, "dilation": (2,)}),
        ([10, 21, 32, 43, 54], {**one, "padding": "causal"}),
        ([10, 32, 54], {**one, "padding": "causal", "strides": (2,)}),
        ([10, 20, 31, 42, 53], {**one, "padding": "causal", "dilation": (2,)}),
        ([20, 31, 42, 53, 4], {**one, "padding": "same", "dilation": (2,)}),
    ]:
        assert convolve(x, kernel, **options).ravel().tolist() == expected
    pixel = np.array([1.0, 2, 3, 4]).reshape(1, 1, 1, 4)
    kernel = np.array([[1.0, 2, 3, 4], [10, 20, 30, 40]]).reshape(1, 1, 2, 4)
    y = convolve(pixel, kernel, np.array([0, 0, 0, 5]), groups=2)
    assert y.ravel().tolist() == [21, 42, 129, 177]


@EACH
def test_outputs_are_the_oracle_s_at_every_size(case, device):
    layer = make(case, dtype="float64", device=device)
    for shape in (case.shape, *case.others, case.shape):
        x = batch(shape, F64)
        for mode in (torch.enable_grad, torch.no_grad):
            with mode():
                y = layer(x.to(device))
            assert_close(y.detach().cpu(), from_oracle(case, layer, x))
            assert y.shape == layer.compute_output_shape(shape)


def test_the_comparison_with_the_oracle_can_fail():
    case = ROWS["same-grouped-strided"]
    layer, x = make(case, dtype="float64"), batch(case.shape, F64)
    y = layer(x)
    for wrong in ({"strides": (1, 1)}, {"strides": (2, 1), "kernel_size": (3, 3)}):
        other = replace(case, arguments={**case.arguments, **wrong})
        with pytest.raises(AssertionError):
            assert_close(y, from_oracle(other, layer, x))
    with torch.no_grad():
        layer.bias[0] += 1e-3
    with pytest.raises(AssertionError):
        assert_close(y, from_oracle(case, layer, x))


@EACH
def test_gradients_are_the_oracle_s(case, device):
    """A convolution is linear in each argument, so the oracle gives its derivatives exactly."""
    layer = make(case, dtype="float64", device=device)
    x = batch(case.shape, F64).to(device).requires_grad_()
    y = layer(x)
    along = batch(y.shape, F64, seed=1)
    y.backward(along.to(device))
    dx, dkernel = batch(x.shape, F64, seed=2), batch(layer.kernel.shape, F64, seed=3)
    if layer.bias is not None:
        axes = {*range(x.ndim)} - {1 if is_channels_first(case) else x.ndim - 1}
        assert_close(layer.bias.grad.cpu(), along.sum(tuple(axes)))
        layer.bias.detach().zero_()
    expected = (from_oracle(case, layer, dx) * along).sum()
    assert_close((x.grad.cpu() * dx).sum(), expected)
    grad = weight_to_kernel(layer.weight.grad).cpu()
    layer.kernel.detach().copy_(dkernel)
    assert_close((grad * dkernel).sum(), (from_oracle(case, layer, x) * along).sum())


# The four ways to pad "same"


class Spy:
    """Counts what `convolve_same` does: its own calls and what it pads."""

    def __init__(self, monkeypatch):
        self.padded, self.calls, self.cuts = [], 0, 0
        same, pad = convolution_module.convolve_same, convolution_module.F.pad

        def counted(*args):
            self.calls += 1
            y, fresh = same(*args)
            self.cuts += not fresh
            return y, fresh

        def padded(x, amounts):
            self.padded.append(x)
            return pad(x, amounts)

        monkeypatch.setattr(choices, "convolve_same", counted)
        monkeypatch.setattr(convolution_module, "F", SimpleNamespace(pad=padded))

    def way(self, layer, x):
        self.padded, self.calls, self.cuts = [], 0, 0
        layer(x)
        if not self.calls:
            return "constant"
        if self.cuts:
            return "cut out"
        return "input" if self.padded else "even"


# name -> size of the input, way with gradients, way without
WAYS = {
    "valid": ((7, 5), "constant", "constant"),
    "strided": ((7, 5), "constant", "constant"),
    "same-odd": ((7, 5), "constant", "constant"),
    "same-dilated-odd": ((7, 6), "constant", "constant"),
    "same-even": ((7, 5), "input", "input"),
    "same-strided": ((8, 9), "input", "input"),
    "same-strided, even here": ((7, 8), "even", "even"),
    "same-depthwise-strided, even here": ((7, 6), "even", "even"),
    "same-depthwise-strided": ((8, 6), "input", "cut out"),
    "same-grouped": ((5, 6), "input", "cut out"),
    "same-grouped-strided": ((6, 7), "input", "cut out"),
    "same-grouped-dilated": ((6, 7), "input", "cut out"),
    "first-same-grouped-strided": ((6, 7), "input", "cut out"),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_that_same_is_padded(name, monkeypatch):
    case, (size, with_gradients, without) = ROWS[name.partition(",")[0]], WAYS[name]
    channels = (channels_of(case),)
    x = batch((2, *channels, *size) if is_channels_first(case) else (2, *size, *channels), F64)
    spy = Spy(monkeypatch)
    layer = make(case, dtype="float64")
    layer.build(x.shape)
    assert spy.way(layer, x) == with_gradients
    trained = layer(x)
    with torch.no_grad():
        assert spy.way(layer, x) == without
        assert_close(layer(x), trained)
    assert_close(trained, from_oracle(case, layer, x))


@pytest.mark.parametrize("activation", [None, "relu", "silu", "softmax", torch.sin])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_outputs_are_whole_tensors(padding, activation):
    layer = Conv2D(6, 3, strides=2, padding=padding, groups=3, activation=activation)
    x = batch((2, 8, 6, 3))
    with torch.no_grad():
        outputs = layer(x)
    assert outputs.is_contiguous()
    assert_close(outputs, layer(x).detach())


def test_a_value_that_is_not_finite_reaches_its_own_windows_only():
    layer = Conv2D(3, 3, strides=2, padding="same", groups=3, kernel_initializer="ones")
    x = batch((1, 8, 6, 3))
    x[0, 3, 2, 1] = torch.inf
    with torch.no_grad():
        found = layer(x)
    assert torch.equal(found.isfinite(), layer(x).isfinite())
    assert (~found.isfinite()).sum() == 2  # row 3 is in one window, column 2 in two
