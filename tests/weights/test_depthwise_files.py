"""Files with depthwise and separable convolutions, of each Keras."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import kerastorch as keras
from kerastorch.layers import DepthwiseConv2D, SeparableConv2D
from tests.weights.weight_files import array, image, old_file, sequential, stored, tree_file

# Of equal sizes wherever that hides a mistake
DEPTHWISE = {"d/depthwise_kernel:0": array(3, 3, 2, 2), "d/bias:0": array(4)}
SEPARABLE = {
    "s/depthwise_kernel:0": array(1, 1, 4, 1),
    "s/pointwise_kernel:0": array(1, 1, 4, 1),
    "s/bias:0": array(1),
}
OLD = {"groups": 1, "padding": "same"}
LAYERS = (
    image(5, 4, 2),
    ("DepthwiseConv2D", {"name": "d", "kernel_size": [3, 3], "depth_multiplier": 2, **OLD}),
    ("SeparableConv2D", {"name": "s", "filters": 1, "kernel_size": [1, 1], **OLD,
                         "kernel_initializer": {"class_name": "Zeros", "config": {}}}),
)  # fmt: skip
CONFIG = sequential(*LAYERS)


def assert_loaded(model: nn.Module) -> None:
    depthwise, separable = (
        next(one for one in model.modules() if isinstance(one, kind))
        for kind in (DepthwiseConv2D, SeparableConv2D)
    )
    for layer, arrays in ((depthwise, DEPTHWISE), (separable, SEPARABLE)):
        for found, wanted in zip(layer.get_weights(), arrays.values(), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_model_of_keras_2(tmp_path):
    groups = {"d": DEPTHWISE, "s": SEPARABLE}
    assert_loaded(keras.load_model(old_file(tmp_path, groups, CONFIG, keras_version="2.4.0")))


def test_a_model_inside_a_model_of_keras_2(tmp_path):
    inner = sequential(*LAYERS, name="inner")
    outer = sequential(image(5, 4, 2), (inner["class_name"], inner["config"]), name="outer")
    groups = {"inner": {**DEPTHWISE, **SEPARABLE}}
    assert_loaded(keras.load_model(old_file(tmp_path, groups, outer, keras_version="2.4.0")))


def unbuilt():
    depthwise = DepthwiseConv2D(3, depth_multiplier=2, padding="same")
    return nn.Sequential(depthwise, SeparableConv2D(1, 1, padding="same"))


def test_weights_without_a_config(tmp_path):
    model = unbuilt()
    groups = {"d": DEPTHWISE, "s": SEPARABLE}
    keras.load_weights(model, old_file(tmp_path, groups, keras_version="2.4.0"))
    assert_loaded(model)


def test_weights_of_keras_3(tmp_path):
    model = unbuilt()
    groups = {"depthwise_conv2d": DEPTHWISE, "separable_conv2d": SEPARABLE}
    named = {f"layers/{name}": list(arrays.values()) for name, arrays in groups.items()}
    keras.load_weights(model, tree_file(tmp_path, named))
    assert_loaded(model)


def test_another_multiplier_is_refused(tmp_path):
    model = nn.Sequential(DepthwiseConv2D(3, depth_multiplier=4))
    with pytest.raises(ValueError, match="kernel"):
        keras.load_weights(model, old_file(tmp_path, {"d": DEPTHWISE}))
    assert not model[0].built


def test_a_grouped_convolution_takes_the_kernel_of_keras_2(tmp_path):
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2))
    keras.load_weights(model, old_file(tmp_path, {"d": DEPTHWISE}))
    kernel = DEPTHWISE["d/depthwise_kernel:0"]
    for channel in range(2):
        for multiple in range(2):
            found = stored(model[0].weight)[2 * channel + multiple, 0]
            np.testing.assert_array_equal(found, kernel[:, :, channel, multiple])


@pytest.mark.parametrize("ordering", ["th", "tf"])
def test_a_model_of_keras_1(tmp_path, ordering):
    depthwise, pointwise = array(2, 2, 2, 2), array(4, 4, 1, 1)
    first = ordering == "th"
    if not first:
        pointwise = pointwise.transpose(2, 3, 1, 0)
    old = {"nb_filter": 4, "nb_row": 2, "nb_col": 2, "depth_multiplier": 2, "init": "uniform",
           "dim_ordering": ordering, "name": "s", "border_mode": "same",
           "batch_input_shape": [None, 2, 5, 6] if first else [None, 5, 6, 2]}  # fmt: skip
    entry = {"class_name": "SeparableConvolution2D", "config": old}
    arrays = {"s_depthwise_kernel": depthwise, "s_pointwise_kernel": pointwise, "s_b": array(4)}
    path = old_file(tmp_path, {"s": arrays}, {"class_name": "Sequential", "config": [entry]})
    found = keras.load_model(path).layers["s"].get_weights()
    turned = depthwise.transpose(2, 3, 1, 0) if first else depthwise
    np.testing.assert_array_equal(found[0], turned)
    wanted = pointwise.transpose(2, 3, 1, 0) if first else pointwise
    np.testing.assert_array_equal(found[1], wanted)


def test_what_is_saved_is_read(tmp_path):
    model = keras.load_model(old_file(tmp_path, {"d": DEPTHWISE, "s": SEPARABLE}, CONFIG))
    keras.save_weights(model, tmp_path / "saved.weights.h5")
    other = unbuilt()
    keras.load_weights(other, tmp_path / "saved.weights.h5")
    assert_loaded(other)
