"""Kernels of Keras 1 inside TimeDistributed, by themselves and in a model."""

from __future__ import annotations

import numpy as np
import pytest

import kerastorch as keras
from tests.weights.weight_files import array, old_file, stored

# All sizes are equal, so that a kernel in the wrong order has the right shape.
CONV = {
    "name": "c", "trainable": True, "nb_filter": 3, "nb_row": 3, "nb_col": 3, "border_mode": "same",
    "init": "glorot_uniform", "activation": "linear", "subsample": [1, 1], "bias": True,
}  # fmt: skip
NORM = {"name": "n", "axis": -1, "mode": 0, "epsilon": 1e-3}


def wrap(shape, class_name, config):
    inner = {"class_name": class_name, "config": config}
    outer = {"name": "t", "trainable": True, "batch_input_shape": shape, "layer": inner}
    return {
        "class_name": "Sequential",
        "config": [{"class_name": "TimeDistributed", "config": outer}],
    }


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
@pytest.mark.parametrize("ordering", ["tf", "th"])
@pytest.mark.parametrize("inside_model", [False, True])
def test_kernels_of_keras_1_inside_time_distributed(tmp_path, ordering, backend, inside_model):
    first, kernel = ordering == "th", array(3, 3, 3, 3)
    shape = [None, 4, 3, 5, 6] if first else [None, 4, 5, 6, 3]
    config, class_name = {**CONV, "dim_ordering": ordering}, "Convolution2D"
    arrays = {"c_W": kernel.transpose(3, 2, 0, 1) if first else kernel, "c_b": array(3)}
    if inside_model:
        conv = {"class_name": class_name, "config": {**config, "batch_input_shape": shape[1:]}}
        norm = {"class_name": "BatchNormalization", "config": NORM}
        class_name, config = "Sequential", [conv, norm]
        names = ("gamma", "beta", "running_mean", "running_std")
        arrays |= {f"n_{name}": array(shape[-1] if not first else 6) ** 2 for name in names}
    model = wrap(shape, class_name, config)
    path = old_file(tmp_path, {"t": arrays}, model, keras_version="1.2.2", backend=backend)
    layer = keras.load_model(path).layers["t"].layer
    layer = layer.layers["c"] if inside_model else layer
    expected = kernel[::-1, ::-1] if backend == "theano" else kernel
    np.testing.assert_array_equal(stored(layer.kernel), expected)
