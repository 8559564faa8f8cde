"""The twelve arrays of a ConvLSTM2D of Keras 1, in both orders of axes."""

from __future__ import annotations

import numpy as np
import pytest

import kerastorch as keras
from tests.weights.weight_files import array, old_file

# All sizes are equal, so that a kernel in the wrong order has the right shape.
CONFIG = {
    "name": "r", "trainable": True, "nb_filter": 3, "nb_row": 3, "nb_col": 3,
    "init": "glorot_uniform", "inner_init": "orthogonal", "forget_bias_init": "one",
    "activation": "tanh", "inner_activation": "hard_sigmoid", "border_mode": "same",
    "subsample": [1, 1], "dropout_W": 0.0, "dropout_U": 0.0, "return_sequences": False,
    "go_backwards": False, "stateful": False,
}  # fmt: skip
SHAPES = {"W": (3, 3, 3, 3), "U": (3, 3, 3, 3), "b": (3,)}


def load(folder, arrays, ordering, backend):
    shape = [None, 4, 3, 5, 6] if ordering == "th" else [None, 4, 5, 6, 3]
    config = {**CONFIG, "dim_ordering": ordering, "batch_input_shape": shape}
    model = {"class_name": "Sequential", "config": [{"class_name": "ConvLSTM2D", "config": config}]}
    stored = {
        key: value.transpose(3, 2, 0, 1) if ordering == "th" and value.ndim == 4 else value
        for key, value in arrays.items()
    }
    path = old_file(folder, {"r": stored}, model, keras_version="1.2.2", backend=backend)
    return keras.load_model(path).layers["r"]


@pytest.fixture
def arrays():
    names = [(kind, gate) for gate in "icfo" for kind in SHAPES]  # in the order of the file
    return {f"r_{kind}_{gate}": array(*SHAPES[kind]) for kind, gate in names}


@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_conv_lstm_of_keras_1(tmp_path, arrays, ordering):
    layer = load(tmp_path, arrays, ordering, "tensorflow")
    assert layer.recurrent_activation is keras.activations.get("hard_sigmoid_keras2")
    for found, kind in zip(layer.get_weights(), SHAPES, strict=True):
        expected = np.concatenate([arrays[f"r_{kind}_{gate}"] for gate in "ifco"], -1)
        np.testing.assert_array_equal(found, expected)


def test_conv_lstm_of_theano_is_turned_around(tmp_path, arrays):
    """Theano's convolution turns a kernel around, as Keras 2 did when it loaded such a file."""
    layer = load(tmp_path, arrays, "th", "theano")
    for found, kind in zip(layer.get_weights(), SHAPES, strict=True):
        expected = np.concatenate([arrays[f"r_{kind}_{gate}"] for gate in "ifco"], -1)
        turned = expected[::-1, ::-1] if expected.ndim == 4 else expected
        np.testing.assert_array_equal(found, turned)
