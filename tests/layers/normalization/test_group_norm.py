"""GroupNormalization."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import GroupNormalization
from tests.layers.case import NoModule, batch, cases

F64 = torch.float64
RANDOM = {"gamma_initializer": "random_normal", "beta_initializer": "random_normal"}
MANY_VALUES = [(2, 1100, 16), (2, 32, 33, 16), (3, 28, 27, 16)]  # of which each sample has few
ARGUMENTS = [
    ("groups", 0, ValueError),
    ("groups", -2, ValueError),
    ("groups", 2.0, ValueError),
    ("groups", 5, ValueError),
    ("groups", 12, ValueError),
    ("axis", "a", TypeError),
    ("axis", [1], TypeError),
    ("axis", 7, IndexError),
    ("epsilon", "a", TypeError),
    ("epsilon", None, TypeError),
]
# Half precision and integers are rounded to the input's dtype, as in Keras: see below
ROUNDED = frozenset({"test_inputs_of_all_dtypes"})
CASES = [
    *cases(
        GroupNormalization,
        {**RANDOM, "groups": 2},
        {**RANDOM, "groups": 3, "center": False, "epsilon": 0.1},
        {**RANDOM, "groups": -1, "scale": False, "gamma_regularizer": "l2"},
        {**RANDOM, "groups": 2, "beta_regularizer": "l1", "trainable": False},
        shape=(3, 4, 5, 6),
        in_double=False,
        other=[(2, 7, 8, 6)],
        refused=[(3, 4, 6, 5), (6,)],
        refused_arguments=ARGUMENTS,
        exempt=ROUNDED,
    ),
    *cases(
        GroupNormalization,
        NoModule({"groups": 2, "center": False, "scale": False}),
        shape=(3, 4, 5, 6),
        in_double=False,
        other=[(2, 7, 8, 4)],
        refused=[(3, 4, 6, 5), (6,)],
        exempt=ROUNDED,
    ),
    *cases(
        GroupNormalization,
        {**RANDOM, "groups": 2, "axis": 1},
        {**RANDOM, "groups": -1, "axis": -3},
        shape=(3, 4, 5, 6),
        in_double=False,
        other=[(2, 4, 7, 8)],
        refused=[(3, 7, 4, 6)],
        exempt=ROUNDED,
        thorough=True,
    ),
    *cases(
        GroupNormalization, {**RANDOM, "groups": 2}, shape=(3, 6), in_double=False, refused=[(3, 4)]
    ),
    *cases(
        GroupNormalization,
        {**RANDOM, "groups": 3},
        shape=(3, 4, 6),
        in_double=False,
        refused=[(3, 6, 4)],
    ),
    *cases(
        GroupNormalization,
        {**RANDOM, "groups": 4},
        shape=(2, 3, 4, 5, 8),
        in_double=False,
        refused=[(2, 8, 4)],
    ),
    *cases(
        GroupNormalization,
        {**RANDOM, "groups": 2, "axis": 2},
        shape=(3, 5, 6, 7),
        in_double=False,
        refused=[(3, 6)],
    ),
]


@pytest.mark.parametrize("shape", [(2, 30, 16), (2, 9, 7, 16), (2, 5, 4, 3, 16), *MANY_VALUES])
@pytest.mark.parametrize("mode", ["inference", "without a gradient of the input", "training"])
def test_the_variance_is_accurate_where_the_mean_is_large(shape, mode):
    """As in TensorFlow, the error is that of a mean in single precision."""
    x = (batch(shape) + 1000).requires_grad_(mode == "training")
    layer = GroupNormalization(4)
    with torch.set_grad_enabled(mode != "inference"):
        found = layer(x).detach()
    assert_close(found, layer.double()(x.double()).float().detach(), rtol=0, atol=3e-4)


@pytest.mark.parametrize("trained", [False, True])
def test_the_variance_is_accurate_for_large_images(trained):
    """Torch adds all squares of an image in one running sum, which is off by 1e-4 here."""
    x, layer = batch((1, 512, 512, 4)).requires_grad_(trained), GroupNormalization(2)
    with torch.set_grad_enabled(trained):
        found = layer(x).detach()
    assert_close(found, layer.double()(x.double()).float().detach(), rtol=0, atol=5e-6)


@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"center": False}])
@pytest.mark.parametrize("groups", [4, 8, 16])
@pytest.mark.parametrize("shape", MANY_VALUES)
def test_many_values_are_normalized_as_few(shape, groups, arguments):
    layer, x = GroupNormalization(groups, **{**RANDOM, **arguments}), batch(shape)
    single = torch.cat([layer(one) for one in x.split(1)])
    assert_close(layer(x), single)
    x.requires_grad_()
    assert_close(layer(x), single)
    own = [x, *layer.parameters()]
    few = sum(layer(one).pow(3).mean() for one in x.split(1)) / len(x)
    assert_close(torch.autograd.grad(layer(x).pow(3).mean(), own), torch.autograd.grad(few, own))


@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"center": False}])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 40, 40, 40)])
def test_an_input_without_gradient_trains_the_layer(axis, shape, arguments):
    """On a CPU, torch's own backward pass crashes here with channels_last values."""
    layer, x = GroupNormalization(2, axis, **arguments), batch(shape)
    layer(x).square().mean().backward()
    found = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    layer(x.requires_grad_()).square().mean().backward()
    assert_close([parameter.grad for parameter in layer.parameters()], found)


@pytest.mark.parametrize("axis", [0, -4])
def test_the_axis_of_the_batch_is_refused(axis):
    with pytest.raises(ValueError, match="`axis` must be another axis than the batch's"):
        GroupNormalization(1, axis)(batch((3, 4, 5, 6)))


def test_both_layouts_compute_the_same():
    layer = GroupNormalization(2, gamma_initializer="random_normal")
    other = GroupNormalization(2, axis=1)
    x = batch((3, 4, 5, 6))
    expected = layer(x)
    other.build((3, 6, 4, 5))
    other.load_state_dict(layer.state_dict())
    assert_close(other(x.movedim(-1, 1)).movedim(1, -1), expected)
    assert_close(layer._compute(x.movedim(-1, 1), axis=1).movedim(1, -1), expected)


def test_instance_normalization_has_its_number_of_groups_after_the_build():
    layer = GroupNormalization(-1)
    assert layer.get_config()["groups"] == -1
    x = batch((2, 5, 4, 3), F64)
    outputs = layer.double()(x)
    assert layer.get_config()["groups"] == 3
    mean, variance = x.mean((1, 2), keepdim=True), x.var((1, 2), correction=0, keepdim=True)
    assert_close(outputs, (x - mean) / (variance + 1e-3).sqrt(), rtol=1e-12, atol=1e-12)


def test_half_precision_is_computed_in_single():
    x = torch.full((1, 40, 40, 2), 300.0)  # the sum of squares exceeds what float16 holds
    x[:, ::2] = 1.0
    expected = GroupNormalization(1)(x)
    for policy in ("float16", "mixed_float16"):
        found = GroupNormalization(1, dtype=policy)(x.half())
        assert found.dtype is torch.float16
        assert_close(found.float(), expected, rtol=2e-3, atol=2e-3)
    integers = (x / 7).int()
    found = GroupNormalization(1)(integers)
    assert torch.equal(found, GroupNormalization(1)(integers.float()).int().float())


@pytest.mark.parametrize("copied", [False, True])
def test_from_and_to_torch(copied):
    plain, x = nn.GroupNorm(2, 6, eps=0.1), batch((3, 6, 4, 5))
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    layer = GroupNormalization.from_torch(plain, copy=copied)
    assert_close(layer(x.movedim(1, -1)).movedim(-1, 1), plain(x))
    assert (layer.weight is plain.weight) is not copied
    assert_close(GroupNormalization.from_torch(plain, axis=1)(x), plain(x))
    assert_close(layer.to_torch(copy=copied)(x), plain(x))
    bare = GroupNormalization.from_torch(nn.GroupNorm(2, 6, affine=False))
    assert not bare.weights
    with pytest.raises(ValueError, match="`layer` must be one with weights"):
        bare.to_torch()
    with pytest.raises(ValueError, match=r"`module` must be an initialized nn\.GroupNorm"):
        GroupNormalization.from_torch(nn.LayerNorm(2))
