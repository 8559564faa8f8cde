"""Masks: which layers make, pass on, use and drop them."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from kerastorch import layers
from kerastorch.layers import (
    BatchNormalization,
    Concatenate,
    Dot,
    GlobalAveragePooling1D,
    Identity,
    Maximum,
    Minimum,
    Multiply,
)
from tests.layers.case import batch, every_case

PASS_ON = {
    *("Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dense"),
    *("Dropout", "ELU", "GaussianDropout", "GaussianNoise", "GroupNormalization", "Identity"),
    *("LayerNormalization", "LeakyReLU", "Normalization", "PReLU", "ReLU", "Rescaling"),
    *("Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    "UnitNormalization",
}
MERGES = {"Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"}
X, Y = batch((2, 3, 4)), batch((2, 3, 4), seed=1)
LEFT = torch.tensor([[True, True, False], [False, True, False]])
RIGHT = torch.tensor([[True, False, False], [True, True, False]])


def keras_2(layer):
    """Return a layer as models of Keras 2 have it."""
    layer.masks_of_keras_2 = True
    return layer


def test_every_layer_passes_on_the_mask_or_drops_it():
    known = {case.name: case for case in every_case()}
    others = {"Embedding", "Masking", "ReversibleEmbedding", *MERGES}
    found = {
        name
        for name, case in known.items()
        if name not in others
        and case.in_keras
        and case.layer.__module__.split(".")[2] not in ("recurrent", "attention", "wrappers")
        and case.make().compute_mask(X, LEFT) is not None
    }
    assert found == PASS_ON
    for name in PASS_ON:
        assert known[name].make().compute_mask(X, LEFT) is LEFT


@pytest.mark.parametrize("name", sorted(MERGES - {"Concatenate"}))
def test_merged_masks(name):
    layer = getattr(layers, name)()
    assert torch.equal(layer.compute_mask([X, Y], [LEFT, RIGHT]), LEFT | RIGHT)
    assert layer.compute_mask([X, Y], [LEFT, None]) is None
    assert layer.compute_mask([X, Y], [None, None]) is layer.compute_mask([X, Y]) is None
    with pytest.raises(ValueError, match="a list with a mask or None for each of 2"):
        layer.compute_mask([X, Y], [LEFT])
    keras_2(layer)
    assert torch.equal(layer.compute_mask([X, Y], [LEFT, RIGHT]), LEFT & RIGHT)
    assert torch.equal(layer.compute_mask([X, Y], [None, RIGHT]), RIGHT)


def test_concatenated_masks():
    last, steps = Concatenate(), Concatenate(axis=1)
    assert torch.equal(last.compute_mask([X, Y], [LEFT, RIGHT]), LEFT | RIGHT)
    assert last.compute_mask([X, Y], [LEFT, None]).all()
    assert last.compute_mask([X, Y], [None, None]) is None
    assert torch.equal(steps.compute_mask([X, Y], [LEFT, RIGHT]), torch.cat([LEFT, RIGHT], 1))
    joined = torch.cat([LEFT, torch.ones_like(LEFT)], 1)
    assert torch.equal(steps.compute_mask([X, Y], [LEFT, None]), joined)
    assert torch.equal(keras_2(last).compute_mask([X, Y], [LEFT, None]), LEFT)


def test_masked_products_and_extrema():
    both, one, other = LEFT & RIGHT, LEFT & ~RIGHT, ~LEFT & RIGHT
    neither = ~(LEFT | RIGHT)
    for layer, combine in (
        (Multiply(), torch.mul),
        (Maximum(), torch.maximum),
        (Minimum(), torch.minimum),
    ):
        outputs = layer([X, Y], mask=[LEFT, RIGHT])
        assert_close(outputs[both], combine(X, Y)[both])
        assert_close(outputs[one], X[one])
        assert_close(outputs[other], Y[other])
        assert_close(layer([X, Y], mask=[LEFT, None])[~LEFT], Y[~LEFT])
        assert_close(keras_2(layer)([X, Y], mask=[LEFT, RIGHT]), combine(X, Y))
    assert not Multiply()([X, Y], mask=[LEFT, RIGHT])[neither].any()


def test_a_tensor_of_fewer_axes_loses_its_mask():
    x = batch((2, 4))
    found = Multiply()([x, Y], mask=[torch.tensor([True, False]), RIGHT])
    assert_close(found, x[:, None] * torch.where(RIGHT[..., None], Y, 1.0))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_mean_of_the_steps_in_the_mask(data_format, keepdims):
    layer = GlobalAveragePooling1D(data_format=data_format, keepdims=keepdims)
    x = X.clone()
    x[~LEFT] = float("nan")
    given = x if data_format == "channels_last" else x.transpose(1, 2)
    expected = torch.stack([x[0, :2].mean(0), x[1, 1]])
    assert_close(layer(given, mask=LEFT.float()).reshape(2, 4), expected)
    assert layer(given, mask=LEFT).shape == layer.compute_output_shape(given.shape)
    assert layer(given, mask=torch.zeros(2, 3)).isnan().all()
    assert layer.compute_mask(given, LEFT) is None
    with pytest.raises(ValueError, match=r"`mask` must be of the shape \(2, 3\)"):
        layer(given, mask=torch.ones(2, 4))


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_statistics_of_the_positions_in_the_mask(axis):
    layer = BatchNormalization(axis=axis, momentum=0.5)
    layer(X)
    layer.running_mean.zero_()
    mask = LEFT if axis == -1 else LEFT[:, :, None].expand(2, 3, 4)[..., 0]
    outputs = layer(X, mask=mask)
    if axis == -1:
        rows = X[mask]
        mean, variance = rows.mean(0), rows.var(0, correction=0)
        assert_close(layer.running_mean, mean / 2)
        assert_close(outputs, (X - mean) * (variance + 1e-3).rsqrt(), rtol=1e-5, atol=1e-5)
    before = layer.running_mean.clone()
    layer.eval()
    assert torch.equal(layer(X, mask=mask), layer(X)) and torch.equal(layer.running_mean, before)
    with pytest.raises(ValueError, match=r"`mask` must be of the shape \(2, 3\)"):
        layer(X, mask=torch.ones(2, 4))
    with pytest.raises(ValueError, match="`mask` must be None with `renorm`"):
        BatchNormalization(renorm=True)(X, mask=LEFT)


def test_layers_without_steps_drop_the_mask():
    assert Dot(2).compute_mask([X, Y], [LEFT, RIGHT]) is None
    assert Identity().compute_mask(X, LEFT) is LEFT
    assert keras_2(Identity()).compute_mask(X, LEFT) is None
