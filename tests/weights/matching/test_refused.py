"""Weights that do not fit, and layers that would compute other values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch._core.errors import FileError
from kerastorch.graph.spec import LayerSpec
from kerastorch.saving.weights.config_differences import find_config_differences
from tests.weights.matching.sources import array, conv, tree

# What is refused


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_changed(load):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5), nn.Bilinear(2, 2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    source = tree(
        layers__dense=conv(2, 2), layers__dense_1=conv(2, 4), layers__embedding=[array(2, 2)]
    )
    with pytest.raises(FileError) as caught:
        load(model, source)
    said = str(caught.value)
    for part in (
        "1.weight has the shape (2, 5)",
        "(2, 4) at layers/dense_1/vars/0",
        "1.bias",
        "Bilinear",
        "unexpected: layers/embedding/vars/0 (2, 2) matches no parameter",
    ):
        assert part in said
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.warns(UserWarning, match=r"1 is left as it is: .* \(2, 5\)"):
        load(model, source, strict=False, by="order")


def test_an_order_that_does_not_fit_is_never_used_unasked(load):
    source = tree(layers__dense=("x", conv(2, 2)), layers__dense_1=("y", conv(2, 2)))
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(FileError):
        load(model, source, strict=False)
    report = load(model, source, strict=False, by="order")
    assert [entry.source for entry in report.unexpected] == [
        "layers/dense_1/vars/0",
        "layers/dense_1/vars/1",
    ]


def test_nothing_loaded_is_an_error(load):
    for source in (tree(), tree(layers__dense=("x", conv(2, 2)))):
        with pytest.raises(FileError):
            load(nn.Sequential(nn.ReLU()), source, strict=False)


@pytest.mark.parametrize("dtype", ["int8", "int32", "bool"])
def test_numbers_that_are_no_floats_are_refused(load, dtype):
    source = tree(layers__dense=[np.ones((2, 2), dtype), array(2)])
    with pytest.raises(FileError, match=dtype):
        load(nn.Linear(2, 2), source)


def test_numbers_too_large_for_the_type_are_refused(load):
    module = nn.Linear(2, 2).half()
    with pytest.raises(FileError, match="wider"):
        load(module, tree(layers__dense=[array(2, 2) + np.float32(1e6), array(2)]))
    assert module.weight.abs().max() < 1


def test_computed_and_empty_parameters_are_refused(load):
    source = tree(layers__dense=conv(2, 2))
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    layer = keras.layers.Dense(2, input_shape=(2,))
    nn.utils.parametrizations.weight_norm(layer)
    for module in (normed, layer):
        with pytest.raises(FileError, match="parametrization"):
            load(module, source)
    with pytest.raises(FileError, match="to_empty"):
        load(nn.Linear(2, 2, device="meta"), source)


def test_tied_parameters_must_get_the_same_values(load):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    one, two = conv(2, 2), conv(2, 2)
    with pytest.raises(FileError, match="one parameter"):
        load(model, tree(layers__dense=one, layers__dense_1=two))
    load(model, tree(layers__dense=one, layers__dense_1=[one[0], two[1]]))


# What would compute other numbers


BATCH_NORM = ("BatchNormalization", {})
SAME = ("Conv2D", {"padding": "same"})
SAME_TWICE = ("Conv2DTranspose", {"strides": 2, "padding": "same"})
OURS = {"filters": 2, "kernel_size": 3}


@pytest.mark.parametrize(
    "module, layer, said",
    [
        (nn.BatchNorm2d(2), BATCH_NORM, "eps=0.001"),
        (nn.BatchNorm2d(2, eps=1e-3), BATCH_NORM, None),
        (nn.BatchNorm2d(2), ("BatchNormalization", {"epsilon": 1e-5}), None),
        (nn.LayerNorm(2), ("LayerNormalization", {}), "eps"),
        (nn.LayerNorm(2, eps=1e-3), ("LayerNormalization", {}), None),
        (nn.LayerNorm(2, eps=1e-3), ("LayerNormalization", {"rms_scaling": True}), "rms_scaling"),
        (nn.RMSNorm(2), ("RMSNormalization", {}), "eps=None"),
        (nn.RMSNorm(2, eps=1e-6), ("RMSNormalization", {}), None),
        (nn.GroupNorm(2, 4, eps=1e-3), ("GroupNormalization", {"groups": 4}), "groups=4"),
        (nn.GroupNorm(4, 4, eps=1e-3), ("GroupNormalization", {"groups": -1}), None),
        (nn.GroupNorm(2, 4, eps=1e-3), ("GroupNormalization", {"groups": 2}), None),
        (nn.Embedding(3, 2, max_norm=1.0), ("Embedding", {}), "max_norm"),
        (nn.Linear(2, 2), ("Dense", {}), None),
        (nn.Conv2d(2, 2, 3), ("Conv2D", {}), None),
        (nn.Conv2d(2, 2, 3, padding=1), SAME, None),
        (nn.Conv2d(2, 2, 3, padding="same"), SAME, None),
        (nn.Conv2d(2, 2, 2, padding="same"), SAME, None),
        (nn.Conv2d(2, 2, 3, padding=1), ("Conv2D", {}), "'valid'"),
        (nn.Conv2d(2, 2, 3), SAME, "(1, 1)"),
        (nn.Conv2d(2, 2, 3, 2, 1), ("Conv2D", {"strides": [2, 2], "padding": "same"}), "uneven"),
        (nn.Conv2d(2, 2, 3, 2), ("Conv2D", {}), "strides=(1, 1)"),
        (nn.Conv2d(2, 2, 3), ("Conv2D", {"dilation_rate": 2}), "dilation_rate=(2, 2)"),
        (
            nn.Conv2d(2, 2, 3, dilation=2, padding=2),
            ("Conv2D", {"dilation_rate": [2, 2], "padding": "same"}),
            None,
        ),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), SAME, "zeros"),
        (nn.Conv1d(2, 2, 3), ("Conv1D", {"padding": "causal"}), "causal"),
        (nn.ConvTranspose2d(2, 2, 4, 2, 1), SAME_TWICE, None),
        (nn.ConvTranspose2d(2, 2, 3, 2, 1, 1), SAME_TWICE, "torch has no padding"),
        (nn.ConvTranspose2d(2, 2, 3, 2), ("Conv2DTranspose", {"strides": 2}), None),
        (
            nn.ConvTranspose2d(2, 2, 2, 3, output_padding=1),
            ("Conv2DTranspose", {"strides": 3}),
            None,
        ),
        (nn.ConvTranspose2d(2, 2, 2, 3), ("Conv2DTranspose", {"strides": 3}), "output_padding"),
        (nn.ConvTranspose2d(2, 2, 2, 3), ("Conv2DTranspose", {}), "strides=(1, 1)"),
        (
            nn.ConvTranspose2d(2, 2, 3, 2, 1),
            ("Conv2DTranspose", {"strides": 2, "padding": "same", "output_padding": [0, 0]}),
            None,
        ),
        (
            nn.ConvTranspose2d(2, 2, 3, 2),
            ("Conv2DTranspose", {"strides": 2, "output_padding": 1}),
            "that is padding=(0, 0), output_padding=(1, 1)",
        ),
        (keras.Conv2D(2, 3), ("Conv2D", OURS), None),
        (keras.Conv2D(2, 3), ("Conv2D", {**OURS, "padding": "same"}), "padding"),
        (keras.Conv2D(2, 3), ("Conv2D", {**OURS, "activation": "relu"}), "'relu'"),
        (keras.Conv2D(2, 3, groups=2), ("Conv2D", OURS), "groups=2"),
        (keras.Conv2D(2, 3), ("Dense", {"units": 2}), "a Dense"),
        (keras.Conv2D(2, 3), ("my>Conv", {}), None),
        (keras.layers.BatchNormalization(), ("BatchNormalization", {"epsilon": 1e-5}), "1e-05"),
        (keras.layers.BatchNormalization(axis=1), ("BatchNormalization", {"axis": [3]}), None),
    ],
)
def test_what_computes_other_numbers_is_told(module, layer, said):
    class_name, config = layer
    found = find_config_differences(module, LayerSpec(class_name, "x", config))
    assert not found if said is None else said in "; ".join(found)
