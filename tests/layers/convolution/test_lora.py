"""Conv2D with LoRA: a frozen kernel and a trained difference of low rank."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import regularization_loss
from kerastorch.layers import Conv2D
from tests.layers.contract import assert_lazy, batch, state_of, step

NAMES = ["weight", "bias", "lora_kernel_a", "lora_kernel_b"]


def enabled(rank=2, lora_alpha=None, **arguments):
    """Return a built layer whose difference is not 0."""
    layer = Conv2D(5, (2, 3), input_shape=(5, 6, 4), **arguments)
    layer.enable_lora(rank, lora_alpha, b_initializer="random_normal")
    return layer


def merged(layer, scale):
    """Return the merged kernel, from its definition."""
    difference = torch.einsum("hwir,ro->hwio", layer.lora_kernel_a, layer.lora_kernel_b)
    return layer.weight.permute(2, 3, 1, 0) + scale * difference


@pytest.mark.parametrize(("rank", "alpha", "scale"), [(2, None, 1), (2, 3.0, 1.5), (3, 0.0, 0)])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_merged_kernel(rank, alpha, scale, groups):
    layer = Conv2D(6, (2, 3), groups=groups, input_shape=(5, 6, 4), dtype="float64")
    before, x = layer.kernel.detach().clone(), batch((2, 5, 6, 4), torch.float64)
    layer.enable_lora(rank, alpha, b_initializer="ones")
    assert layer.lora_kernel_a.shape == (2, 3, 4 // groups, rank)
    assert layer.lora_kernel_b.shape == (rank, 6)
    assert layer.lora_kernel_a.dtype is layer.lora_kernel_b.dtype is torch.float32
    assert_close(layer.kernel, merged(layer, scale))
    assert (scale != 0) == (not torch.equal(layer.kernel, before))
    plain = Conv2D(6, (2, 3), groups=groups, input_shape=(5, 6, 4), dtype="float64")
    plain.set_weights([layer.kernel, layer.bias])
    assert_close(layer(x), plain(x))


def test_it_starts_without_a_difference():
    layer, x = Conv2D(5, (2, 3), padding="same"), batch((2, 5, 6, 4))
    before = layer(x)
    layer.enable_lora(2)
    assert_close(layer(x), before)
    assert layer.lora_kernel_a.any() and not layer.lora_kernel_b.any()
    bound = (6 / (2 * 3 * 4)) ** 0.5  # he_uniform
    assert 0.7 * bound < layer.lora_kernel_a.abs().max() <= bound


def test_only_the_difference_and_the_bias_are_trained():
    layer, x = enabled(), batch((2, 5, 6, 4))
    before = state_of(layer)
    step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.01))
    after = layer.state_dict()
    assert [name for name in NAMES if not torch.equal(before[name], after[name])] == NAMES[1:]
    assert layer.trainable_weights == [layer.bias, layer.lora_kernel_a, layer.lora_kernel_b]


@pytest.mark.parametrize("way", ["constructor", "enabled"])
def test_trainable_speaks_of_the_kernel_too_as_in_keras(way):
    layer = enabled() if way == "enabled" else Conv2D(5, 2, lora_rank=2, input_shape=(5, 6, 4))
    assert [p.requires_grad for p in layer.parameters()] == [False, True, True, True]
    for trainable in (False, True):
        layer.trainable = trainable
        assert [p.requires_grad for p in layer.parameters()] == [trainable] * 4


def test_a_frozen_layer_has_a_frozen_difference():
    layer = Conv2D(5, 2, trainable=False, input_shape=(5, 6, 4))
    layer.enable_lora(2)
    assert layer.trainable_weights == [] and not layer(batch((2, 5, 6, 4))).requires_grad


def test_the_regularizer_sees_both_factors_and_not_the_kernel():
    layer = enabled(kernel_regularizer="l2")
    factors = (layer.lora_kernel_a, layer.lora_kernel_b)
    assert_close(layer.losses, [0.01 * factor.square().sum() for factor in factors])
    assert_close(regularization_loss(layer), sum(layer.losses))


def test_the_constructor_makes_the_same():
    made, later = Conv2D(5, (2, 3), lora_rank=2), enabled()
    assert_lazy(made)
    made.build((2, 5, 6, 4))
    assert list(made.state_dict()) == list(later.state_dict()) == NAMES
    made.load_state_dict(later.state_dict())
    x = batch((2, 5, 6, 4))
    assert_close(made(x), later(x))
    assert [p.requires_grad for p in made.parameters()] == [
        p.requires_grad for p in later.parameters()
    ]
    assert made.get_config() == {**later.get_config(), "name": made.name}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"lora_rank": 0}, {}),
        ({"lora_alpha": 3.0}, {}),
        ({"lora_rank": 2}, {"lora_rank": 2, "lora_alpha": 2}),
        ({"lora_rank": 2, "lora_alpha": 0.5}, {"lora_rank": 2, "lora_alpha": 0.5}),
    ],
)
def test_what_the_config_has_of_it(arguments, expected):
    layer = Conv2D(4, 3, **arguments)
    config = layer.get_config()
    assert {name: config[name] for name in config if name.startswith("lora")} == expected
    assert layer.lora_enabled == bool(expected)
    assert Conv2D.from_config(config).get_config() == config


def test_a_layer_without_it_refuses_a_state_dict_with_it():
    layer = Conv2D(5, (2, 3), input_shape=(5, 6, 4))
    with pytest.raises(RuntimeError, match=r"Unexpected key.*lora_kernel_a"):
        layer.load_state_dict(enabled().state_dict())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_bfloat16", "float64"])
def test_the_factors_are_float32_whatever_the_policy(dtype):
    layer = Conv2D(4, (2, 3), dtype=dtype, lora_rank=2)
    outputs = layer(batch((2, 5, 6, 3)))
    factors = (layer.lora_kernel_a, layer.lora_kernel_b)
    assert {factor.dtype for factor in factors} == {torch.float32}
    assert str(outputs.dtype) == f"torch.{layer.compute_dtype}" == f"torch.{dtype[-8:].strip('_')}"
    outputs.float().sum().backward()
    assert layer.lora_kernel_b.grad.dtype is torch.float32


@pytest.mark.parametrize("activation", [None, "relu"])
def test_plain_modules_have_the_merged_kernel(activation):
    layer, x = enabled(activation=activation), batch((2, 5, 6, 4))
    plain = layer.to_torch()
    assert_close(plain(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), layer(x))
    conv = plain if activation is None else plain[0]
    assert isinstance(conv, nn.Conv2d) and conv.weight is not layer.weight


@pytest.mark.parametrize("rank", [2])
def test_a_plain_convolution_with_it_has_a_frozen_kernel(rank):
    native = nn.Conv2d(4, 5, (2, 3))
    layer, x = Conv2D.from_torch(native, copy=True, lora_rank=rank), batch((2, 5, 6, 4))
    assert_close(layer(x), native(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    assert [p.requires_grad for p in layer.parameters()] == [False, True, True, True]
