"""Layers as the activation of another layer: files, configs and numbers beside real Keras."""

import keras
import numpy as np
import pytest
import torch

import kerastorch

L = keras.layers

ACTIVATIONS = {
    "a function": lambda: L.Activation("tanh"),
    "a layer in a layer": lambda: L.Activation(L.LeakyReLU(0.1)),
    "a limit": lambda: L.ReLU(max_value=0.5, threshold=0.1),
    "softmax": lambda: L.Softmax(axis=1),
    "slopes": lambda: L.PReLU(shared_axes=[1]),
    "slopes in a layer": lambda: L.Activation(L.PReLU()),
    "statistics": lambda: L.BatchNormalization(epsilon=1e-2),
    "a matrix": lambda: L.Dense(5, activation="relu"),
    "constants": lambda: L.Rescaling(2.0, 0.5),
    "another shape": lambda: L.UpSampling2D(2),
    "a vector": lambda: L.Flatten(),
    "nothing in evaluation": lambda: L.Dropout(0.5),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_layer_as_an_activation_computes_what_it_does_in_keras(tmp_path, name):
    generator = np.random.default_rng(7)
    theirs = keras.Sequential(
        [
            keras.Input((5, 4, 2)),
            L.Conv2D(4, 3, activation=ACTIVATIONS[name]()),
            L.Activation("tanh"),
        ]
    )
    for weight in theirs.weights:
        weight.assign(generator.uniform(0.1, 1.0, weight.shape))
    x = generator.normal(size=(2, 5, 4, 2)).astype("float32")
    expected = torch.as_tensor(np.asarray(theirs(x, training=False).detach()))
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    for source in (tmp_path / "m.keras", theirs):
        model = kerastorch.load_model(source)
        with torch.no_grad():
            torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)
    by_parts = kerastorch.load_model(theirs, weights=tmp_path / "m.weights.h5")
    with torch.no_grad():
        torch.testing.assert_close(by_parts(x), expected, rtol=1e-5, atol=1e-6)

    kerastorch.save_weights(model, tmp_path / "back.weights.h5")
    again = keras.models.load_model(tmp_path / "m.keras")
    for weight in again.weights:
        weight.assign(np.zeros(weight.shape))
    again.load_weights(tmp_path / "back.weights.h5")
    np.testing.assert_allclose(np.asarray(again(x).detach()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_its_config_is_the_one_that_keras_writes(name):
    theirs = L.Conv2D(4, 3, activation=ACTIVATIONS[name]())
    ours = kerastorch.Conv2D.from_config(theirs.get_config())
    assert ours.get_config() == theirs.get_config()
    assert L.Conv2D.from_config(ours.get_config()).get_config() == theirs.get_config()
