"""Models with masks and states of Keras 3, beside that Keras: outputs, masks, training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from keras import tree
from keras.src.backend import get_keras_mask

import kerastorch

from .loading import assert_same, find_layer, run
from .models import CALLS, OF_KERAS_3, fill, iterate_weights, make_inputs

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{text}")
    for text in ("destroy the mask:UserWarning", "np.object:FutureWarning")
]
TRAINED = sorted(OF_KERAS_3.keys() - {"sequences", "stateful", "without_masks_between"})


def make(name):
    """Return a model of Keras with random weights."""
    keras.utils.clear_session()
    model = OF_KERAS_3[name](keras)
    fill(model, list(OF_KERAS_3).index(name))
    return model


def run_keras(model, arrays):
    outputs = tree.flatten(model(arrays if len(arrays) > 1 else arrays[0], training=False))
    return outputs, [get_keras_mask(one) for one in outputs]


@pytest.mark.parametrize("suffix", [".keras", ".h5", None])
@pytest.mark.parametrize("name", OF_KERAS_3)
def test_outputs_and_masks_are_those_of_keras_3(tmp_path, name, suffix):
    model = make(name)
    source = model
    if suffix is not None:
        source = tmp_path / f"model{suffix}"
        model.save(source)
    loaded = kerastorch.load_model(source)
    with torch.no_grad():
        for call in range(CALLS):
            arrays = make_inputs(model, call)
            assert_same(run(loaded, arrays), *run_keras(model, arrays))


@pytest.mark.parametrize("name", TRAINED)
def test_trained_weights_are_those_of_keras_3(name):
    """Train one model with Keras, and the other one with torch: masked steps give no gradient."""
    model = make(name)
    loaded = kerastorch.load_model(model)
    parameters = [variable.value for variable in model.trainable_variables]
    optimizers = [torch.optim.SGD(given, 0.2) for given in (parameters, loaded.parameters())]
    for step in range(3):
        arrays = make_inputs(model, step)
        for optimizer, outputs in zip(
            optimizers, (run_keras(model, arrays)[0], run(loaded, arrays)[0]), strict=True
        ):
            optimizer.zero_grad()
            sum(one.square().mean() for one in outputs).backward()
            optimizer.step()
    for path, weights in iterate_weights(model):
        found = find_layer(loaded, path).get_weights() if weights else []
        for one, wanted in zip(found, weights, strict=True):
            np.testing.assert_allclose(one, wanted, rtol=2e-5, atol=2e-6, err_msg=path)
