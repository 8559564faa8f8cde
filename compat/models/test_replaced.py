"""Models with a replaced layer, written for Keras's model with the same layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch


def model_of(classes):
    inputs = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, (2, 3), activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(7, activation="relu", name="hidden")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="dense")(x))


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")  # Keras's own
@pytest.mark.parametrize("head", [nn.Linear(7, 3), kerastorch.layers.Dense(3, input_shape=(7,))])
def test_keras_reads_a_replaced_head(tmp_path, head):
    model_of(10).save(tmp_path / "m.keras")
    ours = kerastorch.load_model(tmp_path / "m.keras")
    ours.dense = head
    kerastorch.save_weights(ours, tmp_path / "m.weights.h5")
    theirs = model_of(3)
    theirs.load_weights(tmp_path / "m.weights.h5")
    x = np.random.default_rng(0).random((2, 6, 5, 3), dtype="float32")
    expected = keras.ops.convert_to_numpy(theirs(x))
    with torch.no_grad():
        np.testing.assert_allclose(ours(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert ours.compute_output_shape((None, 6, 5, 3)) == theirs.output_shape
    with pytest.raises(ValueError, match="shape"):
        model_of(10).load_weights(tmp_path / "m.weights.h5")
