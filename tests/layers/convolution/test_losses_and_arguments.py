"""Conv2D's losses, constraints and arguments, and the layer compiled."""

import weakref

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import apply_constraints, config, regularization_loss
from kerastorch.layers import Conv1D, Conv2D
from tests.layers.case import batch
from tests.layers.contract import COPIES
from tests.layers.convolution.rows import EACH, is_channels_first, make

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


# Arguments


def test_an_input_shape_builds_at_once():
    layer = Conv2D(4, (2, 3), input_shape=(None, None, 3))
    assert layer.built and layer.kernel.shape == (2, 3, 3, 4)
    layer = Conv2D(4, (2, 3), input_shape=[3, 5, 6], data_format="channels_first")
    assert layer.kernel.shape == (2, 3, 3, 4)


@EACH
def test_compute_output_shape_with_sizes_not_known(case):
    layer, shape = make(case), case.shape
    known = layer.compute_output_shape(shape)
    for axis in range(len(shape)):
        unknown = [*shape]
        unknown[axis] = None
        expected = [*known]
        if axis != (1 if is_channels_first(case) else len(shape) - 1):
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


def test_a_sequence_without_a_data_format_is_of_keras_up_to_2_1():
    config.set_image_data_format("channels_first")
    written = Conv1D(4, 3, name="a").get_config()
    assert written.pop("data_format") == "channels_first"
    assert Conv1D.from_config(written).data_format == "channels_last"
    assert Conv1D.from_config({"filters": 4, "kernel_size": 3}).data_format == "channels_first"
