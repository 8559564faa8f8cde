"""Conv2D as a module: its weights, and the function or module that is its activation."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from kerastorch import activations
from kerastorch.layers import Conv2D
from tests.layers.case import batch
from tests.layers.contract import step
from tests.layers.convolution.rows import EACH, make

F64 = torch.float64


@EACH
def test_the_memory_of_weights_and_gradients(case):
    layer = make(case)
    layer(batch(case.shape)).square().sum().backward()
    inputs = layer.weight.shape[1]
    expected = torch.empty(layer.filters, *layer.kernel_size, inputs).movedim(-1, 1).stride()
    assert layer.weight.stride() == expected
    strides = zip(layer.weight.grad.stride(), expected, layer.weight.shape, strict=True)
    # Where the size is 1, conv3d's gradient has other strides, which mean nothing.
    assert all(own == wanted or (n == 1 and layer.rank == 3) for own, wanted, n in strides)
    assert layer.weight.shape == (layer.filters, inputs, *layer.kernel_size)
    assert layer.double().weight.stride() == expected


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
    with pytest.raises(AttributeError, match=f"Conv2D: `{argument}` must be left unchanged"):
        setattr(layer, argument, value)
    assert layer.get_config() == config
    assert_close(layer(batch((2, 5, 6, 3))), before)
