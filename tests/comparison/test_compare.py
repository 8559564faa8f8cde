"""compare: agreement is seen, every known mistake is recognised, and nothing is changed."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kerastorch
from kerastorch import activations, compare, layers
from kerastorch._comparison.recording import record, write_recording

HEIGHT, WIDTH, CHANNELS = 7, 6, 3  # odd and even, so that "same" is uneven along one axis only


class StandIn:
    """What compare knows a layer of Keras by."""

    def __init__(self, layer, name=None):
        self.name = name or layer.name
        self.layer = layer

    @property
    def weights(self):
        return getattr(self.layer, "variables", ())

    def get_weights(self):
        return self.layer.get_weights() if self.weights else []

    def call(self, inputs):
        return self.layer(inputs)


class Keras:
    """A Sequential of stand-ins."""

    name = "net"

    def __init__(self, *found):
        self.operations = self.layers = [StandIn(layer) for layer in found]

    @torch.no_grad()
    def __call__(self, inputs, training):
        assert training is False
        x = torch.from_numpy(inputs)
        for layer in self.operations:
            x = layer.call(x)
        return x


class Plain(nn.Module):
    """Named modules and functions, one after another."""

    def __init__(self, **steps):
        super().__init__()
        self.steps = steps
        for name, step in steps.items():
            if isinstance(step, nn.Module):
                self.add_module(name, step)

    def forward(self, x):
        for step in self.steps.values():
            x = step(x)
        return x


def batch(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


IMAGES = batch(2, HEIGHT, WIDTH, CHANNELS)


def with_weights(layer, shape):
    """Build a layer, and give it weights that show every mistake."""
    layer.eval()
    layer(torch.zeros(shape))
    if layer.variables:
        drawn = {v.name: batch(*v.value.shape) for v in layer.variables}
        if "moving_variance" in drawn:
            drawn["moving_variance"] = np.abs(drawn["moving_variance"]) * 0.01
        layer.set_weights(list(drawn.values()))
    return layer


def conv(**arguments):
    arguments = {"strides": 2, "padding": "same", "name": "conv", **arguments}
    return with_weights(layers.Conv2D(4, (3, 2), **arguments), IMAGES.shape)


def plain_conv(layer, **arguments):
    """The plain module that a porter would write for a convolution, with the right weights."""
    arguments = {"stride": 2, "padding": (1, 1), **arguments}
    module = nn.Conv2d(CHANNELS, 4, (3, 2), bias=layer.bias is not None, **arguments)
    module.load_state_dict(layer.state_dict())
    return module


def first_cause(model, *reference, inputs=IMAGES):
    """Return the name of the cause, after checking that it stands in the table."""
    found = compare(model, Keras(*reference), inputs)
    assert not found.ok
    assert found.first is not None and not found.first.ok
    assert found.cause is not None, str(found)
    assert found.cause.layer == found.first.layer
    assert found.cause.text in str(found)
    return found.cause.name


# Agreement


def network(last="softmax"):
    """A network of Keras's layers, built, with weights that are not the initial ones."""
    return [
        conv(activation="relu"),
        with_weights(layers.BatchNormalization(name="bn"), (2, 4, 3, 4)),
        layers.MaxPooling2D(2, padding="same", name="pool"),
        layers.Flatten(name="flatten"),
        with_weights(layers.Dense(5, activation=last, name="dense"), (2, 16)),
    ]


def ported(found):
    names = [layer.name for layer in found]
    return Plain(**dict(zip(names, found, strict=True)))


def test_the_same_model_agrees():
    found = network()
    result = compare(ported(found), Keras(*found), IMAGES)
    assert result.ok
    assert result.first is result.cause is result.error is None
    assert [row.layer for row in result.layers] == ["conv", "bn", "pool", "flatten", "dense"]
    assert all(row.ok and row.absolute == 0 for row in (*result.layers, *result.outputs))
    assert result.layers[0].shape == (2, 4, 3, 4)
    assert "The model agrees with the Keras model net" in str(result)


def plain_port(found):
    """The same network as plain modules on channels-first data, activations outside."""
    first, bn, _, _, dense = found
    norm = nn.BatchNorm2d(4, eps=1e-3)
    norm.load_state_dict(bn.state_dict(), strict=False)
    last = nn.Linear(16, 5)
    last.load_state_dict(dense.state_dict())
    return Plain(
        conv=first.to_torch((HEIGHT, WIDTH))[:-1],
        relu=nn.ReLU(inplace=True),
        bn=norm,
        pool=nn.MaxPool2d(2, ceil_mode=True),
        flat=lambda x: x.permute(0, 2, 3, 1).flatten(1),
        dense=last,
        softmax=lambda x: x.softmax(-1),
    )


def test_a_plain_port_agrees_though_its_layout_and_its_activations_are_elsewhere():
    found = network()
    result = compare(plain_port(found), Keras(*found), IMAGES)
    assert result.ok, str(result)
    rows = {row.layer: row for row in result.layers}
    assert rows["conv"].note == rows["dense"].note == "activation comes after it"
    assert rows["conv"].relative > 0.1
    assert rows["conv"].found == (2, 4, 4, 3)
    assert result.missing == ("flatten",)


def test_a_recording_does_as_well_as_the_live_model(tmp_path):
    found, path = network(), tmp_path / "net.npz"
    write_recording(record(Keras(*found), IMAGES), path)
    result = compare(ported(found), path)
    assert result.ok
    assert str(path) in str(result)
    with torch.no_grad():
        found[1].bias[0] += 1
    assert compare(ported(found), str(path)).cause.name == "weights"


def test_every_number_counts():
    found = network("linear")  # a softmax would hide much
    reference = Keras(*network("linear"))
    assert compare(ported(found), reference, IMAGES).ok
    for layer in found:
        for variable in layer.variables:
            state = variable.value.clone()
            with torch.no_grad():
                variable.value[(-1,) * variable.value.ndim] += 1
            result = compare(ported(found), reference, IMAGES)
            assert not result.ok
            assert (result.first.layer, result.cause.name) == (layer.name, "weights")
            assert f"`{variable.name}`" in result.cause.text
            with torch.no_grad():
                variable.value.copy_(state)


def test_the_tolerance_counts():
    found = network()
    model = ported([*network()[:-1], with_weights(layers.Dense(5, name="dense"), (2, 16))])
    assert not compare(model, Keras(*found), IMAGES).ok
    with torch.no_grad():
        found[0].bias[0] *= 1 + 1e-3
    reference = Keras(*found)
    assert not compare(ported(network()), reference, IMAGES).ok
    assert compare(ported(network()), reference, IMAGES, rtol=0.1).ok


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


def square_conv(**arguments):
    arguments = {"name": "conv", **arguments}
    return with_weights(layers.Conv2D(CHANNELS, 3, **arguments), IMAGES.shape)


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


def padded_by_hand(*found):
    """Strided "same" convolutions as a porter writes them: padding and activation around them."""
    steps = {"nchw": channels_first}
    for layer, amounts in zip(found, [(0, 0, 1, 1), (0, 1, 0, 1)], strict=True):
        outs, ins, *size = layer.weight.shape
        module = nn.Conv2d(ins, outs, size, 2)
        module.load_state_dict(layer.state_dict())
        steps[f"pad_{layer.name}"] = partial(F.pad, pad=amounts)
        steps |= {layer.name: module, f"relu_{layer.name}": F.relu}
    return Plain(**steps)


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


def flattening():
    dense = with_weights(layers.Dense(4, name="dense"), (2, HEIGHT * WIDTH * CHANNELS))
    return layers.Flatten(name="flatten"), dense


def channels_first(x):
    return x.permute(0, 3, 1, 2)


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
        assert first_cause(model, layer, inputs=odd) in ("padding", "padding counted")
    else:
        assert compare(model, Keras(layer), odd).ok
    assert first_cause(model, layer, inputs=batch(2, 8, 6, 3)) == "padding"
    other = layers.MaxPooling2D(2, name="pool")
    assert first_cause(Plain(pool=nn.AvgPool2d(2)), other) == "pooling"


# What it says when the model stops, or has little in common


def test_a_model_that_stops_shows_where_it_went_wrong_before():
    layer = conv()
    flat = layers.Flatten(name="flatten")
    dense = with_weights(layers.Dense(4, name="dense"), (2, 48))
    last = nn.Linear(48, 4)
    model = Plain(conv=plain_conv(layer, padding=0), flatten=nn.Flatten(), dense=last)
    result = compare(model, Keras(layer, flat, dense), IMAGES)
    assert not result.ok and result.outputs == ()
    assert "the model stopped: RuntimeError" in str(result)
    assert (result.first.layer, result.cause.name) == ("conv", "padding")


def test_layers_are_found_by_path_then_ending_then_name():
    first, second = square_conv(padding="same"), square_conv(name="second")
    reference = Keras(first, second)
    assert len(compare(nn.Sequential(first, second), reference, IMAGES).layers) == 2
    deep = Plain(body=Plain(conv=first, second=second))
    assert len(compare(deep, reference, IMAGES).layers) == 2
    twice = Plain(a=Plain(conv=first), b=Plain(second=second))
    assert len(compare(twice, reference, IMAGES).layers) == 2
    twins = Plain(a=Plain(conv=nn.Identity()), b=Plain(conv=first.to_torch()))
    assert compare(twins, Keras(first), IMAGES).missing == ("conv",)


def test_a_layer_called_twice_has_two_rows():
    layer = square_conv(padding="same")
    reference = Keras(layer)
    reference.operations = reference.operations * 2
    model = Plain(conv=layer, again=lambda x: layer(x))
    result = compare(model, reference, IMAGES)
    assert result.ok
    assert [row.call for row in result.layers] == [0, 1]
    assert "conv call 2" in str(result)


def test_outputs_alone_are_compared_where_no_layer_is_common():
    layer = square_conv()
    model = nn.Sequential(nn.Conv2d(3, 3, 3))
    model[0].load_state_dict(layer.state_dict())
    result = compare(model, Keras(layer), IMAGES)
    assert result.ok and result.layers == () and result.missing == ("conv",)
    with torch.no_grad():
        model[0].bias += 1
    result = compare(model, Keras(layer), IMAGES)
    assert not result.ok
    assert result.first.layer == "output 0" and result.cause is None


# It changes nothing


def test_nothing_is_changed():
    found = network()
    model = ported(found).train()
    found[1].eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reference = Keras(*found)
    given = IMAGES.copy()
    assert compare(model, reference, given).ok
    assert model.training and model.conv.training and not model.bn.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(set(vars(layer)) == {"name", "layer"} for layer in reference.layers)
    np.testing.assert_array_equal(given, IMAGES)
    assert all(p.grad is None for p in model.parameters())


def test_a_call_that_was_exchanged_before_stays_so():
    layer = square_conv()
    reference = Keras(layer)
    call = reference.layers[0].call = lambda inputs: layer(inputs) + 1
    assert not compare(Plain(conv=layer), reference, IMAGES).ok
    assert reference.layers[0].call is call


def test_a_live_model_that_fails_is_left_as_it_was():
    class Failing(StandIn):
        def call(self, inputs):
            raise ArithmeticError("no")

    reference = Keras(square_conv())
    reference.layers.append(Failing(square_conv(), "second"))
    with pytest.raises(ArithmeticError):
        compare(Plain(conv=square_conv()), reference, IMAGES)
    assert all(set(vars(layer)) == {"name", "layer"} for layer in reference.layers)


# In plain data


def test_to_dict_is_json_and_complete():
    found = compare(Plain(conv=square_conv()), Keras(square_conv(activation="relu")), IMAGES)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["ok"] is False
    assert told["cause"]["name"] == "activation"
    assert told["first"] == told["layers"][0]
    assert told["layers"][0]["shape"] == [2, 5, 4, 3]
    shapes = compare(Plain(conv=plain_conv(conv(), padding=0)), Keras(conv()), IMAGES).to_dict()
    assert shapes["first"]["absolute"] is None


def test_what_is_not_finite():
    infinite = Plain(relu=lambda x: activations.relu(x) / 0)
    kinds = layers.Activation("relu", name="relu")
    result = compare(infinite, Keras(kinds), IMAGES)
    assert not result.ok


# Errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"model": 1}, "compare: `model` must be a torch.nn.Module. Received: model='int'."),
        ({"rtol": -1}, "compare: `rtol` must be a number >= 0. Received: rtol=-1."),
        ({"rtol": float("nan")}, "compare: `rtol` must be a number >= 0."),
        ({"reference": 3}, "compare: `reference` must be a Keras model, or the path of"),
        ({"inputs": None}, "compare: `inputs` must be a batch for the Keras model."),
        ({"inputs": np.array(["a"])}, "compare: `inputs` must be arrays of real numbers."),
    ],
)
def test_refused_arguments(arguments, message):
    given = {
        "model": nn.Identity(),
        "reference": Keras(layers.Activation("linear")),
        "inputs": IMAGES,
        **arguments,
    }
    if arguments.get("inputs") is not None:
        given["reference"].operations = []
        given["reference"].__class__ = type(
            "Echo", (Keras,), {"__call__": lambda s, inputs, training: IMAGES}
        )
    with pytest.raises(ValueError) as caught:
        compare(given.pop("model"), given.pop("reference"), given.pop("inputs"), **given)
    assert str(caught.value).startswith(message)


def test_refused_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        compare(nn.Identity(), tmp_path / "none.npz")
    path = tmp_path / "net.npz"
    write_recording(record(Keras(square_conv()), IMAGES), path)
    with pytest.raises(ValueError, match="The file has its own inputs"):
        compare(nn.Identity(), path, IMAGES)
    whole = path.read_bytes()
    with np.load(path) as arrays:
        members = dict(arrays)
    damaged = {"about.json": np.frombuffer(b'{"version": 1}', np.uint8)}
    later = {**members, "about.json": np.frombuffer(b'{"version": 2}', np.uint8)}
    pickled = {**members, "0": np.array([{}], dtype=object)}
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"compare: `reference` must be an \.npz file"):
            compare(nn.Identity(), path)
    for arrays in ({"a": IMAGES}, damaged, later, pickled):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=r"compare: `reference` must be an \.npz file"):
            compare(nn.Identity(), path)


def test_refused_models():
    reference = Keras(square_conv())
    lazy = Plain(conv=layers.Conv2D(3, 3))
    with pytest.raises(ValueError, match="compare: `model` must be built"):
        compare(lazy, reference, IMAGES)
    with pytest.raises(ValueError, match=r"compare: `model` must be on a real device\. .*to_empty"):
        compare(Plain(conv=nn.Conv2d(3, 3, 3, device="meta")), reference, IMAGES)
    with pytest.raises(ValueError, match="`model` must be one with submodules named like"):
        compare(Plain(other=nn.Identity()), reference, IMAGES)
    with pytest.raises(ValueError, match="`model` must be able to run on the reference's inputs"):
        compare(Plain(conv=nn.Conv2d(8, 3, 3)), reference, IMAGES)
    with pytest.raises(ValueError, match="`model` must be one that returns 1 tensors"):
        compare(Plain(conv=square_conv(), two=lambda x: (x, x)), reference, IMAGES)


def test_a_list_and_a_dict_of_inputs():
    class Two(Keras):
        def __call__(self, inputs, training):
            a, b = inputs.values() if isinstance(inputs, dict) else inputs
            return self.layers[0].call([torch.from_numpy(a), torch.from_numpy(b)])

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.add = layers.Add(name="add")

        def forward(self, a, b):
            return self.add([a, b])

    reference = Two(layers.Add(name="add"))
    for inputs in ([IMAGES, IMAGES * 2], {"a": IMAGES, "b": IMAGES * 2}):
        result = compare(Sum(), reference, inputs)
        assert result.ok and len(result.layers) == 1


def test_it_is_public():
    assert kerastorch.compare is compare
    assert Path(kerastorch.__file__).exists()
