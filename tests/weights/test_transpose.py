"""Kernels of transposed convolutions in files of every Keras, and in torch.nn's modules."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import kerastorch as keras
from kerastorch.layers import Conv2DTranspose
from kerastorch.saving import FileError
from tests.weights.weight_files import array, old_file, stored

OLD = {"nb_filter": 3, "nb_row": 2, "nb_col": 4, "subsample": [2, 2], "name": "c"}


def model_of(entry, class_name="Deconvolution2D"):
    return {"class_name": "Sequential", "config": [{"class_name": class_name, "config": entry}]}


@pytest.mark.parametrize("channels", [3, 5])  # square kernels load in any order: 3 filters
@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_kernels_of_keras_1(tmp_path, ordering, backend, channels):
    first, kernel, bias = ordering == "th", array(2, 4, 3, channels), array(3)
    turned = kernel.transpose(2, 3, 0, 1) if first else kernel.transpose(0, 1, 3, 2)
    shapes = [[channels, 5, 6], [3, 10, 14]] if first else [[5, 6, channels], [10, 14, 3]]
    entry = {
        **OLD,
        "dim_ordering": ordering,
        "batch_input_shape": [None, *shapes[0]],
        "output_shape": [None, *shapes[1]],
    }
    arrays = {"c": {"c_W": turned, "c_b": bias}}
    path = old_file(tmp_path, arrays, model_of(entry), backend=backend)
    layer = keras.load_model(path).layers["c"]
    expected = kernel[::-1, ::-1] if backend == "theano" else kernel
    np.testing.assert_array_equal(stored(layer.kernel), expected)
    assert isinstance(layer, Conv2DTranspose)
    assert layer.compute_output_shape((None, *shapes[0])) == (None, *shapes[1])


def test_kernels_of_keras_1_without_a_config(tmp_path):
    kernel = array(2, 4, 3, 3)
    named = [({"c_W": kernel, "c_b": array(3)}, {}), ({"c_W:0": kernel, "c_b:0": array(3)}, {})]
    named += [({"c/kernel": kernel, "c/bias": array(3)}, {"keras_version": "1.2.2"})]
    for arrays, version in named:
        path = old_file(tmp_path, {"c": arrays}, None, backend="tensorflow", **version)
        module = nn.ConvTranspose2d(3, 3, (2, 4))
        keras.load_weights(module, path)
        np.testing.assert_array_equal(stored(module.weight), kernel.transpose(2, 3, 0, 1))
    with pytest.raises(FileError, match="shape"):
        keras.load_weights(nn.ConvTranspose2d(5, 3, (2, 4)), path)


@pytest.mark.parametrize(
    "padding, kernel, strides, output, expected",
    [
        ("valid", (2, 4), (2, 2), (10, 14), None),
        ("valid", (2, 4), (2, 2), (11, 14), (1, 0)),
        ("valid", (2, 2), (3, 3), (14, 17), (0, 0)),
        ("same", (3, 3), (2, 2), (10, 12), None),
        ("same", (3, 3), (2, 2), (9, 11), (0, 0)),
        ("same", (3, 4), (2, 2), (10, 12), None),
        ("same", (4, 4), (1, 1), (5, 6), None),
        ("same", (4, 4), (3, 3), (14, 17), (2, 2)),
    ],
)
def test_an_output_shape_of_keras_1(padding, kernel, strides, output, expected):
    old = {**OLD, "nb_row": kernel[0], "nb_col": kernel[1], "subsample": list(strides)}
    old |= {"border_mode": padding, "dim_ordering": "tf", "output_shape": [None, *output, 3]}
    layer = Conv2DTranspose.from_config(old)
    assert layer.output_padding == expected
    assert layer.compute_output_shape((None, 5, 6, 2)) == (None, *output, 3)


def test_an_output_shape_of_keras_1_that_is_refused():
    old = {**OLD, "dim_ordering": "tf", "border_mode": "same", "nb_row": 3}
    for shape in (None, 3, [None, 3, 3], [None, None, 4, 3], [None, 9, 12, 3]):
        with pytest.raises(TypeError, match="output_shape"):
            Conv2DTranspose.from_config({**old, "output_shape": shape})


@pytest.mark.parametrize(
    "name", ["Deconvolution2D", "Deconv2D", "Convolution2DTranspose", "Conv2DTranspose"]
)
def test_configs_of_keras_2(tmp_path, name):
    old = {"name": "c", "filters": 3, "kernel_size": [2, 4], "strides": [2, 2], "groups": 1}
    old |= {"batch_input_shape": [None, 5, 6, 2], "activation": "relu", "output_padding": [1, 0]}
    kernel, bias = array(2, 4, 3, 2), array(3)
    arrays = {"c": {"c/kernel:0": kernel, "c/bias:0": bias}}
    path = old_file(tmp_path, arrays, model_of(old, name), keras_version="2.2.4")
    layer = keras.load_model(path).layers["c"]
    np.testing.assert_array_equal(stored(layer.kernel), kernel)
    assert (layer.output_padding, layer.dilation_rate) == ((1, 0), (1, 1))
    path = old_file(tmp_path, arrays, model_of({**old, "groups": 2}, name), keras_version="2.2.4")
    with pytest.raises(FileError, match="no groups"):
        keras.load_model(path)
    with pytest.raises(TypeError, match="no groups"):
        Conv2DTranspose.from_config({**old, "groups": 2})
