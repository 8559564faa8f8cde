"""Sequential configs, and those of Keras 1."""

from __future__ import annotations

import pytest
import torch

from kerastorch._core.errors import FileError
from kerastorch.models.build import build_model
from tests.models.configs import chain, dense, input_layer, layer, sequential
from tests.models.parsing.entries import names, parsed

# Sequential


def test_a_sequential_model():
    spec = parsed(sequential(input_layer("x"), dense("a"), layer("ReLU", "b", trainable=True)))
    assert (spec.kind, spec.name, spec.trainable) == ("Sequential", "model", True)
    assert not any(layer.keras_2 for layer in spec.layers)
    assert names(spec) == ["x", "a", "b"]
    assert [one.class_name for one in spec.layers] == ["InputLayer", "Dense", "ReLU"]
    assert (spec.calls, spec.inputs, spec.outputs, spec.source) == ((), None, None, "config.json")


def test_a_sequential_model_is_a_list_until_keras_2_2_2():
    spec = parsed({"class_name": "Sequential", "config": [dense("a"), dense("b")]})
    assert (spec.name, names(spec)) == ("sequential", ["a", "b"])
    assert all(layer.keras_2 for layer in spec.layers)


@pytest.mark.parametrize(
    "config",
    [
        sequential(dense("a", batch_input_shape=[None, 4])),
        sequential(dense("a"), build_input_shape=[None, 4]),
        {**sequential(dense("a")), "build_config": {"input_shape": [None, 4]}},
    ],
    ids=["batch_input_shape", "build_input_shape", "build_config"],
)
def test_an_input_shape_becomes_an_input_layer(config):
    spec = parsed(config)
    assert names(spec) == ["a_input", "a"]
    expected = {"batch_shape": (None, 4), "name": "a_input", "dtype": "float32"}
    assert spec.layers[0].config == expected


def test_a_sequential_model_may_have_no_input_shape():
    assert names(parsed(sequential(dense("a")))) == ["a"]
    assert parsed(sequential()).layers == ()


def test_trainable_of_a_sequential_model_is_not_read_as_in_keras():
    assert parsed(sequential(dense("a"), trainable=False)).trainable
    frozen = chain(dense("a"))
    frozen["config"]["trainable"] = False
    assert not parsed(frozen).trainable


def test_names_of_classes_are_those_of_keras_3():
    spec = parsed(
        sequential(
            layer("Convolution2D", "a", filters=2, kernel_size=3),
            layer("MaxPool2D", "b"),
            layer("AvgPool2D", "c"),
            layer("GlobalAvgPool2D", "d"),
            layer("GlobalMaxPool2D", "e"),
        )
    )
    assert [one.class_name for one in spec.layers] == [
        *("Conv2D", "MaxPooling2D", "AveragePooling2D"),
        *("GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    ]


# Keras 1


def test_keras_1_in_the_words_of_keras_2():
    config = {
        "class_name": "Sequential",
        "config": [
            layer(
                "Convolution2D", "c", nb_filter=2, nb_row=3, nb_col=5, init="glorot_uniform",
                activation="relu", border_mode="same", subsample=[1, 2], dim_ordering="tf",
                W_regularizer={"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.5},
                b_regularizer=None, activity_regularizer=None, W_constraint=None,
                b_constraint=None, bias=True, batch_input_shape=[None, 8, 8, 3],
                input_dtype="float32", trainable=True,
            ),
            layer("BatchNormalization", "bn", mode=0, axis=-1, momentum=0.9, epsilon=0.1),
            layer("MaxPooling2D", "m", border_mode="valid", dim_ordering="th", pool_size=[2, 2]),
            layer("Dropout", "drop", p=0.25),
            layer("Dense", "d", output_dim=4, init="normal", bias=False, input_dim=None),
        ],
    }  # fmt: skip
    spec = parsed(config)
    first, conv, bn, pool, dropout, last = spec.layers
    assert first.config["batch_shape"] == (None, 8, 8, 3)
    expected = {
        "filters": 2, "kernel_size": (3, 5), "padding": "same", "strides": [1, 2],
        "data_format": "channels_last", "use_bias": True, "dtype": "float32",
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}},
    }  # fmt: skip
    assert conv.class_name == "Conv2D"
    assert {key: conv.config[key] for key in expected} == expected
    assert bn.config == {"name": "bn", "axis": -1, "momentum": 0.9, "epsilon": 0.1}
    assert pool.config["data_format"] == "channels_first"
    assert dropout.config == {"name": "drop", "rate": 0.25}
    assert last.config["kernel_initializer"] == "normal"  # a name of the initializer today, too
    assert (last.config["units"], last.config["use_bias"]) == (4, False)


@pytest.mark.parametrize(
    "entry, argument",
    [
        (layer("BatchNormalization", "a", mode=1), "mode"),
        (layer("Dropout", "a", p=0.5, dim_ordering="x"), "dim_ordering"),
        (layer("Dropout", "a", p=0.5, activity_regularizer={"name": "x"}), "activity_regularizer"),
        (layer("Dense", "a", output_dim=2, W_regularizer={"name": "x"}), "name"),
    ],
)  # fmt: skip
def test_what_keras_1_did_otherwise_is_refused(entry, argument):
    with pytest.raises(
        FileError, match=f"layers\\[0\\] 'a': the `{argument}` of a .* of Keras 1 must"
    ):
        parsed(sequential(entry))


FIRST = {"data_format": "channels_first"}


@pytest.mark.parametrize("make", [sequential, chain])
@pytest.mark.parametrize(
    "left_out",
    [
        layer("SpatialDropout2D", "b", rate=0.5, noise_shape=None, seed=None),
        *(layer(name, "b") for name in ("UpSampling2D", "ZeroPadding2D", "Cropping2D")),
    ],
    ids=lambda entry: entry["class_name"],
)
def test_a_data_format_that_was_left_out_is_that_of_the_layers_beside(make, left_out):
    """Otherwise dropout would drop rows, and padding would pad channels, without a word."""
    pooling, flatten = layer("MaxPooling2D", "a", **FIRST), layer("Flatten", "c")
    flatten["config"]["data_format"] = "channels_last"
    other = layer("MaxPooling2D", "d", data_format="channels_last")

    def found(*beside):
        spec = parsed(make(*beside[:1], left_out, *beside[1:]))
        return next(one for one in spec.layers if one.name == "b").config.get("data_format")

    assert found(pooling, flatten) == "channels_first"
    assert found(flatten) is None
    assert found(pooling, other) is None
    volumes = layer("MaxPooling3D", "a", **FIRST)
    assert found(volumes) is None


def test_old_dropout_of_volumes_with_their_channels_first_drops_channels():
    pooling = layer("MaxPooling3D", "a", pool_size=1, **FIRST)
    dropout = layer("SpatialDropout3D", "b", rate=0.5, noise_shape=None, seed=None)
    config = sequential(input_layer("x", (None, 20, 2, 3, 4)), pooling, dropout)
    y = build_model(parsed(config)).train()(torch.ones(3, 20, 2, 3, 4))
    assert torch.equal(y, y[..., :1, :1, :1].expand_as(y)) and set(y.unique().tolist()) == {0, 2}


def test_a_data_format_that_is_no_string_is_refused_by_its_layer():
    pooling = layer("MaxPooling2D", "a", data_format=[])
    with pytest.raises(FileError, match=r"`data_format` must be .*Received: data_format=\[\]"):
        build_model(parsed(sequential(input_layer("x", (None, 4, 4, 3)), pooling)))
