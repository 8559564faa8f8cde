"""The sum of a model's penalties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kerastorch import regularization_loss
from kerastorch.layers import Conv2D
from tests.training.test_training import INPUTS, Tree, conv

# regularization_loss


def test_the_loss_is_the_sum_over_the_whole_tree():
    first = conv(kernel_regularizer="l2", bias_regularizer="l1", bias_initializer="ones")
    second = conv(activity_regularizer="l2", kernel_regularizer=lambda w: w.abs().max())
    outputs = nn.ReLU()(INPUTS)
    tree = nn.ModuleDict({"a": Tree(first, conv()), "b": nn.Sequential(second)})
    tree["a"](INPUTS)
    tree["b"](outputs)
    expected = (
        0.01 * (first.get_weights()[0] ** 2).sum()
        + 0.01 * 2
        + np.abs(second.get_weights()[0]).max()
        + 0.01 * (second(outputs) ** 2).sum().item() / 2
    )
    found = regularization_loss(tree)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "model",
    [conv(), Conv2D(2, 3, kernel_regularizer="l2"), Tree(conv()), nn.ReLU(), nn.Linear(2, 3)],
    ids=["no regularizer", "not built", "tree", "no weights", "plain"],
)
def test_without_terms_the_loss_is_a_plain_zero(model):
    found = regularization_loss(model)
    assert found.shape == ()
    assert found.item() == 0
    assert not found.requires_grad


def test_a_plain_zero_is_on_the_device_of_the_model():
    assert regularization_loss(conv(device="meta")).device.type == "meta"


def test_the_loss_has_the_gradients_of_its_terms():
    layer = conv(kernel_regularizer="l2", bias_regularizer="l1", bias_initializer="ones")
    regularization_loss(nn.Sequential(layer)).backward()
    torch.testing.assert_close(layer.weight.grad, 0.02 * layer.weight.detach())
    torch.testing.assert_close(layer.bias.grad, torch.full((2,), 0.01))


def test_frozen_weights_have_no_terms():
    kept = conv(kernel_regularizer="l2", bias_regularizer="l2", bias_initializer="ones")
    frozen = conv(kernel_regularizer="l2", trainable=False)
    model = nn.Sequential(kept, frozen)
    kept.weight.requires_grad = False
    assert regularization_loss(model).item() == pytest.approx(0.02)
    kept.trainable = False
    assert regularization_loss(model).item() == 0
    kept.weight.requires_grad = True  # the layer's word counts, as in Keras
    assert regularization_loss(model).item() == 0


def test_the_loss_of_float64_layers_is_float64():
    layer = conv(kernel_regularizer="l2", bias_regularizer="l2", dtype="float64")
    found = regularization_loss(layer)
    assert found.dtype is torch.float64
    assert found.item() == pytest.approx(0.01 * (layer.get_weights()[0] ** 2).sum(), rel=1e-14)


def test_layers_of_different_types_add_up():
    layers = [conv(kernel_regularizer="l2", dtype=name) for name in ("float64", "float32")]
    total = regularization_loss(nn.Sequential(*layers))
    assert total.item() == pytest.approx(sum(regularization_loss(x).item() for x in layers))


def test_a_shared_layer_counts_once():
    layer = conv(kernel_regularizer="l2")
    alone = regularization_loss(layer)
    assert torch.equal(regularization_loss(nn.ModuleList([layer, Tree(layer), layer])), alone)


def test_asking_again_gives_the_same():
    layer = conv(kernel_regularizer="l2", activity_regularizer="l1")
    layer(INPUTS)
    assert torch.equal(regularization_loss(layer), regularization_loss(layer))


def squares(w: Tensor) -> Tensor:
    """Return a penalty with an axis, which Keras sums."""
    return w.flatten(0, -2).square().sum(0) if w.ndim > 1 else w.square()


@pytest.mark.parametrize(
    "regularizers",
    [
        {"kernel_regularizer": squares},
        {"kernel_regularizer": squares, "bias_regularizer": "l2"},
        {"kernel_regularizer": "l2", "bias_regularizer": squares},
    ],
    ids=["alone", "first", "second"],
)
def test_a_penalty_with_axes_is_summed(regularizers):
    layer = conv(**regularizers, bias_initializer="ones")
    factors = {squares: 1, "l2": 0.01}
    expected = sum(
        factors[function] * (value**2).sum()
        for function, value in zip(regularizers.values(), layer.get_weights(), strict=False)
    )
    found = regularization_loss(layer)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-5)
