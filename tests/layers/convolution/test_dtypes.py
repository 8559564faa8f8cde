"""The types of numbers: policies, conversions, and torch.autocast."""

import pytest
import torch
from torch.testing import assert_close

from kerastorch import config
from kerastorch.layers import Conv2D
from tests.layers.contract import FLOATS, batch
from tests.layers.convolution.oracle import convolve

F16, BF16, F32, F64 = FLOATS
# policy -> type of the weights, type of the output
POLICIES = {
    "float16": (F16, F16),
    "bfloat16": (BF16, BF16),
    "float32": (F32, F32),
    "float64": (F64, F64),
    "mixed_float16": (F32, F16),
    "mixed_bfloat16": (F32, BF16),
}
TOLERANCE = {F16: 4e-3, BF16: 3e-2, F32: 1e-5, F64: 1e-12}
SHAPE = (2, 5, 7, 3)


def layer_of(dtype, **arguments):
    arguments = {"bias_initializer": "random_normal", "padding": "same", **arguments}
    return Conv2D(4, (2, 3), dtype=dtype, input_shape=SHAPE[1:], **arguments)


def assert_right(outputs, layer, x, dtype):
    """Check an output's type, and its values against the oracle."""
    assert outputs.dtype is dtype
    tolerance = TOLERANCE[dtype]
    expected = convolve(x.double().cpu(), *layer.get_weights(), padding="same")
    assert_close(outputs.double().cpu(), torch.from_numpy(expected), rtol=tolerance, atol=tolerance)


def test_the_check_can_fail():
    layer, x = layer_of("float32"), batch(SHAPE)
    outputs = layer(x)
    assert_right(outputs, layer, x, F32)
    for wrong, dtype in ((outputs.double(), F32), (outputs + 1e-3, F32), (outputs.half(), F32)):
        with pytest.raises(AssertionError):
            assert_right(wrong, layer, x, dtype)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("given", [*FLOATS, torch.int32, torch.uint8, torch.bool], ids=str)
def test_policies(policy, given, device):
    variable, compute = POLICIES[policy]
    layer = layer_of(policy, device=device)
    x = batch(SHAPE).mul(3).round().abs().to(given)
    outputs = layer(x.to(device))
    assert {p.dtype for p in layer.parameters()} == {variable}
    assert_right(outputs, layer, x, compute)
    outputs.float().sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} == {variable}
    assert (layer.dtype, layer.variable_dtype, layer.compute_dtype) == (
        *[str(variable).removeprefix("torch.")] * 2,
        str(compute).removeprefix("torch."),
    )


def test_the_default_is_the_config_s_when_the_layer_is_made():
    config.set_floatx("float64")
    layer = Conv2D(4, 3)
    config.set_floatx("float16")
    assert layer(batch((2, 5, 6, 3))).dtype is F64
    assert layer.weight.dtype is F64


def test_an_initializer_is_told_the_type():
    for policy, (variable, _) in POLICIES.items():
        seen = []
        layer_of(policy, bias_initializer=lambda shape, dtype, seen=seen: seen.append(dtype) or
                 torch.zeros(shape))  # fmt: skip
        assert seen == [str(variable).removeprefix("torch.")]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_losses_of_a_mixed_policy(policy):
    layer = layer_of(policy, activity_regularizer="l2", kernel_regularizer="l2")
    layer(batch(SHAPE))
    assert [loss.dtype for loss in layer.losses] == [POLICIES[policy][1], F32]


def test_without_autocast_nothing_is_cast():
    layer = layer_of("mixed_bfloat16", autocast=False)
    x = batch(SHAPE)
    assert_right(layer(x), layer, x, F32)
    with pytest.raises(RuntimeError, match=r"`inputs\.dtype` must be the weights' dtype"):
        layer(x.double())
    assert_right(layer(x.mul(9).int()), layer, x.mul(9).int(), F32)


# torch.autocast


@pytest.mark.parametrize("activation", ["relu", "softmax", "gelu", "silu"])
@pytest.mark.parametrize("groups", [1, 3])
def test_autocast_does_what_it_does_to_plain_modules(activation, groups):
    layer = Conv2D(6, (2, 3), strides=(2, 1), padding="same", activation=activation, groups=groups,
                   input_shape=SHAPE[1:])  # fmt: skip
    plain, x = layer.to_torch(SHAPE[1:3]), batch(SHAPE)
    for mode in (torch.enable_grad, torch.no_grad):
        with mode(), torch.autocast("cpu", torch.bfloat16):
            outputs, expected = layer(x), plain(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert outputs.dtype is expected.dtype
        assert_close(outputs, expected)


def test_autocast_switched_off_inside_is_no_autocast():
    layer, x = layer_of("float32"), batch(SHAPE)
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        assert_right(layer(x.bfloat16()), layer, x.bfloat16(), F32)


def test_a_first_call_under_autocast_builds_weights_of_the_policy():
    layer = Conv2D(4, (2, 3), activity_regularizer="l2")
    with torch.autocast("cpu", torch.bfloat16):
        layer(batch(SHAPE)).float().sum().backward()
    assert {p.dtype for p in layer.parameters()} == {F32}
    assert layer.weight.grad.dtype is F32
