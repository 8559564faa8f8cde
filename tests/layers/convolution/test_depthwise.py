"""What is special about depthwise convolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import DepthwiseConv2D
from tests.layers.case import batch
from tests.layers.test_depthwise import DEPTHWISE
from tests.models.configs import input_layer, sequential
from tests.models.lowered import built, lowered, one


@pytest.mark.parametrize("name", ["multiplied", "many", "line"])
def test_the_filters_of_a_channel_lie_side_by_side(name: str) -> None:
    layer: Any = DEPTHWISE[name].built(use_bias=False, activation=None)
    x = batch(DEPTHWISE[name].shape)
    multiplier = layer.depth_multiplier
    outputs = layer(x)
    for channel in range(x.shape[-1]):
        alone = torch.zeros_like(x)
        alone[..., channel] = x[..., channel]
        own = slice(channel * multiplier, (channel + 1) * multiplier)
        assert_close(layer(alone)[..., own], outputs[..., own])
        rest = layer(alone).clone()
        rest[..., own] = 0
        assert rest.count_nonzero() == 0
    assert layer.kernel.shape[-2:] == (x.shape[-1], multiplier)
    index = (0,) * layer.rank
    assert layer.kernel[(*index, 1, 1)] == layer.weight[(multiplier + 1, 0, *index)]


def test_one_channel_whose_output_is_one_wide() -> None:
    """Where oneDNN computes wrong values of channels_last."""
    for width in range(1, 8):
        for stride in (2, 3):
            for kernel, multiplier in ((2, 1), (3, 1), (3, 2)):
                layer = DepthwiseConv2D((3, kernel), strides=(1, stride), padding="same",
                                        depth_multiplier=multiplier)  # fmt: skip
                x = batch((3, 9, width, 1), seed=width)
                outputs = layer(x)
                assert_close(outputs.double(), layer.double()(x.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DEPTHWISE)
def test_plain_pytorch_and_back(name: str) -> None:
    case = DEPTHWISE[name]
    layer: Any = case.built(activity_regularizer=None)
    to_first = layer.data_format == "channels_last"
    sizes = case.shape[1:-1] if to_first else case.shape[2:]
    plain = layer.to_torch(sizes)
    x = case.inputs()
    outputs = plain(x.movedim(-1, 1) if to_first else x)
    assert_close(outputs.movedim(1, -1) if to_first else outputs, layer(x))
    own = next(module for module in plain.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d)))
    assert own.weight is layer.weight
    assert own.groups == own.in_channels == case.shape[-1 if to_first else 1]
    if own.padding == (0,) * layer.rank:
        again: Any = type(layer).from_torch(own, data_format=layer.data_format)
        assert again.depth_multiplier == layer.depth_multiplier
        assert again.weight is layer.weight
        if layer.padding == "valid":
            assert_close(layer.activation(again(x)), layer(x))


def test_a_grouped_convolution_of_more_channels_is_none() -> None:
    with pytest.raises(ValueError, match=r"DepthwiseConv2D.from_torch: `module.groups` must be"):
        DepthwiseConv2D.from_torch(nn.Conv2d(4, 4, 3, groups=2))


def test_configs_of_keras_2() -> None:
    config = {"name": "d", "kernel_size": [3, 3], "groups": 1, "depth_multiplier": 2}
    layer = DepthwiseConv2D.from_config(config)
    assert (layer.kernel_size, layer.depth_multiplier) == ((3, 3), 2)
    with pytest.raises(TypeError, match=r"`groups` must be 1, .* Received: groups=2\."):
        DepthwiseConv2D.from_config({**config, "groups": 2})


def test_it_has_no_lora() -> None:
    layer = DEPTHWISE["valid"].built()
    with pytest.raises(AttributeError, match="`rank` must be left out"):
        layer.enable_lora(2)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["many", "many-same-large"])
def test_the_channels_are_repeated_for_speed_alone(name: str) -> None:
    """In double precision nothing is repeated."""
    layer = DEPTHWISE[name].built()
    found = []
    for dtype in (torch.float32, torch.float64):
        x = DEPTHWISE[name].inputs(dtype=dtype).requires_grad_()
        outputs = layer.to(dtype)(x)
        slope = batch(tuple(outputs.shape), dtype, seed=3)
        found.append([outputs, *torch.autograd.grad(outputs, [x, *layer.parameters()], slope)])
    for single, double in zip(*found, strict=True):
        assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("name", ["padded", "strided"])
def test_a_lowered_model_pads_and_overwrites(name: str, multiplier: int, training: bool) -> None:
    strides, padding = {"padded": (1, "valid"), "strided": (2, "same")}[name]
    model = built(
        sequential(
            input_layer("x", (None, 8, 7, 20)),
            one("ZeroPadding2D", "pad", padding=1),
            one("DepthwiseConv2D", "depthwise", kernel_size=3, strides=strides, padding=padding,
                depth_multiplier=multiplier),
            one("BatchNormalization", "bn"),
            one("ReLU", "act", max_value=6),
        )
    ).train(training)  # fmt: skip
    assert len(model._program.deferred) == (name == "padded")
    inplace = lowered(model, training=training)
    assert [inplace[layer] for layer in ("depthwise", "bn", "act")] == [False, False, True]
    x = batch((2, 8, 7, 20), seed=1)
    outputs, wanted = model(x), x
    for layer in ("pad", "depthwise", "bn", "act"):
        wanted = model.layers[layer](wanted)
    assert_close(outputs, wanted)
