"""Conv2D: its numbers against the oracle, and its behaviour as a module."""

import inspect
import weakref
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune, skip_init
from torch.testing import assert_close

from kerastorch import (
    activations,
    apply_constraints,
    attach_constraints,
    config,
    regularization_loss,
)
from kerastorch._ops import convolution as convolution_module
from kerastorch.layers import Conv2D, Convolution2D
from kerastorch.layers.convolution import base
from tests.layers.contract import COPIES, LayerContract, Subject, batch, broken_assertions, step
from tests.layers.convolution_cases import CONV2D
from tests.layers.oracle import convolve

F64 = torch.float64
EACH = pytest.mark.parametrize("case", CONV2D, ids=lambda case: case.name)
NAMES = {case.name: case for case in CONV2D}


def make(case, **arguments):
    """Return the layer of a case, with a bias that shows."""
    return Conv2D(**{"bias_initializer": "random_normal", **case.arguments, **arguments})


def from_oracle(case, layer, x):
    """Return what the oracle says that a layer returns for an input in the layer's layout."""
    x = x.detach().cpu().double()
    last = np.moveaxis(x.numpy(), 1, -1) if case.channels_first else x.numpy()
    kernel, *bias = (array.astype(np.float64) for array in layer.get_weights())
    y = convolve(last, kernel, *bias, **case.geometry)
    return torch.from_numpy(np.moveaxis(y, -1, 1) if case.channels_first else y)


SUBJECTS = [
    Subject(
        name,
        partial(Conv2D, **NAMES[name].arguments, bias_initializer="random_normal", **arguments),
        *NAMES[name].shapes,
        NAMES[name].wrong,
    )
    for name, arguments in {
        "valid": {"activation": "relu"},
        "no-bias": {"activation": "softmax"},
        "same-strided": {"activation": "tanh"},
        "same-depthwise-strided": {"kernel_regularizer": "l2", "activity_regularizer": "l1"},
        "first-same-even": {"activation": "silu", "kernel_constraint": "max_norm"},
    }.items()
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
class TestContract(LayerContract):
    pass


class Forgetful(Conv2D):
    """Loses an argument on the way through its config."""

    def get_config(self, target=None):
        return {k: v for k, v in super().get_config(target).items() if k != "trainable"}


class Draining(Conv2D):
    """Writes to its input."""

    def forward(self, inputs):
        return super().forward(inputs.mul_(2))


class Stubborn(Conv2D):
    """Computes in single precision, whatever it is told."""

    def forward(self, inputs):
        return super().forward(inputs).float()


class Clinging(Conv2D):
    """Takes the first weights only."""

    def set_weights(self, weights):
        super().set_weights([*weights[:1], *self.get_weights()[1:]])


class Detached(Conv2D):
    """Has no gradients."""

    def forward(self, inputs):
        return super().forward(inputs).detach()


class Eager(Conv2D):
    """Is built from the start."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, input_shape=(7, 5, 3), **kwargs)


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (Forgetful, "test_config_round_trip", ()),
        (Draining, "test_a_call_leaves_its_input_alone", ()),
        (Stubborn, "test_to_another_type", (torch.float16, True)),
        (Clinging, "test_weights_round_trip", ()),
        (Clinging, "test_set_weights_takes_all_or_nothing", ()),
        (Detached, "test_a_first_call_without_gradients_leaves_a_layer_to_train", (torch.no_grad,)),
        (Eager, "test_is_lazy_until_the_first_call", ()),
        (Eager, "test_copies_before_the_build", ("deepcopy",)),
    ],
)
def test_the_contract_notices(broken, test, arguments):
    subject = SUBJECTS[0]
    faulty = replace(subject, make=partial(broken, **subject.make.keywords))
    with pytest.raises((AssertionError, RuntimeError, pytest.fail.Exception)):
        getattr(LayerContract(), test)(faulty, *arguments)


@pytest.mark.parametrize("which", broken_assertions())
def test_the_assertions_of_the_contract_can_fail(which):
    with pytest.raises(AssertionError):
        broken_assertions()[which]()


# The oracle


def test_the_oracle_knows_what_was_worked_out_by_hand():
    x = np.array([1.0, 2, 3, 4, 5]).reshape(1, 5, 1)
    kernel = np.array([1.0, 10]).reshape(2, 1, 1)
    one = {"strides": (1,), "dilation": (1,)}
    for expected, geometry in [
        ([21, 32, 43, 54], one),
        ([21, 32, 43, 54, 5], {**one, "padding": "same"}),
        ([21, 43, 5], {**one, "padding": "same", "strides": (2,)}),
        ([31, 42, 53], {**one, "dilation": (2,)}),
        ([20, 31, 42, 53, 4], {**one, "padding": "same", "dilation": (2,)}),
    ]:
        assert convolve(x, kernel, **geometry).ravel().tolist() == expected
    pixel = np.array([1.0, 2, 3, 4]).reshape(1, 1, 1, 4)
    kernel = np.array([[1.0, 2, 3, 4], [10, 20, 30, 40]]).reshape(1, 1, 2, 4)
    y = convolve(pixel, kernel, np.array([0, 0, 0, 5]), groups=2)
    assert y.ravel().tolist() == [21, 42, 129, 177]


# Numbers


@EACH
def test_outputs_are_the_oracle_s_at_every_size(case, device):
    layer = make(case, dtype="float64", device=device)
    for shape in (*case.shapes, case.shapes[0]):
        x = batch(shape, F64)
        for mode in (torch.enable_grad, torch.no_grad):
            with mode():
                y = layer(x.to(device))
            assert_close(y.detach().cpu(), from_oracle(case, layer, x))
            assert y.shape == layer.compute_output_shape(shape)


@EACH
def test_outputs_in_single_precision(case):
    layer, x = make(case), batch(case.shapes[0])
    assert_close(layer(x).double(), from_oracle(case, layer, x), rtol=1e-4, atol=1e-5)


def test_the_comparison_with_the_oracle_can_fail():
    case = NAMES["same-grouped-strided"]
    layer, x = make(case, dtype="float64"), batch(case.shapes[0], F64)
    y = layer(x)
    for other in ("same-grouped", "same-depthwise-strided"):
        geometry = {**NAMES[other].geometry, "groups": 2}
        wrong = SimpleNamespace(channels_first=False, geometry=geometry)
        with pytest.raises(AssertionError):
            assert_close(y, from_oracle(wrong, layer, x))
    with torch.no_grad():
        layer.bias[0] += 1e-3
    with pytest.raises(AssertionError):
        assert_close(y, from_oracle(case, layer, x))


@EACH
def test_gradients_are_the_oracle_s(case, device):
    """A convolution is linear in each argument, so the oracle gives its derivatives exactly."""
    layer = make(case, dtype="float64", device=device)
    x = batch(case.shapes[0], F64).to(device).requires_grad_()
    y = layer(x)
    along = batch(y.shape, F64, seed=1)
    y.backward(along.to(device))
    dx, dkernel = batch(x.shape, F64, seed=2), batch(layer.kernel.shape, F64, seed=3)
    if layer.bias is not None:
        axes = (0, 2, 3) if case.channels_first else (0, 1, 2)
        assert_close(layer.bias.grad.cpu(), along.sum(axes))
        layer.bias.detach().zero_()
    expected = (from_oracle(case, layer, dx) * along).sum()
    assert_close((x.grad.cpu() * dx).sum(), expected)
    grad = layer.weight.grad.permute(2, 3, 1, 0).cpu()
    layer.kernel.detach().copy_(dkernel)
    assert_close((grad * dkernel).sum(), (from_oracle(case, layer, x) * along).sum())


@st.composite
def geometries(draw):
    """Draw a layer and an input that it takes."""
    pair = partial(st.tuples, *[st.integers(1, 4)] * 2)
    kernel, groups = draw(pair()), draw(st.integers(1, 3))
    strides, dilation = draw(st.sampled_from([(draw(pair()), (1, 1)), ((1, 1), draw(pair()))]))
    padding = draw(st.sampled_from(["valid", "same"]))
    least = [1 if padding == "same" else (k - 1) * d + 1
             for k, d in zip(kernel, dilation, strict=True)]  # fmt: skip
    size = [n + draw(st.integers(0, 5)) for n in least]
    arguments = {
        "filters": groups * draw(st.integers(1, 2)),
        "kernel_size": kernel,
        "strides": strides,
        "dilation_rate": dilation,
        "padding": padding,
        "groups": groups,
        "data_format": "channels_last",
    }
    return arguments, (draw(st.integers(1, 2)), *size, groups * draw(st.integers(1, 2)))


@settings(max_examples=80)
@given(geometries())
def test_any_geometry_is_the_oracle_s(drawn):
    arguments, shape = drawn
    layer, x = Conv2D(**arguments, dtype="float64"), batch(shape, F64)
    expected = convolve(
        x.numpy(),
        *(layer(x), layer.get_weights())[1],
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation_rate,
        groups=layer.groups,
    )
    assert_close(layer(x).detach().numpy(), expected)
    with torch.no_grad():
        assert_close(layer(x).numpy(), expected)
    assert layer.compute_output_shape(shape) == expected.shape


# Properties


@EACH
def test_both_layouts_agree(case):
    layer, x = make(case, dtype="float64"), batch(case.shapes[0], F64)
    layer.build(x.shape)
    there, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if case.channels_first else (
        (0, 3, 1, 2), (0, 2, 3, 1))  # fmt: skip
    other = {True: "channels_last", False: "channels_first"}[case.channels_first]
    mirror = make(case, dtype="float64", data_format=other)
    mirror.load_state_dict(layer.state_dict())
    assert_close(mirror(x.permute(there)).permute(back), layer(x))


@EACH
def test_it_is_linear(case):
    layer = make(case, dtype="float64", use_bias=False)
    x, y = (batch(case.shapes[0], F64, seed) for seed in (1, 2))
    assert_close(layer(2 * x - 3 * y), 2 * layer(x) - 3 * layer(y))


@EACH
def test_groups_are_layers_of_their_own_side_by_side(case):
    groups = case.arguments.get("groups", 1)
    axis = 1 if case.channels_first else -1
    layer, x = make(case, dtype="float64"), batch(case.shapes[0], F64)
    whole = layer(x)
    kernels = np.split(layer.get_weights()[0], groups, axis=-1)
    biases = np.split(np.asarray([*layer.get_weights(), np.zeros(layer.filters)][1]), groups)
    parts = []
    for part, kernel, bias in zip(x.chunk(groups, axis), kernels, biases, strict=True):
        single = make(case, dtype="float64", filters=layer.filters // groups, groups=1,
                      use_bias=True)  # fmt: skip
        single.build(part.shape)
        single.set_weights([kernel, bias])
        parts.append(single(part))
    assert_close(torch.cat(parts, axis), whole)


@pytest.mark.parametrize("name", ["valid", "strided", "dilated", "grouped", "first-strided"])
def test_a_shifted_input_gives_a_shifted_output(name):
    case = NAMES[name]
    axis = 2 if case.channels_first else 1
    layer = make(case, dtype="float64")
    shape = [*case.shapes[0]]
    shape[axis] += 4 * layer.strides[0]
    x = batch(shape, F64)
    shifted = layer(x.narrow(axis, layer.strides[0], shape[axis] - layer.strides[0]))
    whole = layer(x)
    assert_close(shifted, whole.narrow(axis, 1, whole.shape[axis] - 1))


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

        monkeypatch.setattr(base, "convolve_same", counted)
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
    case, (size, with_gradients, without) = NAMES[name.partition(",")[0]], WAYS[name]
    channels = (case.channels,)
    x = batch((2, *channels, *size) if case.channels_first else (2, *size, *channels), F64)
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


# Weights


@EACH
def test_the_memory_of_weights_and_gradients(case):
    layer = make(case)
    layer(batch(case.shapes[0])).square().sum().backward()
    _, inputs, high, wide = layer.weight.shape
    expected = (high * wide * inputs, 1, wide * inputs, inputs)
    assert layer.weight.stride() == layer.weight.grad.stride() == expected
    assert layer.weight.shape == (layer.filters, inputs, *layer.kernel_size)
    assert layer.double().weight.stride() == layer.weight.grad.stride() == expected


@pytest.mark.parametrize("name", ["pointwise", "depthwise", "grouped", "valid"])
@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.SGD, lr=0.01, momentum=0.9), partial(torch.optim.AdamW, lr=0.01)],
    ids=["sgd", "adamw"],
)
def test_fused_optimizers_do_what_plain_ones_do(name, optimizer):
    case, x = NAMES[name], batch(NAMES[name].shapes[0])
    plain, fused = make(case), make(case)
    plain.build(x.shape)
    fused.load_state_dict(plain.state_dict())
    assert fused.weight.stride() == plain.weight.stride()
    optimizers = [
        optimizer(plain.parameters(), foreach=False),
        optimizer(fused.parameters(), fused=True),
    ]
    for _ in range(3):
        for layer, each in zip((plain, fused), optimizers, strict=True):
            step(layer, x, each)
    assert_close(dict(fused.named_parameters()), dict(plain.named_parameters()))


def test_the_kernel_is_a_view_in_keras_order():
    layer = Conv2D(5, (2, 3), input_shape=(7, 5, 4), groups=1)
    assert layer.kernel.shape == (2, 3, 4, 5)
    with torch.no_grad():
        layer.kernel[1, 2, 3, 4] = 9.0
        layer.kernel.mul_(2)
    assert layer.weight[4, 3, 1, 2] == 18.0
    layer.kernel.sum().backward()
    assert layer.weight.grad.eq(1).all()
    assert np.array_equal(layer.get_weights()[0], layer.kernel.detach().numpy())
    layer.set_weights([np.arange(120.0).reshape(2, 3, 4, 5), np.arange(5.0)])
    assert layer.weight[1, 2, 1, 0] == (1 * 3 + 0) * 20 + 2 * 5 + 1


def test_weights_in_plain_order_are_one_call_away():
    layer, x = Conv2D(5, (2, 3), input_shape=(7, 5, 4)), batch((2, 7, 5, 4))
    expected = layer(x)
    layer.to(memory_format=torch.contiguous_format)
    assert layer.weight.is_contiguous()
    assert_close(layer(x), expected)
    prune.l1_unstructured(layer, "weight", amount=0.5)  # as PyTorch has it, for such weights only
    assert (layer.kernel == 0).sum() == 60


def test_skip_init():
    layer = skip_init(Conv2D, 5, (2, 3), input_shape=(7, 5, 4))
    assert layer.built and {p.device.type for p in layer.parameters()} == {"cpu"}
    assert layer.weight.stride() == Conv2D(5, (2, 3), input_shape=(7, 5, 4)).weight.stride()


def test_an_nn_conv2d_takes_the_state_dict():
    layer = Conv2D(5, (2, 3), input_shape=(7, 5, 4), bias_initializer="random_normal")
    native = nn.Conv2d(4, 5, (2, 3))
    native.load_state_dict(layer.state_dict())
    x = batch((2, 7, 5, 4))
    assert_close(native(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), layer(x))
    lazy = Conv2D(5, (2, 3))
    lazy.load_state_dict(nn.Conv2d(4, 5, (2, 3)).state_dict())
    assert lazy.kernel.shape == (2, 3, 4, 5)


def test_none_as_an_initializer_is_glorot_uniform():
    layer = Conv2D(8, (2, 3), kernel_initializer=None, bias_initializer=None, input_shape=(9, 9, 4))
    bound = (6 / (2 * 3 * (4 + 8))) ** 0.5
    assert 0.8 * bound < layer.kernel.abs().max() <= bound
    assert 0 < layer.bias.abs().max() <= (6 / 16) ** 0.5
    config = layer.get_config()
    assert config["kernel_initializer"] is None and config["bias_initializer"] is None


def test_initializers_see_keras_order():
    seen = []

    def initializer(shape, dtype=None):
        seen.append((shape, dtype))
        return np.arange(np.prod(shape)).reshape(shape)

    layer = Conv2D(
        5, (2, 3), kernel_initializer=initializer, input_shape=(7, 5, 4), dtype="float16"
    )
    assert seen == [((2, 3, 4, 5), "float16")]
    assert layer.kernel.flatten().tolist() == list(range(120))


# Activations

SCALAR = (
    "relu", "leaky_relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hard_silu",
    "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign", "exponential", "linear",
)  # fmt: skip
OVERWRITING = {"relu", "relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh"}


@pytest.mark.parametrize("name", SCALAR)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_elementwise_activations_are_as_if_applied_afterwards(name, data_format):
    function = getattr(activations, name)
    shared = {"data_format": data_format, "dtype": "float64", "padding": "same"}
    fused = Conv2D(4, (2, 3), activation=name, input_shape=(5, 6, 3), **shared)
    plain = Conv2D(4, (2, 3), activation=lambda x: function(x), input_shape=(5, 6, 3), **shared)
    plain.load_state_dict(fused.state_dict())
    x = batch((2, 5, 6, 3), F64).mul(4).requires_grad_()
    results = []
    for layer in (fused, plain):
        y = layer(x)
        first = torch.autograd.grad(y.square().sum(), (x, *layer.weights), create_graph=True)
        results.append((y, *first))
        if name != "hard_sigmoid":  # PyTorch has no second derivative of it
            second = first[0].square().sum() + first[1].sum()
            results[-1] += torch.autograd.grad(second, layer.weight)
    assert_close(*results)
    with torch.no_grad():
        assert_close(fused(x), results[1][0])


@pytest.mark.parametrize("name", SCALAR)
def test_which_activations_overwrite_the_convolution_s_output(name, monkeypatch):
    layer, seen = Conv2D(4, (2, 3), activation=name, input_shape=(5, 6, 3)), []
    constants = list(layer._constants)
    convolution = constants[1]
    constants[1] = lambda *args: seen.append(convolution(*args)) or seen[-1]
    layer._constants = tuple(constants)
    y = layer(batch((2, 5, 6, 3)))
    overwritten = y.data_ptr() == seen[0].data_ptr() and name != "linear"
    assert overwritten == (name in OVERWRITING)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax"])
def test_softmax_is_over_the_last_axis_of_either_layout(name, data_format):
    layer = Conv2D(4, (2, 3), activation=name, data_format=data_format, input_shape=(5, 6, 5))
    x = batch((2, 5, 6, 5))
    linear = Conv2D.from_torch(layer_of(layer), data_format=data_format)
    expected = getattr(activations, name)(linear(x), axis=-1)
    assert_close(layer(x), expected)
    if name == "softmax":
        assert_close(layer(x).sum(-1), torch.ones(expected.shape[:-1]))


def layer_of(layer):
    """Return an nn.Conv2d with a layer's parameters."""
    native = nn.Conv2d(layer.weight.shape[1], layer.filters, layer.kernel_size)
    native.load_state_dict(layer.state_dict())
    return native


def test_a_module_as_activation_is_a_submodule_and_is_trained():
    layer = Conv2D(4, (2, 3), activation=nn.PReLU(4, init=0.3), data_format="channels_first")
    assert list(layer.state_dict()) == ["weight", "bias", "activation.weight"]
    x = batch((2, 3, 5, 6))
    plain = nn.functional.conv2d(x, layer(x) is None or layer.weight, layer.bias)
    assert_close(layer(x), torch.where(plain > 0, plain, 0.3 * plain))
    before = layer.activation.weight.detach().clone()
    step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.1))
    assert not torch.equal(layer.activation.weight, before)
    assert "PReLU" in repr(layer) and len(layer.weights) == 2


@pytest.mark.parametrize("when", ["made", "later"])
def test_a_frozen_layer_freezes_a_module_too(when):
    layer = Conv2D(4, 3, trainable=False, activation=nn.PReLU() if when == "made" else None)
    if when == "later":
        layer.activation = nn.PReLU()
    assert not layer.activation.weight.requires_grad
    layer.trainable = True
    assert layer.activation.weight.requires_grad


def test_a_module_sees_the_user_s_layout():
    seen = []

    class Looking(nn.Module):
        def forward(self, x):
            seen.append(tuple(x.shape))
            return x

    Conv2D(4, (2, 3), activation=Looking())(batch((2, 5, 7, 3)))
    assert seen == [(2, 4, 5, 4)]


def test_the_activation_may_be_assigned_later():
    layer = Conv2D(4, (2, 3), activation="tanh", input_shape=(5, 6, 3))
    x = batch((2, 5, 6, 3))
    linear = Conv2D.from_torch(layer_of(layer))(x)
    for value, expected in [
        (None, linear),
        ("relu", linear.relu()),
        (nn.LeakyReLU(0.5), nn.functional.leaky_relu(linear, 0.5)),
        (nn.Hardtanh(), linear.clamp(-1, 1)),
        (torch.sigmoid, linear.sigmoid()),
        (lambda x: x + 1, linear + 1),
        ("softmax", linear.softmax(-1)),
        ("linear", linear),
    ]:
        layer.activation = value
        assert_close(layer(x), expected)
        assert list(layer.children()) == ([value] if isinstance(value, nn.Module) else [])
        assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("kept", ["relu", nn.LeakyReLU(0.5)], ids=["name", "module"])
def test_a_refused_activation_leaves_the_one_before(kept):
    layer = Conv2D(4, (2, 3), activation=kept, input_shape=(5, 6, 3))
    x = batch((2, 5, 6, 3))
    expected = layer(x)
    with pytest.raises(ValueError, match="activation"):
        layer.activation = "no such thing"
    assert_close(layer(x), expected)


@pytest.mark.parametrize("argument", ["kernel_regularizer", "activity_regularizer"])
def test_what_is_no_constant_may_be_assigned_later(argument):
    layer, x = Conv2D(4, (2, 3), input_shape=(5, 6, 3)), batch((2, 5, 6, 3))

    class Penalty(nn.Module):
        def forward(self, x):
            return x.sum()

    for value, count in [("l2", 1), (None, 0), (Penalty(), 1), (None, 0), ("l1", 1)]:
        setattr(layer, argument, value)
        layer(x)
        assert len(layer.losses) == count


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("filters", 4), ("kernel_size", (2, 3)), ("strides", (1, 2)), ("padding", "same"),
        ("data_format", "channels_first"), ("dilation_rate", 1), ("groups", 2), ("use_bias", False),
    ],
)  # fmt: skip
def test_what_the_weights_depend_on_may_not_be_assigned_later(argument, value):
    layer = Conv2D(4, (2, 3), input_shape=(5, 6, 3))
    before, config = layer(batch((2, 5, 6, 3))), layer.get_config()
    with pytest.raises(AttributeError, match=f"Conv2D: `{argument}` must be left as the layer"):
        setattr(layer, argument, value)
    assert layer.get_config() == config
    assert_close(layer(batch((2, 5, 6, 3))), before)


# Losses and constraints


def test_activity_losses_are_those_of_the_last_call():
    layer = Conv2D(4, (2, 3), activity_regularizer=lambda y: y.square().sum())
    assert layer.losses == []
    for size in (1, 3, 2):
        y = layer(batch((size, 5, 6, 3), seed=size))
        assert len(layer.losses) == 1
        assert_close(layer.losses[0], y.square().sum() / size)
    (loss,) = layer.losses
    loss.backward()
    assert layer.weight.grad.any()
    layer(torch.zeros(0, 5, 6, 3))
    assert layer.losses[0] == 0 and layer.losses[0].shape == ()


def test_activity_losses_see_the_activated_output_in_the_user_s_layout():
    seen = []
    layer = Conv2D(4, (2, 3), activation="relu", activity_regularizer=lambda y: seen.append(y) or
                   y.sum())  # fmt: skip
    y = layer(batch((2, 5, 6, 3)))
    assert seen[0].shape == y.shape and torch.equal(seen[0], y) and (y >= 0).all()


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_copies_have_no_activity_losses(way):
    layer = Conv2D(4, (2, 3), activity_regularizer="l2", kernel_regularizer="l1")
    layer(batch((2, 5, 6, 3)))
    made = COPIES[way](layer)
    assert len(layer.losses) == 2 and len(made.losses) == 1
    made(batch((2, 5, 6, 3)))
    assert len(made.losses) == 2


def test_the_graph_of_a_call_is_freed_by_the_next():
    layer, x = Conv2D(4, (2, 3), activity_regularizer="l2"), batch((2, 5, 6, 3))
    layer(x)
    loss = weakref.ref(layer.losses[0])
    assert loss() is not None
    layer(x)
    assert loss() is None


def test_the_graph_of_a_call_is_freed_with_the_regularizer():
    layer = Conv2D(4, (2, 3), activity_regularizer="l2")
    layer(batch((2, 5, 6, 3)))
    loss = weakref.ref(layer.losses[0])
    layer.activity_regularizer = None
    assert layer.losses == [] and loss() is None


def test_the_terms_and_their_order():
    layer = Conv2D(
        4, (2, 3), kernel_regularizer="l2", bias_regularizer=lambda b: (b - 1).square().sum(),
        activity_regularizer="l1", input_shape=(5, 6, 3),
    )  # fmt: skip
    y = layer(batch((2, 5, 6, 3)))
    expected = [y.abs().sum() * 0.01 / 2, layer.weight.square().sum() * 0.01, torch.tensor(4.0)]
    assert_close(layer.losses, expected)
    model = nn.Sequential(nn.ReLU(), layer)
    assert_close(regularization_loss(model), sum(expected))
    layer.trainable = False
    assert_close(layer.losses, expected[:1])
    layer.trainable = True
    layer.bias.requires_grad = False
    assert_close(layer.losses, expected[:2])


def test_a_regularizer_sees_the_kernel_in_keras_order():
    seen = []
    layer = Conv2D(4, (2, 3), input_shape=(5, 6, 3),
                   kernel_regularizer=lambda k: seen.append(k.shape) or k[1, 2, 0, 3])  # fmt: skip
    regularization_loss(layer).backward()
    assert seen == [(2, 3, 3, 4)]
    assert layer.weight.grad[3, 0, 1, 2] == 1 and layer.weight.grad.sum() == 1


def test_there_is_no_loss_without_terms():
    assert regularization_loss(nn.ReLU()) == 0
    loss = regularization_loss(Conv2D(4, 3))
    assert loss == 0 and not loss.requires_grad


def test_constraints_run_after_each_step_of_what_was_stepped():
    layer = Conv2D(4, (2, 3), input_shape=(5, 6, 3), bias_constraint="non_neg",
                   kernel_constraint={"class_name": "MaxNorm", "config": {
                       "max_value": 0.1, "axis": [0, 1, 2]}})  # fmt: skip

    def norms():
        return layer.kernel.detach().square().sum((0, 1, 2)).sqrt()

    x = batch((2, 5, 6, 3))
    optimizer = torch.optim.SGD([layer.weight], lr=0.1)
    handle = attach_constraints(optimizer, layer)
    with torch.no_grad():
        layer.bias.fill_(-1.0)
    step(layer, x, optimizer)
    assert_close(norms(), torch.full((4,), 0.1))
    assert layer.bias.eq(-1).all()
    handle.remove()
    step(layer, x, optimizer)
    assert (norms() > 0.11).all()
    apply_constraints(layer)
    assert_close(norms(), torch.full((4,), 0.1))
    assert layer.bias.eq(0).all()


def test_constraints_reach_layers_built_later():
    layer = Conv2D(4, (2, 3), kernel_constraint="non_neg")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    attach_constraints(optimizer, layer)
    step(layer, batch((2, 5, 6, 3)), optimizer)
    assert (layer.kernel >= 0).all() and layer.kernel.any()


# Arguments


def test_an_input_shape_builds_at_once():
    layer = Conv2D(4, (2, 3), input_shape=(None, None, 3))
    assert layer.built and layer.kernel.shape == (2, 3, 3, 4)
    layer = Conv2D(4, (2, 3), input_shape=[3, 5, 6], data_format="channels_first")
    assert layer.kernel.shape == (2, 3, 3, 4)


@EACH
def test_compute_output_shape_with_sizes_not_known(case):
    layer, shape = make(case), case.shapes[0]
    known = layer.compute_output_shape(shape)
    for axis in range(4):
        unknown = [*shape]
        unknown[axis] = None
        expected = [*known]
        if axis != (1 if case.channels_first else 3):
            expected[axis] = None
        assert layer.compute_output_shape(unknown) == tuple(expected)
    assert not layer.built


def test_compute_output_shape_of_an_empty_input():
    assert Conv2D(4, 3, padding="same").compute_output_shape((None, 0, 6, 3)) == (None, 0, 6, 4)


def test_the_default_data_format_is_the_config_s_when_the_layer_is_made():
    config.set_image_data_format("channels_first")
    layer = Conv2D(4, (2, 3))
    config.set_image_data_format("channels_last")
    assert layer.data_format == layer.get_config()["data_format"] == "channels_first"
    assert layer(batch((2, 3, 5, 6))).shape == (2, 4, 4, 4)
    assert Conv2D(4, 3).data_format == "channels_last"
    assert Conv2D(4, 3, data_format="Channels_First", padding="SAME").padding == "same"


def test_the_signature_is_keras_s():
    required = inspect.Parameter.empty
    keras = {
        "filters": required,
        "kernel_size": required,
        "strides": 1,
        "padding": "valid",
        "data_format": None,
        "dilation_rate": 1,
        "groups": 1,
        "activation": None,
        "use_bias": True,
        "kernel_initializer": "glorot_uniform",
        "bias_initializer": "zeros",
        "kernel_regularizer": None,
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
    }
    parameters = inspect.signature(Conv2D).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == list(keras.items())
    assert Conv2D(4, 3).strides == Conv2D(4, 3).dilation_rate == (1, 1)
    assert Convolution2D is Conv2D


BASE = {"filters": 4, "kernel_size": (2, 3), "name": "base", "kernel_initializer": "ones",
        "bias_initializer": "ones"}  # fmt: skip
# argument -> what it is changed to, and what is else given to both layers
CHANGES = {
    "filters": (6, {}),
    "kernel_size": ((3, 2), {}),
    "strides": ((2, 1), {}),
    "padding": ("same", {}),
    "data_format": ("channels_first", {}),
    "dilation_rate": ((1, 2), {}),
    "groups": (2, {}),
    "activation": ("relu", {}),
    "use_bias": (False, {}),
    "kernel_initializer": ("zeros", {}),
    "bias_initializer": ("zeros", {}),
    "kernel_regularizer": ("l2", {}),
    "bias_regularizer": ("l2", {}),
    "activity_regularizer": ("l2", {}),
    "kernel_constraint": ("unit_norm", {}),
    "bias_constraint": ("unit_norm", {}),
    "lora_rank": (2, {}),
    "lora_alpha": (3.0, {"lora_rank": 2}),
    "input_shape": ((8, 8, 8), {}),
    "device": ("meta", {}),
    "name": ("other", {}),
    "dtype": ("float16", {}),
    "trainable": (False, {}),
    "autocast": (False, {"dtype": "mixed_bfloat16"}),
}


def observed(**arguments):
    """Return all that can be seen of a layer: before, during and after a step of training."""
    torch.manual_seed(0)
    layer = Conv2D(**{**BASE, **arguments})
    seen = [layer.name, layer.built]
    x = batch((2, 8, 8, 8)).to(next(layer.parameters()).device)
    y = layer(x)
    weights = list(layer.parameters())
    seen += [(p.dtype, p.device.type, p.requires_grad) for p in (y, *weights)]
    seen += [p.shape if p.is_meta else p.tolist() for p in (y, *weights, *layer.losses)]
    if y.requires_grad and not y.is_meta:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            (layer(x).sum() + regularization_loss(layer)).backward()
            optimizer.step()
            apply_constraints(layer)
        seen += [array.tolist() for array in layer.get_weights()]
    return seen


def test_every_argument_has_a_change():
    assert set(CHANGES) == set(Conv2D.arguments())
    assert len(Conv2D.arguments()) == len(set(Conv2D.arguments()))


@pytest.mark.parametrize("argument", CHANGES)
def test_no_argument_is_ignored(argument):
    changed, shared = CHANGES[argument]
    assert observed(**shared) == observed(**shared)
    assert observed(**{**shared, argument: changed}) != observed(**shared)


def test_the_repr_shows_what_is_not_the_default():
    assert repr(Conv2D(4, (2, 3))) == "Conv2D(None, 4, kernel_size=(2, 3))"
    layer = Conv2D(
        6, (2, 3), 2, "same", "channels_first", groups=2, activation="relu", use_bias=False,
        trainable=False, dtype="float16", input_shape=(4, 5, 6),
    )  # fmt: skip
    assert repr(layer) == (
        "Conv2D(4, 6, kernel_size=(2, 3), strides=(2, 2), padding='same', "
        "data_format='channels_first', groups=2, use_bias=False, trainable=False, "
        "dtype='float16', activation=relu)"
    )


# Compiled


@pytest.mark.parametrize("way", ["from_torch", "load_state_dict"])
def test_a_layer_never_called_compiles(way):
    torch.compiler.reset()
    native = nn.Conv2d(3, 4, (2, 3))
    layer = Conv2D.from_torch(native) if way == "from_torch" else Conv2D(4, (2, 3))
    layer.load_state_dict(native.state_dict())
    x = batch((2, 5, 6, 3))
    outputs = torch.compile(layer, backend="eager", fullgraph=True)(x)
    assert_close(outputs, layer(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.parametrize(("name", "training"), [("valid", True), ("same-grouped-strided", False)])
def test_inductor(name, training):
    torch.compiler.reset()
    case = NAMES[name]
    layer = make(case, activation="relu")
    compiled = torch.compile(layer, fullgraph=True)
    x = batch(case.shapes[0])
    with torch.set_grad_enabled(training):
        expected = layer(x)
        outputs = compiled(x)
        assert_close(outputs, expected)
        if training:
            found = torch.autograd.grad(outputs.square().sum(), layer.weights)
            assert_close(found, torch.autograd.grad(expected.square().sum(), layer.weights))


def test_activity_losses_of_a_compiled_layer():
    torch.compiler.reset()
    layer = Conv2D(4, (2, 3), activity_regularizer="l2", input_shape=(5, 6, 3))
    compiled = torch.compile(layer, backend="aot_eager")
    y = compiled(batch((2, 5, 6, 3)))
    assert_close(layer.losses, [y.square().sum() * 0.01 / 2])
    (found,) = torch.autograd.grad(regularization_loss(layer), layer.weight)
    layer(batch((2, 5, 6, 3)))
    assert_close(found, torch.autograd.grad(regularization_loss(layer), layer.weight)[0])


def test_export():
    layer = Conv2D(4, (2, 3), strides=2, padding="same", activation="relu", input_shape=(8, 7, 3))
    sizes = dict.fromkeys((0, 1, 2), torch.export.Dim.AUTO)
    program = torch.export.export(layer, (batch((2, 8, 7, 3)),), dynamic_shapes=(sizes,))
    x = batch((3, 13, 10, 3))
    assert_close(program.module()(x), layer(x))
