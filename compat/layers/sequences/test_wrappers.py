"""Bidirectional and TimeDistributed beside Keras on torch: masks, states, layers inside."""

from __future__ import annotations

import itertools
import json
from typing import Any

import keras
import numpy as np
import pytest
import torch

from compat.layers.configurations import relative_difference
from kerastorch.layers.base import nesting
from kerastorch.layers.base.layer import Layer
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config

MASKS = {
    "none": None,
    "right": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
    "left": [[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]],
    "hole": [[1, 0, 1, 1, 0], [1, 1, 0, 0, 1]],
    "empty": [[0, 0, 0, 0, 0], [1, 1, 1, 1, 0]],
}
UNITS = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1}  # class -> the number of states


def to_ours(theirs: Any) -> Layer:
    """Return our layer for one of Keras, which is built, with the same weights."""
    made: Any = nesting.deserialize(keras.layers.serialize(theirs))
    return made


def copy_weights(ours: Layer, theirs: Any, x: torch.Tensor) -> None:
    """Give both layers the same random weights."""
    generator = np.random.default_rng(3)
    ours(x), theirs(x)
    values = [generator.normal(size=w.shape).astype("float32") / 2 for w in theirs.weights]
    pairs = zip(theirs.weights, values, strict=True)
    values = [np.abs(v) + 0.1 if "variance" in w.name else v for w, v in pairs]
    theirs.set_weights(values), ours.set_weights(values)


def assert_same(found: Any, wanted: Any, most: float = 2e-6) -> None:
    found, wanted = ([*one] if isinstance(one, (list, tuple)) else [one] for one in (found, wanted))
    assert len(found) == len(wanted)
    for mine, yours in zip(found, wanted, strict=True):
        arrays = [one.detach().double().numpy() for one in (mine, yours)]
        assert relative_difference(*arrays, 1.0) < most


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("mask", MASKS)
def test_bidirectional(name: str, mask: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4)
    given = None if MASKS[mask] is None else torch.tensor(MASKS[mask], dtype=torch.bool)
    switches = itertools.product((False, True), repeat=3)
    for mode, (sequences, state, start) in itertools.product(
        ("concat", "sum", "ave", "mul", None), switches
    ):
        inner = getattr(keras.layers, name)(3, return_sequences=sequences, return_state=state)
        theirs = keras.layers.Bidirectional(inner, merge_mode=mode)
        ours: Any = to_ours(theirs)
        copy_weights(ours, theirs, x)
        states = [torch.randn(2, 3) for _ in range(2 * UNITS[name])] if start else None
        outputs = [one(x, initial_state=states, mask=given) for one in (ours, theirs)]
        assert_same(*outputs)
        masks = [one.compute_mask(x, given) for one in (ours, theirs)]
        first, second = (one if isinstance(one, (list, tuple)) else [one] for one in masks)
        assert [*first[: len(second)]] == [*second]  # Keras leaves out those of the states
        if name == "LSTM" or not state:  # of one state, Keras returns a shape that is no shape
            shape = ours.compute_output_shape((None, 5, 4))
            assert shape == tuple(theirs.compute_output_shape((None, 5, 4)))


def test_bidirectional_with_a_layer_of_another_class() -> None:
    x = torch.randn(2, 5, 4)
    forward = keras.layers.LSTM(2, return_sequences=True)
    backward = keras.layers.GRU(3, return_sequences=True, go_backwards=True)
    theirs = keras.layers.Bidirectional(forward, backward_layer=backward)
    ours = to_ours(theirs)
    copy_weights(ours, theirs, x)
    assert_same(ours(x), theirs(x))


def test_stateful_bidirectional() -> None:
    x = torch.randn(2, 5, 4)
    inner = keras.layers.LSTM(3, stateful=True)
    theirs = keras.layers.Bidirectional(inner)
    ours: Any = to_ours(theirs)
    copy_weights(ours, theirs, x)
    ours.reset_state(), theirs.reset_state()
    for _ in range(2):
        assert_same(ours(x), theirs(x))
    assert_same(ours.states, [state.value for state in theirs.states])
    ours.reset_state(), theirs.reset_state()
    assert_same(ours(x), theirs(x))


INNER: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Dense": (lambda k: k.Dense(3, activation="relu", activity_regularizer="l2"), (2, 5, 4)),
    "Conv2D": (lambda k: k.Conv2D(3, 2, strides=2, padding="same"), (2, 5, 4, 3, 2)),
    "LSTM": (lambda k: k.LSTM(3), (2, 5, 4, 3)),
    "GRU": (lambda k: k.GRU(3, return_sequences=True, dropout=0.5, seed=1), (2, 5, 4, 3)),
    "stateful": (lambda k: k.LSTM(3, stateful=True), (2, 5, 4, 3)),
    "Bidirectional": (
        lambda k: k.Bidirectional(k.LSTM(3, activity_regularizer="l1")),
        (2, 5, 4, 3),
    ),
    "LayerNormalization": (lambda k: k.LayerNormalization(), (2, 5, 4)),
    "BatchNormalization": (lambda k: k.BatchNormalization(momentum=0.9), (6, 5, 4)),
    "Dropout": (lambda k: k.Dropout(0.5, seed=3), (2, 5, 4)),
    "noise shape": (lambda k: k.Dropout(0.5, noise_shape=(1, 4), seed=3), (2, 5, 4)),
    "MaxPooling1D": (lambda k: k.MaxPooling1D(2), (2, 5, 4, 3)),
    "Softmax": (lambda k: k.Softmax(axis=0), (2, 5, 4)),
}


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_time_distributed(name: str, training: bool) -> None:
    if name == "GRU" and training:
        pytest.skip("Keras draws the masks of its cells in another order")
    make, shape = INNER[name]
    theirs = keras.layers.TimeDistributed(make(keras.layers), activity_regularizer="l2")
    ours = to_ours(theirs)
    torch.manual_seed(0)
    x = torch.randn(shape)
    copy_weights(ours.eval(), theirs, x)
    for layer in (ours, theirs):
        inner: Any = layer
        if name == "stateful":
            inner.layer.reset_state()
    for _ in range(2):
        found, wanted = ours.train(training)(x), theirs(x, training=training)
        assert_same(found, wanted, 1e-5)
        assert_same(*(sorted(one.losses, key=torch.Tensor.item) for one in (ours, theirs)), 1e-5)
        for mine, yours in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert relative_difference(mine, yours, 1.0) < 1e-5


def test_masks_of_time_distributed() -> None:
    x = torch.randn(4, 5, 3, 2)
    mask = torch.rand(4, 5, 3) > 0.3
    cases = {
        "LSTM": (lambda k: k.LSTM(3), x, mask),
        "Dense": (lambda k: k.Dense(3), x, mask[..., 0]),
        "Bidirectional": (lambda k: k.Bidirectional(k.GRU(3, return_sequences=True)), x, mask),
        "GlobalAveragePooling1D": (lambda k: k.GlobalAveragePooling1D(), x, mask),
    }
    for name, (make, given, own) in cases.items():
        theirs = keras.layers.TimeDistributed(make(keras.layers))
        ours = to_ours(theirs)
        copy_weights(ours, theirs, given)
        assert_same(ours(given, mask=own), theirs(given, mask=own))
        assert ours.compute_mask(given, own) is own is theirs.compute_mask(given, own), name


def test_models_inside_of_time_distributed() -> None:
    k = keras.layers
    step = keras.Sequential([k.Input((6, 4, 2)), k.Conv2D(3, 2), k.BatchNormalization(),
                             k.Flatten(), k.Dense(3)])  # fmt: skip
    words = k.Input((4,), dtype="int32")
    phrase = keras.Model(words, k.LSTM(3)(k.Embedding(9, 2, mask_zero=True)(words)))
    pixels, ids = torch.randn(2, 5, 6, 4, 2), torch.randint(0, 3, (2, 5, 4), dtype=torch.int32)
    for model, x in ((step, pixels), (phrase, ids)):
        sequence = keras.Input(tuple(x.shape[1:]), dtype=str(x.dtype).removeprefix("torch."))
        y = k.Bidirectional(k.LSTM(3, return_sequences=True))(k.TimeDistributed(model)(sequence))
        theirs = keras.Model(sequence, k.TimeDistributed(k.Dense(2))(y))
        config = json.loads(theirs.to_json())
        ours = build_model(parse_model_config(config, "here", keras.__version__)).eval()
        ours(x)
        for name, layer in ours.layers.items():
            if isinstance(layer, Layer) and layer.weights:
                layer.set_weights(theirs.get_layer(name).get_weights())
        assert_same(ours(x), theirs(x, training=False))
