"""Live Keras objects: every weight is found, under its layer's names, with its value."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from keras import layers

from kerastorch.saving.formats.in_memory import is_keras_object, read_live_object


def functional() -> keras.Model:
    inner = keras.Sequential(
        [
            layers.Input((4, 5, 3)),
            layers.Conv2D(2, (3, 2), name="conv", activation="relu"),
            layers.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    inputs = layers.Input((4, 5, 3), name="image")
    x = layers.Flatten(name="flat")(inner(inputs))
    x = layers.Reshape((4, 4), name="steps")(x)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="both")(x)
    x = layers.TimeDistributed(layers.Dense(4, name="dense"), name="each")(x)
    x = layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    return keras.Model(inputs, x, name="outer")


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.blocks = [layers.Dense(3, name="a"), layers.Dense(2, name="b")]
        self.scale = self.add_weight(shape=(2,), name="scale")

    def call(self, inputs):
        return self.blocks[1](self.blocks[0](inputs)) * self.scale


def found(value: object) -> dict[str, list[str]]:
    """Path -> names of weights of every layer that has any."""
    contents = read_live_object(value)
    for layer in contents.layers:
        for weight in layer.weights:
            assert weight.path.strip("/") == f"{layer.path}/{weight.name}".strip("/")
    return {v.path: [w.name for w in v.weights] for v in contents.layers if v.weights}


def values(value: object) -> list[torch.Tensor]:
    """Every weight, read, in the order in which the layers have them."""
    contents = read_live_object(value)
    read = []
    for weight in (weight for layer in contents.layers for weight in layer.weights):
        tensor = weight.read()
        assert (tuple(tensor.shape), str(tensor.dtype)) == (weight.shape, f"torch.{weight.dtype}")
        read.append(tensor)
    return read


def test_a_functional_model() -> None:
    model = functional()
    contents = read_live_object(model)
    assert contents.source == "Functional 'outer'"
    assert contents.format == "keras object in memory"
    assert contents.version == keras.__version__
    assert contents.layout == "paths" and not contents.named_by_caller
    assert contents.config["class_name"] == "Functional"
    dense, cell = ["kernel", "bias"], ["kernel", "recurrent_kernel", "bias"]
    assert found(model) == {
        "inner/conv": dense,
        "inner/norm": ["gamma", "beta", "moving_mean", "moving_variance"],
        "both/forward_lstm/lstm_cell": cell,
        "both/backward_lstm/lstm_cell": cell,
        "each/dense": dense,
        "attention/query": dense,
        "attention/key": dense,
        "attention/value": dense,
        "attention/attention_output": dense,
    }
    for tensor, array in zip(values(model), model.get_weights(), strict=True):
        np.testing.assert_array_equal(tensor, array)


def test_layers_without_weights_are_listed_in_the_models_order() -> None:
    listed = [layer.path for layer in read_live_object(functional()).layers]
    order = ["image", "inner/conv", "inner/norm", "flat", "steps", "both"]
    assert [path for path in listed if path in order] == order


def test_a_layer() -> None:
    layer = layers.Conv2D(2, 3, name="conv")
    layer.build((None, 5, 5, 3))
    contents = read_live_object(layer)
    assert contents.config is None
    assert found(layer) == {"": ["kernel", "bias"]}
    assert contents.layers[0].name == "conv"
    kernel = contents.layers[0].weights[0].read()
    kernel.zero_()
    assert layer.kernel.numpy().any()


def test_an_activation_that_is_a_layer() -> None:
    layer = layers.Conv2D(2, 3, name="conv", activation=layers.PReLU(name="slope"))
    layer(np.ones((1, 5, 5, 3), "float32"))
    assert found(layer) == {"": ["kernel", "bias"], "slope": ["alpha"]}


def test_a_subclassed_model() -> None:
    model = Subclassed()
    model(np.ones((1, 4), "float32"))
    assert read_live_object(model).config is None
    assert found(model) == {"": ["scale"], "a": ["kernel", "bias"], "b": ["kernel", "bias"]}
    assert sum(tensor.numel() for tensor in values(model)) == model.count_params()


def test_a_shared_layer_is_listed_once() -> None:
    shared = layers.Dense(3, name="shared")
    first = keras.Sequential([layers.Input((3,)), shared], name="first")
    second = keras.Sequential([layers.Input((3,)), shared], name="second")
    inputs = layers.Input((3,))
    model = keras.Model(inputs, second(first(inputs)))
    assert found(model) == {"first/shared": ["kernel", "bias"]}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_bfloat16"])
def test_types(dtype: str) -> None:
    layer = layers.Dense(3, dtype=dtype)
    layer.build((None, 4))
    kernel, _ = values(layer)
    assert str(kernel.dtype).removeprefix("torch.") == layer.kernel.dtype
    assert torch.equal(kernel, layer.kernel.value.detach())


def test_frozen_and_compiled() -> None:
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="d"), layers.Dropout(0.5)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    model.trainable = False
    assert found(model) == {"d": ["kernel", "bias"]}


def test_what_is_live() -> None:
    class Own(layers.Dense):
        pass

    assert is_keras_object(Own(2))
    assert is_keras_object(functional())
    assert not is_keras_object(keras.initializers.Zeros())
    assert not is_keras_object(keras.Variable(np.zeros(2, "float32")))
    assert not is_keras_object(Own)


def test_variables_in_a_list() -> None:
    layer = layers.Dense(3)
    layer.build((None, 4))
    for tensor, array in zip(values(layer.weights), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(tensor, array)


def test_what_is_not_built() -> None:
    with pytest.raises(ValueError, match="`source` must be built"):
        read_live_object(layers.Dense(2, name="d"))
