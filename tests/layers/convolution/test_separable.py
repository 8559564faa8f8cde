"""What is special about separable convolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from kerastorch.layers import SeparableConv1D, SeparableConv2D
from tests.layers.case import batch
from tests.layers.test_depthwise import CAUSAL, SEPARABLE


@pytest.mark.parametrize("name", [*SEPARABLE, "causal"])
def test_plain_pytorch_and_back(name: str) -> None:
    case = {**SEPARABLE, "causal": CAUSAL}[name]
    layer: Any = case.built(activity_regularizer=None)
    last = layer.data_format == "channels_last"
    x = case.inputs()
    plain = layer.to_torch(case.shape[1:-1] if last else case.shape[2:])
    outputs = plain(x.movedim(-1, 1) if last else x)
    assert_close(outputs.movedim(1, -1) if last else outputs, layer(x))
    steps = [step for step in plain if isinstance(step, (nn.Conv1d, nn.Conv2d))]
    assert steps[0].weight is layer.depthwise_weight
    assert steps[1].weight is layer.pointwise_weight and steps[1].bias is layer.bias
    if layer.padding == "valid":
        given = {"data_format": layer.data_format, "activation": layer.activation}
        again = type(layer).from_torch(nn.Sequential(*steps), **given)
        assert again.depthwise_weight is layer.depthwise_weight
        assert_close(again(x), layer(x))
        copied = type(layer).from_torch(nn.Sequential(*steps), copy=True, **given)
        assert copied.depthwise_weight is not layer.depthwise_weight
        assert_close(copied(x), layer(x))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(2, 2, 1), "`module` must be an nn.Sequential of two nn.Conv2d"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)), "`module` must be an nn.Sequential"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 3, 1)), "`module.groups` must be"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 3, 1)), "`module.0..bias` must"),
        (
            nn.Sequential(nn.Conv2d(2, 2, 3, groups=2, bias=False), nn.Conv2d(2, 3, 1, stride=2)),
            "`module.1.` must be a convolution with kernel size 1",
        ),
    ],
)
def test_other_modules_are_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SeparableConv2D.from_torch(module)


def test_causal_outputs_depend_on_earlier_steps_alone() -> None:
    layer = CAUSAL.built()
    x = CAUSAL.inputs()
    outputs = layer(x)
    later = x.clone()
    later[:, 5:] += 1
    assert_close(layer(later)[:, :5], outputs[:, :5])
    valid = SeparableConv1D(4, 3, dilation_rate=2, depth_multiplier=2)
    valid.build(x.shape)
    valid.load_state_dict(layer.state_dict())
    assert_close(valid(F.pad(x, (0, 0, 4, 0))), outputs)


def test_the_view_of_each_kernel() -> None:
    layer: Any = SEPARABLE["multiplied"].built()
    assert [v.name for v in layer.variables] == ["depthwise_kernel", "pointwise_kernel", "bias"]
    assert layer.depthwise_kernel.shape == (3, 2, 3, 2)
    assert layer.pointwise_kernel.shape == (1, 1, 6, 5)
    assert layer.depthwise_kernel[1, 0, 2, 1] == layer.depthwise_weight[5, 0, 1, 0]
    assert layer.pointwise_kernel[0, 0, 4, 3] == layer.pointwise_weight[3, 4, 0, 0]
    assert not hasattr(layer, "kernel")


def test_configs_of_keras_2_and_1() -> None:
    config = {"name": "s", "filters": 4, "kernel_size": [3, 3], "groups": 1}
    meaningless = {"kernel_initializer": "zeros", "kernel_regularizer": None}
    layer = SeparableConv2D.from_config({**config, **meaningless, "kernel_constraint": None})
    assert (layer.filters, layer.kernel_size) == (4, (3, 3))
    with pytest.raises(TypeError, match=r"`groups` must be 1, .* Received: groups=2\."):
        SeparableConv2D.from_config({**config, "groups": 2})
    old = {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "init": "he_normal", "border_mode": "same"}
    old |= {"subsample": [1, 2], "dim_ordering": "th", "bias": False, "b_regularizer": None}
    old |= {"depthwise_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.5}}
    found = SeparableConv2D.from_config(old).get_config()
    assert (found["kernel_size"], found["strides"], found["padding"]) == ((3, 2), (1, 2), "same")
    assert (found["data_format"], found["use_bias"]) == ("channels_first", False)
    assert found["pointwise_initializer"]["class_name"] == "HeNormal"
    assert found["depthwise_initializer"]["class_name"] == "HeNormal"
    assert found["depthwise_regularizer"]["class_name"] == "L1L2"


def test_one_channel_whose_output_is_one_wide() -> None:
    """Where oneDNN computes wrong values of channels_last."""
    for width in range(1, 8):
        layer = SeparableConv2D(3, 3, strides=(1, 2), padding="same")
        x = batch((3, 9, width, 1), seed=width)
        outputs = layer(x)
        assert_close(outputs.double(), layer.double()(x.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_a_large_last_step_is_a_product(grad: bool) -> None:
    layer = SeparableConv2D(64, 3)
    x = batch((2, 42, 41, 64))
    with torch.set_grad_enabled(grad):
        outputs = layer(x)
        double = layer.double()(x.double())
    assert_close(outputs.double(), double, rtol=1e-4, atol=1e-4)
