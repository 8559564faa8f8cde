"""What compare names as the cause of a difference."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kerastorch import compare, layers
from kerastorch._comparison.recording import record, write_recording
from tests.comparison.models import (
    CHANNELS,
    HEIGHT,
    IMAGES,
    WIDTH,
    Keras,
    Plain,
    batch,
    channels_first,
    conv,
    first_cause,
    flattening,
    padded_by_hand,
    plain_conv,
    plain_transposed,
    square_conv,
    transposed,
    with_weights,
)

# Causes


def test_symmetric_padding():
    layer = conv()
    assert first_cause(Plain(conv=plain_conv(layer)), layer) == "padding"
    relu = conv(activation="relu")
    model = Plain(conv=plain_conv(relu, padding=1), relu=nn.ReLU())
    result = compare(model, Keras(relu), IMAGES)
    assert result.cause.name == "padding"
    assert "`relu`" in result.cause.text
    assert "(1, 1)" in result.cause.text


def test_valid_for_same_and_same_for_valid():
    layer = conv()
    assert first_cause(Plain(conv=plain_conv(layer, padding=0)), layer) == "padding"
    valid = conv(padding="valid")
    same = layers.Conv2D.from_config({**valid.get_config(), "padding": "same"})
    same.build(IMAGES.shape)
    same.load_state_dict(valid.state_dict())
    assert first_cause(Plain(conv=same), valid) == "padding"
    assert first_cause(Plain(conv=plain_conv(valid)), valid) == "padding"


@pytest.mark.parametrize(
    "change, name",
    [
        (lambda w: w.transpose(2, 3), "kernel height and width"),
        (lambda w: w.flip(2, 3), "kernel flipped"),
        (lambda w: w.transpose(0, 1), "kernel transposed"),
        (lambda w: w.permute(2, 3, 1, 0).reshape(w.shape), "kernel reshaped"),
        (torch.zeros_like, "weights"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_kernels(change, name, plain):
    layer = square_conv()
    module = nn.Conv2d(3, 3, 3) if plain else square_conv()
    state = layer.state_dict()
    module.load_state_dict({**state, "weight": change(state["weight"])})
    assert first_cause(Plain(conv=module), layer) == name


def test_symmetric_crop_of_a_transposed_convolution():
    """The usual port of a strided "same" is shifted by one place, with equal shapes."""
    layer = transposed()
    assert first_cause(Plain(conv=plain_transposed(layer, padding=1, output_padding=1)), layer) == (
        "padding"
    )
    relu = transposed(activation="relu")
    model = Plain(conv=plain_transposed(relu, padding=1, output_padding=1), relu=nn.ReLU())
    result = compare(model, Keras(relu), IMAGES)
    assert result.cause.name == "padding"
    assert "padding=(1, 1), output_padding=(1, 1), where Keras has padding='same'" in str(result)
    whole = transposed(padding="valid")
    assert first_cause(Plain(conv=plain_transposed(whole, padding=1)), whole) == "padding"
    assert compare(Plain(conv=plain_transposed(whole)), Keras(whole), IMAGES).ok
    longer = transposed(padding="valid", output_padding=1)
    assert first_cause(Plain(conv=plain_transposed(longer)), longer) == "padding"


@pytest.mark.parametrize(
    "change, name",
    [
        (lambda w: w.transpose(0, 1), "kernel transposed"),
        (lambda w: w.flip(2, 3), "kernel flipped"),
        (lambda w: w.transpose(2, 3), "kernel height and width"),
        (lambda w: w.permute(2, 3, 1, 0).reshape(w.shape), "kernel reshaped"),
        (torch.zeros_like, "weights"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_kernels_of_transposed_convolutions(change, name, plain):
    layer = transposed(padding="valid")
    module = nn.ConvTranspose2d(3, 3, 3, 2) if plain else transposed(padding="valid")
    state = layer.state_dict()
    module.load_state_dict({**state, "weight": change(state["weight"])})
    result = compare(Plain(conv=module), Keras(layer), IMAGES)
    assert result.cause.name == name
    if name == "kernel transposed":
        assert "(..., filters, channels) in Keras" in result.cause.text


def test_biases_of_transposed_convolutions():
    layer, bare = transposed(), transposed(use_bias=False)
    with_one = transposed()
    with_one.load_state_dict({**bare.state_dict(), "bias": torch.ones(3)})
    assert first_cause(Plain(conv=with_one), bare) == "bias"
    other = transposed()
    other.load_state_dict({**layer.state_dict(), "bias": torch.ones(3)})
    assert first_cause(Plain(conv=other), layer) == "weights"


@pytest.mark.parametrize(
    "change, name",
    [
        (lambda w: w.T, "kernel transposed"),
        (lambda w: w.T.reshape(w.shape), "kernel transposed"),
        (torch.zeros_like, "weights"),
    ],
)
def test_dense_kernels(change, name):
    inputs = batch(3, 6)
    layer = with_weights(layers.Dense(6, name="dense"), inputs.shape)
    module = nn.Linear(6, 6)
    state = layer.state_dict()
    module.load_state_dict({**state, "weight": change(state["weight"])})
    assert first_cause(Plain(dense=module), layer, inputs=inputs) == name


def test_a_reshaped_dense_kernel():
    inputs = batch(3, 6)
    layer = with_weights(layers.Dense(4, name="dense"), inputs.shape)
    module = nn.Linear(6, 4)
    module.load_state_dict({**layer.state_dict(), "weight": layer.kernel.reshape(4, 6)})
    assert first_cause(Plain(dense=module), layer, inputs=inputs) == "kernel reshaped"


def test_biases():
    layer, bare = square_conv(), square_conv(use_bias=False)
    without = nn.Conv2d(3, 3, 3, bias=False)
    without.load_state_dict({"weight": layer.weight})
    with_one = nn.Conv2d(3, 3, 3)
    with_one.load_state_dict({**bare.state_dict(), "bias": torch.ones(3)})
    assert first_cause(Plain(conv=with_one), bare) == "bias"
    assert first_cause(Plain(conv=without), layer) == "weights"


def test_causes_without_recorded_weights(tmp_path):
    layer, path = square_conv(activation="relu"), tmp_path / "net.npz"
    write_recording(record(Keras(layer), IMAGES, weights=False), path)
    without = nn.Conv2d(3, 3, 3, bias=False)
    without.load_state_dict({"weight": layer.weight})
    result = compare(Plain(conv=without, relu=nn.ReLU()), path)
    assert result.cause.name == "bias"
    assert "has none" in result.cause.text
    dark = nn.Conv2d(3, 3, 3)
    unknown = compare(Plain(conv=dark), path)
    assert not unknown.ok and unknown.cause is None
    assert "No known mistake explains it." in str(unknown)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 0.02, 0.000777])
def test_epsilon(epsilon):
    inputs = batch(2, 4, 3, 5)
    layer = with_weights(layers.BatchNormalization(epsilon=epsilon, name="bn"), inputs.shape)
    module = nn.BatchNorm2d(5, eps=1e-4)
    module.load_state_dict(layer.state_dict(), strict=False)
    result = compare(Plain(bn=module), Keras(layer), inputs)
    assert result.cause.name == "epsilon"
    assert f"Keras's is {epsilon:g}" in result.cause.text


def test_statistics():
    inputs = batch(2, 4, 3, 5)
    layer = with_weights(layers.BatchNormalization(name="bn"), inputs.shape)
    module = nn.BatchNorm2d(5, eps=1e-3, track_running_stats=False)
    module.load_state_dict(layer.state_dict(), strict=False)
    assert first_cause(Plain(bn=module), layer, inputs=inputs) == "statistics"
    trained = with_weights(layers.BatchNormalization(name="bn"), inputs.shape)
    layer.train()
    assert first_cause(Plain(bn=trained), layer, inputs=inputs) == "statistics"


@pytest.mark.parametrize("name", ["relu", "softmax", "sigmoid", "gelu", "hard_sigmoid"])
def test_a_missing_and_a_wrong_activation(name):
    layer, other, without = (square_conv(activation=a) for a in (name, "tanh", None))
    missing = compare(Plain(conv=without), Keras(layer), IMAGES)
    assert missing.cause.name == "activation"
    assert f"`{name}`" in missing.cause.text and "after this layer" in missing.cause.text
    wrong = compare(Plain(conv=other), Keras(layer), IMAGES)
    assert wrong.cause.name == "activation"
    assert f"`{name}`" in wrong.cause.text and "`tanh`" in wrong.cause.text


def test_a_wrong_activation_module():
    leaky = layers.LeakyReLU(name="leaky")  # 0.3 in Keras, 0.01 in PyTorch
    result = compare(Plain(leaky=nn.LeakyReLU()), Keras(leaky), IMAGES)
    assert result.cause.name == "activation"
    assert "negative_slope=0.3" in result.cause.text


def test_a_missing_activation_before_the_next_layer_is_found_there():
    first, second = square_conv(activation="relu"), square_conv(name="second", padding="same")
    bare = square_conv()
    model = Plain(conv=bare, second=second)
    result = compare(model, Keras(first, second), IMAGES)
    assert (result.first.layer, result.cause.name) == ("conv", "activation")
    mended = Plain(conv=bare, relu=F.relu, second=second)
    assert compare(mended, Keras(first, second), IMAGES).ok


def test_padding_and_activations_around_the_layers_are_no_difference():
    first = conv(activation="relu")
    second = layers.Conv2D(5, (3, 2), strides=2, padding="same", activation="relu", name="second")
    found = first, with_weights(second, (2, 4, 3, 4))
    result = compare(padded_by_hand(*found), Keras(*found), IMAGES)
    assert result.ok, str(result)
    assert {row.note for row in result.layers} == {"activation comes after it"}
    model = padded_by_hand(*found)
    model.second.weight.data = model.second.weight.data.flip(2)
    result = compare(model, Keras(*found), IMAGES)
    assert (result.first.layer, result.cause.name) == ("second", "weights"), str(result)
    model.steps["pad_second"] = lambda x: F.pad(x * 1.1, (0, 1, 0, 1))
    result = compare(model, Keras(*found), IMAGES)  # now what `second` takes is wrong as well
    assert result.first.layer == "conv"


def test_a_mistake_after_an_activation_outside_is_the_first():
    first, second = square_conv(activation="relu"), square_conv(name="second")
    wrong = nn.Conv2d(3, 3, 3, padding=1)
    wrong.load_state_dict(second.state_dict())
    model = Plain(
        conv=square_conv(), relu=F.relu, nchw=lambda x: x.permute(0, 3, 1, 2), second=wrong
    )
    result = compare(model, Keras(first, second), IMAGES)
    assert (result.first.layer, result.cause.name) == ("second", "padding")


@pytest.mark.parametrize(
    "flatten", [nn.Flatten(), lambda x: x.flatten(1)], ids=["module", "function"]
)
def test_flatten_order(flatten):
    flat, dense = flattening()
    last = nn.Linear(HEIGHT * WIDTH * CHANNELS, 4)
    last.load_state_dict(dense.state_dict())
    model = Plain(first=channels_first, flatten=flatten, dense=last)
    assert first_cause(model, flat, dense) == "flatten order"
    rows = dense.weight.detach().reshape(4, HEIGHT, WIDTH, CHANNELS).permute(0, 3, 1, 2)
    last.load_state_dict({"weight": rows.flatten(1), "bias": dense.bias})
    result = compare(model, Keras(flat, dense), IMAGES)
    assert result.ok, str(result)  # the other order of the weights makes up for it


def test_a_flatten_order_does_not_put_the_blame_on_an_activation_outside():
    first = square_conv(activation="relu", padding="same")
    flat, dense = flattening()
    last = nn.Linear(HEIGHT * WIDTH * CHANNELS, 4)
    last.load_state_dict(dense.state_dict())
    bare = nn.Conv2d(3, 3, 3, padding=1)
    bare.load_state_dict(first.state_dict())
    model = Plain(conv=bare, relu=F.relu, flat=lambda x: x.flatten(1), dense=last)
    result = compare(model, Keras(first, flat, dense), IMAGES)
    assert (result.first.layer, result.cause.name) == ("dense", "flatten order")


def test_swapped_height_and_width_of_the_input():
    layer = square_conv(padding="same")
    model = Plain(swap=lambda x: x.transpose(1, 2), conv=layer)
    assert first_cause(model, layer) == "input height and width"


def test_another_input():
    layer = square_conv()
    assert first_cause(Plain(scale=lambda x: x / 255, conv=layer), layer) == "input"


def test_a_layer_that_gives_other_numbers_each_time():
    layer, again = square_conv(), itertools.chain([1.0], itertools.repeat(0.0))
    layer.register_forward_hook(lambda module, args, outputs: outputs + next(again))
    assert first_cause(Plain(conv=layer), square_conv()) == "not repeatable"


@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.AvgPool2d])
def test_pooling(kind):
    classes = {nn.MaxPool2d: layers.MaxPooling2D, nn.AvgPool2d: layers.AveragePooling2D}
    layer = classes[kind](3, strides=2, padding="same", name="pool")
    model = Plain(pool=kind(3, 2, padding=1))
    odd = batch(2, 7, 5, 3)  # "same" is even here
    if kind is nn.AvgPool2d:
        assert first_cause(model, layer, inputs=odd) == "padding counted"
    else:
        assert compare(model, Keras(layer), odd).ok
    assert first_cause(model, layer, inputs=batch(2, 8, 6, 3)) == "padding"
    other = layers.MaxPooling2D(2, name="pool")
    assert first_cause(Plain(pool=nn.AvgPool2d(2)), other) == "pooling"
