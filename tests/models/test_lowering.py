"""What is decided about a model when it is built, and when a call goes through the plain layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import Add, Conv2D, ReLU
from tests.models.configs import functional, input_layer, layer, node, tensor
from tests.models.lowered import (
    MODELS,
    SHAPE,
    add,
    batch,
    built,
    conv,
    forbid,
    lowered,
    merged,
    one,
    plain,
    residual,
    results,
)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("activation", ["relu", "silu", "softmax", "elu", "linear", torch.cos])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_are_those_of_plain_calls(name, activation, training, monkeypatch):
    objects = {"mine": activation} if callable(activation) else {}
    config = MODELS[name]("mine" if objects else activation)
    found = results(built(config, objects), training)
    forbid(monkeypatch)
    assert_close(found, results(built(config, objects), training))


# Whether each layer that is lowered overwrites an input, without gradients and with them
EXPECTED = {
    "functional": {
        **dict.fromkeys(("conv0", "bn0", "conv1", "conv2"), (False, False)),
        **dict.fromkeys(("act0", "act1"), (True, True)),
        "sum": (True, False),  # the second activation's output, which its gradient needs
        "act2": (False, False),  # the sum is an output of the model
        "act3": (True, False),  # the convolution's activation needs its output
        "last": (True, False),
        "act4": (True, True),
    },
    "branched": {
        **dict.fromkeys(("conv0", "bn0", "same", "act0", "conv1", "conv2"), (False, False)),
        "act1": (True, False),  # the last to read the convolution's output
    },
    "sequential": {
        **dict.fromkeys(("conv0", "bn0", "flat", "dense"), (False, False)),
        **dict.fromkeys(("act0", "act1"), (True, True)),
    },
}


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", EXPECTED)
def test_what_may_be_overwritten(name, training):
    model = built(MODELS[name]())
    assert lowered(model, training) == {k: both[training] for k, both in EXPECTED[name].items()}


def summed(before, **config):
    """Return the sum of two layers of a class, of which an activation is made."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        one(before, "left", "x"),
        one(before, "right", "x"),
        add("sum", "left", "right"),
        one("ReLU", "act", "sum", **config),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["act", 0, 0]])


@pytest.mark.parametrize("limit", [None, 6, 6.0])
def test_sums_and_activations_overwrite_what_is_theirs_alone(limit):
    model = built(summed("BatchNormalization", max_value=limit))
    assert lowered(model)["sum"] and lowered(model, training=True)["sum"]
    addresses = []
    for module in (model.left, model.sum, model.act):
        compute = module._compute
        module._compute = lambda x, compute=compute, **options: (
            addresses.append((y := compute(x, **options)).data_ptr()) or y
        )
    for way in (torch.no_grad, torch.enable_grad):
        addresses.clear()
        with way():
            model(batch())
        assert len({*addresses}) == 1 and len(addresses) == 3
    assert not lowered(built(summed("ReLU")))["left"]  # the input is the user's
    assert not lowered(built(summed("ReLU")), training=True)["sum"]


@pytest.mark.parametrize("kept", [None, "output", "view", "user's module", "later", "twice"])
def test_the_last_reader_overwrites_without_gradients(kept, monkeypatch):
    """A gate of squeeze and excitation does, unless something else has what it scales."""
    other = conv("other", "act")
    if kept == "view":
        other = one("Reshape", "other", "act", target_shape=[5, 4, 4])
    gated = ("act", "act") if kept == "twice" else ("act", "squeezed")
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv", "x"),
        one("ReLU", "act", "conv"),
        one("GlobalAveragePooling2D", "squeezed", "act", keepdims=True),
        other,
        merged("Multiply", "gate", *gated),
        add("end", "squeezed", "other", "gate", *(["act"] if kept == "later" else [])),
    ]
    names = ["end", *(["act"] if kept == "output" else [])]
    config = functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])
    model = built(config)
    if kept == "user's module":
        model.other = nn.Identity()
    compute, overwrites = model.gate._compute, []

    def gate(x, **options):
        y = compute(x, **options)
        overwrites.append(y.data_ptr() == x[0].data_ptr())
        return y

    model.gate._compute = gate
    found = model(batch())
    with torch.no_grad():
        assert_close(model(batch()), found)
    assert overwrites == [False, kept is None]
    forbid(monkeypatch)
    assert_close(model(batch()), found)


def test_images_keep_their_axes():
    """Between the layers nothing permutes them."""
    model = built(plain()).train()
    y = model(batch())
    names, found = [y.grad_fn], []
    while names:
        node = names.pop()
        if node is not None:
            found.append(node.name())
            names += [before for before, _ in node.next_functions]
    assert found.count("PermuteBackward0") <= 2  # before Flatten, and of the Dense layer's weight


@pytest.mark.parametrize("activity", ["bn0", "act0"])
def test_activity_terms_keep_their_numbers(activity, monkeypatch):
    results = []
    for _ in range(2):
        model = built(plain())
        model.get_submodule(activity).activity_regularizer = "l2"
        y = model(batch())
        (y.square().sum() + sum(model.losses)).backward()
        results.append([p.grad for p in model.parameters()])
        forbid(monkeypatch)
    assert_close(*results)


def test_what_does_not_go_together_is_told_by_the_layer():
    model = built(residual())
    model.act1 = nn.ConstantPad2d(1, 0.0)
    with pytest.raises(ValueError, match="Add: `inputs` must be of sizes that are equal or 1"):
        model(batch())
    model = built(plain())
    model.bn0 = Conv2D(3, 1, input_shape=(None, None, 5))
    with pytest.raises(ValueError, match="Conv2D: `inputs` must be of 5 channels"):
        model(batch())


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", MODELS)
def test_under_autocast_the_layers_are_called(name, training, monkeypatch):
    with torch.autocast("cpu", torch.bfloat16):
        found = results(built(MODELS[name]()), training, torch.float32)
        forbid(monkeypatch)
        assert_close(found, results(built(MODELS[name]()), training, torch.float32))


def pooled(**config):
    """Return zeros around what an activation gives, and a pooling of it."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        one("ReLU", "act", "x"),
        one("ZeroPadding2D", "pad", "act", padding=1),
        one("MaxPooling2D", "max", "pad", pool_size=3, **config),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["max", 0, 0]])


@pytest.mark.parametrize("dtype", ["float16", "float64", "mixed_bfloat16"])
def test_a_pooling_computes_in_its_own_type(dtype, monkeypatch):
    """Where it pads by itself, too."""
    found = built(pooled(dtype=dtype))(batch())
    forbid(monkeypatch)
    assert_close(found, built(pooled(dtype=dtype))(batch()))


@pytest.mark.parametrize(
    ("name", "new", "message"),
    [
        ("act3", Add(), "Add: `inputs` must be a list"),
        ("sum", ReLU(), "ReLU: `inputs` must be a tensor"),
        ("sum", Conv2D(4, 1, input_shape=(5, 4, 4)), "Conv2D: `inputs` must be a tensor"),
    ],
)
def test_lists_and_tensors_are_told_apart(name, new, message):
    model = built(residual())
    setattr(model, name, new)
    with pytest.raises(ValueError, match=message):
        model(batch())


HANDING_ON = {
    "nothing between": None,
    "dropout": ("Dropout", {"rate": 0.5}),
    "linear activation": ("Activation", {"activation": "linear"}),
}


@pytest.mark.parametrize("between", HANDING_ON)
def test_a_padding_comes_before_what_is_written_later(between):
    """A module in the place of a layer may overwrite what it shares with a ZeroPadding2D."""
    handing_on = HANDING_ON[between]
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        *([one(handing_on[0], "same", "conv0", **handing_on[1])] if handing_on else []),
        one("ZeroPadding2D", "pad", "same" if handing_on else "conv0", padding=1),
        one("ReLU", "act", "conv0"),
        {**conv("conv1", "pad"), "padding": "valid"},
    ]
    names = ("conv1", "act")
    config = functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])
    model = built(config).eval()
    with torch.no_grad():
        expected = model(batch())
        model.act = nn.ReLU(inplace=True)
        assert_close(model(batch()), expected)


@pytest.mark.parametrize("way", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_what_an_activation_hands_on_is_not_overwritten(way):
    """One that changes nothing gives the tensor that it got, which others may read."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        one("Activation", "same", "conv0", activation="linear"),
        one("ReLU", "act", "same"),
        one("Rescaling", "kept", "conv0", scale=1.0),
    ]
    names = ("kept", "act")  # the last are called first
    config = functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])
    with way():
        kept, activated = built(config)(batch())
    assert (kept < 0).any()
    assert_close(activated, kept.relu())


@pytest.mark.parametrize("amounts", [0, 1, [1, 2], [[1, 0], [0, 2]]], ids=str)
@pytest.mark.parametrize(
    "reader",
    [
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": "same", "strides": 2},
        {"kernel_size": 1, "padding": "valid", "strides": 2},
        {"kernel_size": [2, 1], "padding": "valid", "strides": [2, 1]},
        {"kernel_size": 2, "padding": "valid", "dilation_rate": [1, 2], "groups": 2},
        {"kernel_size": 3, "padding": "valid", "activation": "softmax"},
    ],
    ids=lambda one: ",".join(map(str, one.values())),
)
def test_whatever_reads_a_padded_image(reader, amounts, monkeypatch):
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        one("ZeroPadding2D", "pad", "x", padding=amounts),
        layer("Conv2D", "conv", [node(tensor("pad"))], filters=4, **reader),
    ]
    config = functional(*entries, inputs=["x", 0, 0], outputs=[["conv", 0, 0]])
    found = built(config)(batch())
    forbid(monkeypatch)
    assert_close(found, built(config)(batch()))
