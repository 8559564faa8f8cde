"""Models with masks and states of Keras 3, beside that Keras: outputs, masks, gradients."""

from __future__ import annotations

import keras
import pytest
from keras import tree
from keras.src.backend import get_keras_mask

from .loading import assert_same, load, run
from .models import CALLS, MODELS, fill, iterate_weights, make_inputs

pytestmark = pytest.mark.filterwarnings("ignore:.*destroy the mask:UserWarning")


def make(name):
    """Return a model of Keras with random weights, and the same one here."""
    keras.utils.clear_session()
    model = MODELS[name](keras)
    fill(model, list(MODELS).index(name))
    config = keras.saving.serialize_keras_object(model)
    return model, load(config, keras.__version__, iterate_weights(model))


def run_keras(model, arrays):
    outputs = tree.flatten(model(arrays if len(arrays) > 1 else arrays[0], training=False))
    masks = [get_keras_mask(one) for one in outputs]
    return [one.detach() for one in outputs], masks


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_masks_are_those_of_keras_3(name):
    model, loaded = make(name)
    for call in range(CALLS):
        arrays = make_inputs(model, call)
        assert_same(run(loaded, arrays), *run_keras(model, arrays))
