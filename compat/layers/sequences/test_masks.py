"""Masks beside Keras on torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from compat.layers.test_layers import make_theirs
from kerastorch import layers
from tests.layers.case import every_case

keras = pytest.importorskip("keras")
RANDOM = np.random.default_rng(0)
X, Y = (torch.tensor(RANDOM.normal(size=(3, 5, 4)), dtype=torch.float32) for _ in "xy")
LEFT, RIGHT = (torch.tensor(RANDOM.random((3, 5)) > 0.5) for _ in "xy")
CASES = {case.name: case for case in every_case() if case.in_keras and case.layer.rank is None}
ONE = [n for n, c in CASES.items() if not isinstance(c.shape, list) and n != "InputLayer"]
MERGES = ["Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"]


def call(layer, tensors, masks):
    """Call Keras's layer on tensors with masks; return the output and its mask."""
    given = [tensor.clone() for tensor in tensors]
    for tensor, mask in zip(given, masks, strict=True):
        if mask is not None:
            keras.src.backend.set_keras_mask(tensor, mask)
    outputs = layer(given)
    return outputs, keras.src.backend.get_keras_mask(outputs)


@pytest.mark.parametrize("name", ONE)
def test_the_mask_of_the_output(name):
    case = CASES[name]
    ours, theirs = case.make(), make_theirs(case, case.arguments)
    assert bool(ours.supports_masking) == bool(theirs.supports_masking)
    if not theirs.supports_masking:
        assert ours.compute_mask(X, LEFT) is None
    else:
        found, expected = ours.compute_mask(X, LEFT), theirs.compute_mask(X, LEFT)
        if expected is None or name == "ReversibleEmbedding":  # which reads the mask off its input
            return
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("masks", [(LEFT, RIGHT), (LEFT, None), (None, RIGHT), (None, None)])
@pytest.mark.parametrize("axis", [-1, 1])
def test_merged_tensors_and_masks(name, masks, axis):
    arguments = {"axis": axis} if name == "Concatenate" else {}
    layer = getattr(layers, name)(**arguments)
    expected, mask = call(getattr(keras.layers, name)(**arguments), [X, Y], masks)
    given = {"mask": list(masks)} if layer.call_arguments else {}
    assert_close(layer([X, Y], **given), expected, rtol=0, atol=0)
    found = layer.compute_mask([X, Y], list(masks))
    assert (found is None) == (mask is None)
    assert mask is None or torch.equal(found, mask)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_masked_mean(data_format):
    theirs = keras.layers.GlobalAveragePooling1D(data_format=data_format)
    ours = layers.GlobalAveragePooling1D(data_format=data_format)
    mask = LEFT if data_format == "channels_last" else LEFT[:, :4]
    assert_close(ours(X, mask=mask), theirs(X, mask=mask), equal_nan=True)


@pytest.mark.parametrize("axis", [-1, 1])
def test_masked_batch_statistics(axis):
    ours = layers.BatchNormalization(axis=axis)
    theirs = keras.layers.BatchNormalization(axis=axis)
    given = [X.clone().requires_grad_() for _ in "xy"]
    left, right = ours(given[0], mask=LEFT), theirs(given[1], mask=LEFT, training=True)
    assert_close(left, right, rtol=1e-6, atol=1e-6)
    for outputs in (left, right):
        (outputs * outputs.cos()).sum().backward()
    assert_close(given[0].grad, given[1].grad, rtol=1e-6, atol=1e-6)
    for mine, yours in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(mine, yours, rtol=1e-6, atol=1e-6)
