"""compare: agreement is seen, every known mistake is recognised, and nothing is changed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from kerastorch import activations, compare, layers
from kerastorch._comparison.recording import record, write_recording
from tests.comparison.models import (
    IMAGES,
    Keras,
    Plain,
    StandIn,
    conv,
    network,
    plain_conv,
    plain_port,
    ported,
    square_conv,
    with_weights,
)


def test_the_same_model_agrees():
    found = network()
    result = compare(ported(found), Keras(*found), IMAGES)
    assert result.ok
    assert result.first is result.cause is result.error is None
    assert [row.layer for row in result.layers] == ["conv", "bn", "pool", "flatten", "dense"]
    assert all(row.ok and row.absolute == 0 for row in (*result.layers, *result.outputs))
    assert result.layers[0].shape == (2, 4, 3, 4)
    assert "The model agrees with the Keras model net" in str(result)


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
