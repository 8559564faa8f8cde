"""Highway and MaxoutDense, of Keras 1, beside their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import kerastorch as keras
from kerastorch.layers import Highway, MaxoutDense
from tests.layers.case import batch, cases
from tests.weights.weight_files import array, old_file

ROWS = {"shape": (3, 5), "other": [(6, 5)], "refused": [(3, 4), (5,), (3, 2, 5)]}
CASES = [
    *cases(
        Highway,
        {"activation": "relu"},
        {"activation": "softmax", "use_bias": False, "kernel_regularizer": "l2"},
        {"bias_regularizer": "l1", "kernel_constraint": "max_norm", "trainable": False},
        integers="converted",
        refused_arguments=[("activation", "foo", ValueError), ("colour", 1, ValueError)],
        **ROWS,
    ),
    *cases(
        MaxoutDense,
        {"units": 4},
        {"units": 2, "nb_feature": 3, "use_bias": False, "activity_regularizer": "l1"},
        {"units": 1, "nb_feature": 1, "kernel_regularizer": "l2", "bias_constraint": "non_neg"},
        integers="converted",
        refused_arguments=[
            *((name, value, ValueError) for name in ("units", "nb_feature") for value in (0, 2.5)),
            ("colour", 1, ValueError),
        ],
        **ROWS,
    ),
]
KERAS_1 = {
    "name": "r", "trainable": True, "batch_input_shape": [None, 5], "input_dtype": "float32",
    "init": "glorot_uniform", "W_regularizer": None, "b_regularizer": None,
    "activity_regularizer": None, "W_constraint": None, "b_constraint": None, "bias": True,
    "input_dim": 5,
}  # fmt: skip


def load(folder, class_name, config, arrays):
    entry = {"class_name": class_name, "config": {**KERAS_1, **config}}
    model = {"class_name": "Sequential", "config": [entry]}
    return keras.load_model(old_file(folder, {"r": arrays}, model))


@pytest.mark.parametrize("form", ["r_{}", "r_{}:0", "r/{}:0"])  # of Theano, TensorFlow, Keras 2
def test_highway_of_keras_1(tmp_path, form):
    w, carry, b, carry_b = array(5, 5), array(5, 5), array(5), array(5)
    arrays = dict(zip(("W", "W_carry", "b", "b_carry"), (w, carry, b, carry_b), strict=True))
    file = {form.format(name): value for name, value in arrays.items()}
    config = {"activation": "tanh", "transform_bias": -2}
    model, x = load(tmp_path, "Highway", config, file), array(3, 5)
    gate = 1 / (1 + np.exp(-(x @ carry + carry_b)))
    expected = gate * np.tanh(x @ w + b) + (1 - gate) * x
    np.testing.assert_allclose(model(torch.tensor(x)).detach(), expected, atol=1e-6)


@pytest.mark.parametrize("form", ["r_{}", "r_{}:0", "r/{}:0"])
def test_maxout_of_keras_1(tmp_path, form):
    w, b, x = array(3, 5, 2), array(3, 2), array(4, 5)
    file = {form.format("W"): w, form.format("b"): b}
    model = load(tmp_path, "MaxoutDense", {"output_dim": 2, "nb_feature": 3}, file)
    expected = (np.einsum("bi,fio->bfo", x, w) + b).max(1)
    np.testing.assert_allclose(model(torch.tensor(x)).detach(), expected, atol=1e-6)


def test_initial_biases():
    layer = Highway()
    layer(batch((2, 3)))
    assert [weight.tolist() for weight in layer.get_weights()[2:]] == [[0.0] * 3, [1.0] * 3]
