"""Where a layer is not called inside, or not in every way: what comes in, and who else sees it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import Add, Conv2D, ReLU
from tests.models.configs import functional, input_layer, layer, node, tensor
from tests.models.test_inside import (
    EVERYWHERE,
    SHAPE,
    batch,
    built,
    conv,
    forbid,
    one,
    plain,
    residual,
)


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


@pytest.mark.filterwarnings("ignore:.*global hooks on modules:UserWarning")
@pytest.mark.parametrize(
    "hook", ["forward", pytest.param("before forward", marks=pytest.mark.sweep)]
)
def test_a_hook_of_all_modules_is_in_the_graph(hook):
    model, seen = built(plain()), []
    handle = EVERYWHERE[hook](lambda module, *arguments: seen.append(type(module).__name__))
    try:
        torch.compile(model, backend="eager")(batch())
    finally:
        handle.remove()
        torch.compiler.reset()
    assert {"Conv2D", "BatchNormalization", "Activation", "Dense", "ReLU"} <= set(seen)


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
