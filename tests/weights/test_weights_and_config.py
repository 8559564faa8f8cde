"""Weights with their config from another file."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError
from tests.weights.weight_files import (
    TWO,
    array,
    changed,
    conv,
    image,
    json_file,
    nested,
    old_file,
    sequential,
    stored,
    tree_file,
    weights_of_two,
)


def test_a_config_and_weights_make_a_model(tmp_path):
    groups = weights_of_two()
    config, weights = json_file(tmp_path, TWO), tree_file(tmp_path, groups)
    model = keras.load_model(config, weights=weights)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    kernel, bias = groups["layers/conv2d"]
    np.testing.assert_array_equal(stored(model.layers["c"].kernel), kernel)
    np.testing.assert_array_equal(stored(model.layers["c"].bias), bias)
    assert model(torch.zeros(2, 5, 4, 3)).shape == (2, 4, 2, 4)
    listed = [value for arrays in groups.values() for value in arrays]
    again = keras.load_model(config, weights=listed)
    named = {"c/kernel": kernel, "c/bias": bias, "d/kernel": listed[2], "d/bias": listed[3]}
    third = keras.load_model(config, weights=named)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value, third.state_dict()[name])


def test_frozen_layers_stay_frozen(tmp_path):
    frozen, dense = conv(2, [2, 3], name="c", trainable=False), ("Dense", {"units": 4, "name": "d"})
    config = json_file(tmp_path, sequential(image(5, 4, 3), frozen, dense))
    model = keras.load_model(config, weights=tree_file(tmp_path, weights_of_two()))
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert wanted == {"c.weight": False, "c.bias": False, "d.weight": True, "d.bias": True}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"dense": None}, "missing: d.weight is not in the file"),
        ({"dense_1": [array(2, 4), array(4)]}, "missing: d.weight is not in the file"),
        (
            {"embedding": [array(2, 4)]},
            "unexpected: layers/embedding/vars/0 (2, 4) matches no parameter",
        ),
        ({"dense": [array(2, 4)]}, "has 2 weights: kernel, bias"),
        ({"dense": [array(2, 5), array(5)]}, "no input gives these shapes"),
        ({"dense": [array(3, 4), array(4)]}, "by its input's shape"),
        ({"conv2d": [array(2, 3, 2, 2), array(2)]}, "by its input's shape"),
        ({"conv2d": [array(3, 2, 3, 2), array(2)]}, "no input gives these shapes"),
        ({"conv2d": [array(2, 3, 3, 2).astype("int8"), array(2)]}, "Quantized"),
    ],
)
def test_the_weights_must_be_those_of_the_model(tmp_path, changes, said):
    config = json_file(tmp_path, TWO)
    weights = tree_file(tmp_path, changed(weights_of_two(), **changes))
    with pytest.raises(FileError) as caught:
        keras.load_model(config, weights=weights)
    assert said in str(caught.value)


def test_nothing_is_read_before_all_fits(tmp_path, monkeypatch):
    reads = []
    groups = changed(weights_of_two(), dense=[array(2, 5), array(5)])
    config, weights = json_file(tmp_path, TWO), tree_file(tmp_path, groups)
    with pytest.raises(FileError):
        keras.load_model(config, weights=weights, progress=reads.append)
    assert not reads
    keras.load_model(config, weights=tree_file(tmp_path, weights_of_two()), progress=reads.append)
    assert sum(reads) == 4 * (2 * 3 * 3 * 2 + 2 + 2 * 4 + 4)


def test_the_ways_without_a_config_or_weights_are_told(tmp_path):
    with pytest.raises(FileError, match="load_weights"):
        keras.load_model(tree_file(tmp_path, weights_of_two()))
    with pytest.raises(FileError, match="weights="):
        keras.load_model(json_file(tmp_path, TWO))
    weightless = sequential(image(5, 4, 3), ("Flatten", {"name": "f"}))
    assert keras.load_model(json_file(tmp_path, weightless))(torch.zeros(2, 5, 4, 3)).shape == (
        2,
        60,
    )


def test_a_model_that_was_loaded_takes_other_weights(tmp_path):
    config = json_file(tmp_path, TWO)
    model = keras.load_model(config, weights=tree_file(tmp_path, weights_of_two()))
    groups = weights_of_two()
    report = keras.load_weights(model, tree_file(tmp_path, groups))
    assert report.matched == "structure"
    np.testing.assert_array_equal(stored(model.layers["d"].kernel), groups["layers/dense"][0])


def test_weights_are_not_drawn_before_they_are_loaded(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", refuse)
    keras.load_model(json_file(tmp_path, TWO), weights=tree_file(tmp_path, weights_of_two()))
    unbuilt = nn.Sequential(keras.layers.Dense(4))
    keras.load_weights(unbuilt, [array(2, 4), array(4)])


@pytest.mark.parametrize("step", [1, 2])
def test_both_ways_of_numbering_are_read(tmp_path, step):
    """Keras 2.12 and 2.13 counted each layer with weights twice."""
    count = 12
    layers = [("Dense", {"units": 3, "name": f"l{n}"}) for n in range(count)]
    kernels = [array(3, 3) for _ in range(count)]
    groups = {
        f"_layer_checkpoint_dependencies/dense{f'_{step * n}' if n else ''}": [kernels[n], array(3)]
        for n in range(count)
    }
    config = sequential(("InputLayer", {"batch_shape": [None, 3], "name": "x"}), *layers)
    model = keras.load_model(json_file(tmp_path, config), weights=tree_file(tmp_path, groups))
    for number, kernel in enumerate(kernels):
        np.testing.assert_array_equal(stored(model.layers[f"l{number}"].kernel), kernel)


def test_names_in_another_order_than_the_config_are_refused(tmp_path):
    layers = [("Dense", {"units": 3, "name": name}) for name in "ab"]
    config = sequential(("InputLayer", {"batch_shape": [None, 3], "name": "x"}), *layers)
    groups = {f"layers/{group}": [array(3, 3), array(3)] for group in ("dense", "dense_1")}
    for names, fits in (("ab", True), ("cd", True), ("ba", False)):
        path = tree_file(tmp_path, groups)
        with h5py.File(path, "a") as file:
            for group, name in zip(groups, names, strict=True):
                file[f"{group}/vars"].attrs["name"] = name
        if fits:
            keras.load_model(json_file(tmp_path, config), weights=path)
        else:
            with pytest.raises(FileError, match="in another order"):
                keras.load_model(json_file(tmp_path, config), weights=path)


@pytest.mark.parametrize("prefix", ["", "{layer}/", "inner/{layer}/", "outer/inner/{layer}/"])
def test_the_weights_of_a_nested_model_are_found_by_their_names(tmp_path, prefix):
    """In any order; the names were bare in Keras 3.0 to 3.2."""
    moving = {name: ("n", array(2)) for name in ("moving_mean", "moving_variance", "gamma", "beta")}
    values = {**moving, "bias": ("a", array(2)), "kernel": ("a", array(1, 1, 3, 2))}
    arrays = {prefix.format(layer=layer) + name: v for name, (layer, v) in values.items()}
    model = keras.load_model(old_file(tmp_path, {"inner": arrays}, nested(), keras_version="3.1"))
    inner = model.layers["inner"].layers
    np.testing.assert_array_equal(stored(inner["a"].kernel), values["kernel"][1])
    np.testing.assert_array_equal(stored(inner["n"].running_var), values["moving_variance"][1])


def test_bare_names_that_two_layers_have_are_refused(tmp_path):
    config = sequential(image(5, 4, 3), conv(3, 1, name="a"), conv(3, 1, name="b"), name="inner")
    outer = sequential(image(5, 4, 3), (config["class_name"], config["config"]), name="outer")
    arrays = {"kernel": array(1, 1, 3, 3), "bias": array(3)}
    with pytest.raises(FileError, match="inner"):
        keras.load_model(old_file(tmp_path, {"inner": arrays}, outer, keras_version="3.1"))


def test_lora_is_merged_by_the_config_where_the_module_has_none(tmp_path):
    kernel, a, b = array(3, 4), array(3, 2), array(2, 4)
    arrays = {"bias": array(4), "lora_kernel_a": a, "lora_kernel_b": b, "kernel": kernel}
    dense = ("Dense", {"units": 4, "name": "d", "lora_rank": 2, "lora_alpha": 3})
    config = sequential(("InputLayer", {"batch_shape": [None, 3], "name": "x"}), dense)
    path = old_file(
        tmp_path,
        {"d": {f"d/{name}": value for name, value in arrays.items()}},
        config,
        keras_version="3.15.1",
    )
    linear = nn.Linear(3, 4)
    keras.load_weights(linear, path)
    expected = (kernel + 1.5 * (a @ b)).T
    np.testing.assert_allclose(stored(linear.weight), expected, rtol=1e-6, atol=1e-6)


# The axes of Keras 1's kernel for those of Keras 3's, its shape, and further words
SEQUENCE = {"filter_length": 3, "batch_input_shape": [None, 7, 2]}
CUBE = {"kernel_dim1": 3, "kernel_dim2": 2, "kernel_dim3": 1}
OTHER_RANKS = {
    "1-D": ("Convolution1D", (0, 2, 3), (3, 1, 2, 4), SEQUENCE),
    "1-D, dilated": ("AtrousConvolution1D", (0, 2, 3), (3, 1, 2, 4),
                     {**SEQUENCE, "atrous_rate": 2, "input_length": 7, "input_dim": 2}),
    "1-D of Keras 1.1": ("Convolution1D", (2, 1, 0), (4, 2, 3, 1), SEQUENCE),
    "3-D": ("Convolution3D", (0, 1, 2, 3, 4), (3, 2, 1, 2, 4),
            {**CUBE, "dim_ordering": "tf", "batch_input_shape": [None, 5, 6, 7, 2]}),
    "3-D, first": ("Convolution3D", (2, 3, 4, 1, 0), (4, 2, 3, 2, 1),
                   {**CUBE, "dim_ordering": "th", "batch_input_shape": [None, 2, 5, 6, 7]}),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
@pytest.mark.parametrize("name", OTHER_RANKS)
def test_kernels_of_keras_1_of_other_ranks(tmp_path, name, backend):
    class_name, axes, shape, words = OTHER_RANKS[name]
    kernel, bias = array(*shape), array(4)
    entry = {"class_name": class_name, "config": {"nb_filter": 4, "name": "c", **words}}
    config = {"class_name": "Sequential", "config": [entry]}
    path = old_file(tmp_path, {"c": {"c_W": kernel, "c_b": bias}}, config, backend=backend)
    model = keras.load_model(path)
    left = [axis for axis in range(kernel.ndim) if axis not in axes]
    expected = kernel.transpose(*axes, *left).reshape([shape[axis] for axis in axes])
    if backend == "theano":
        expected = np.flip(expected, tuple(range(expected.ndim - 2)))
    layer = model.layers["c"]
    np.testing.assert_array_equal(stored(layer.kernel), expected)
    plain = getattr(nn, f"Conv{layer.rank}d")(2, 4, layer.kernel_size, dilation=layer.dilation_rate)
    keras.load_weights(plain, path)
    np.testing.assert_array_equal(stored(plain.weight), stored(layer.weight))


def test_a_kernel_of_keras_1_of_no_known_order_is_refused(tmp_path):
    path = old_file(tmp_path, {"c": {"c_W": array(3, 1, 2, 1), "c_b": array(1)}})
    with pytest.raises(FileError, match="a kernel of Keras 1 of the shape"):
        keras.load_weights(keras.layers.Conv1D(1, 3), path)


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_kernels_of_keras_1_are_turned_as_the_config_tells(tmp_path, backend):
    kernel, bias = array(3, 3, 3, 3), array(3)
    arrays = {"c": {"c_W": kernel, "c_b": bias}}
    for ordering, turned in (("th", kernel.transpose(2, 3, 1, 0)), ("tf", kernel)):
        old = {"nb_filter": 3, "nb_row": 3, "nb_col": 3, "dim_ordering": ordering, "name": "c"}
        shape = [None, 3, 5, 6] if ordering == "th" else [None, 5, 6, 3]
        old["batch_input_shape"] = shape
        config = {
            "class_name": "Sequential",
            "config": [{"class_name": "Convolution2D", "config": old}],
        }
        path = old_file(tmp_path, arrays, config, backend=backend)
        model = keras.load_model(path)
        expected = turned[::-1, ::-1] if backend == "theano" else turned
        np.testing.assert_array_equal(stored(model.layers["c"].kernel), expected)
