"""A hundred steps of training of a masked LSTM and of a transformer block, beside Keras's own.

Keras on torch computes parts in single precision whatever it is told, by a table of its own; in
the runs in double precision that table leaves float64 as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kerastorch import attach_constraints, load_model, regularization_loss

keras = pytest.importorskip("keras")

STEPS, BATCH, TIMES, WORDS, CLASSES, NORM = 100, 16, 7, 20, 3, 0.25
RATES = {"sgd": 2**-5, "adam": 2**-9}  # exact in single precision, in which Keras keeps them
BOUNDS = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture
def computed_in(monkeypatch) -> Iterator[Any]:
    """Give the function that sets Keras's type."""
    from keras.src.backend.common import dtypes

    def set_type(dtype: str) -> None:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)

    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    yield set_type
    set_type("float32")


def classifier() -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((TIMES,), dtype="int32"),
        layers.Embedding(WORDS, 5, mask_zero=True),
        layers.LSTM(
            6,
            kernel_regularizer="l2",
            recurrent_regularizer=keras.regularizers.L1L2(1e-3, 1e-2),
            recurrent_constraint=keras.constraints.MaxNorm(NORM),
            bias_constraint="non_neg",
            name="lstm",
        ),
        layers.Dense(CLASSES),
    ])  # fmt: skip


def block() -> Any:
    """Return a transformer block and a readout.

    Without a regularizer the gradient of the bias of keys is 0 but for rounding, which Adam scales
    up to steps of its full size.
    """
    layers, x = keras.layers, keras.Input((TIMES, 6))
    attention = layers.MultiHeadAttention(2, 4, bias_initializer="uniform", bias_regularizer="l2")
    h = layers.LayerNormalization()(layers.Add()([x, attention(x, x)]))
    wide = layers.Dense(9, activation="relu")(h)
    h = layers.LayerNormalization()(layers.Add()([h, layers.Dense(6)(wide)]))
    return keras.Model(x, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(h)))


def batches(make: Any, dtype: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(0)
    for _ in range(STEPS):
        if make is classifier:
            words = random.integers(1, WORDS, (BATCH, TIMES))
            words[np.arange(TIMES) >= random.integers(0, TIMES + 1, (BATCH, 1))] = 0
            yield words, words.max(1) // 7
        else:
            x = random.normal(size=(BATCH, TIMES, 6)).astype(dtype)
            yield x, np.digitize(x[..., 0].mean(1), [-0.2, 0.2])


def train_keras(model: Any, optimizer: str, data: Any) -> list[float]:
    rate = RATES[optimizer]
    made = (
        keras.optimizers.SGD(rate, momentum=0.9)
        if optimizer == "sgd"
        else keras.optimizers.Adam(rate)
    )
    model.compile(made, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = []
    for x, y in data:
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x, y)))
    return losses


def train_torch(model: Any, optimizer: str, data: Any) -> list[float]:
    """Train in a plain loop; Keras's Adam adds its epsilon before the bias is corrected."""
    rate, losses = RATES[optimizer], []
    made = (
        torch.optim.SGD(model.parameters(), rate, momentum=0.9)
        if optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), rate)
    )
    attach_constraints(made, model)
    for step, (x, y) in enumerate(data, 1):
        if optimizer == "adam":
            made.param_groups[0]["eps"] = 1e-7 / (1 - 0.999**step) ** 0.5
        loss = F.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        loss = loss + regularization_loss(model)
        made.zero_grad()
        loss.backward()
        made.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make", [classifier, block])
@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        ("adam", "float64"),
        pytest.param("adam", "float32", marks=pytest.mark.sweep),
        pytest.param("sgd", "float64", marks=pytest.mark.sweep),
        pytest.param("sgd", "float32", marks=pytest.mark.sweep),
    ],
)
def test_weights_after_a_hundred_steps(make, optimizer, dtype, computed_in):
    computed_in(dtype)
    keras.utils.set_random_seed(1)
    theirs = make()
    ours = load_model(theirs).train()
    start = theirs.get_weights()
    expected = train_keras(theirs, optimizer, batches(make, dtype))
    found = train_torch(ours, optimizer, batches(make, dtype))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.mean(expected[-20:]) < 0.95 * expected[0]  # it does learn
    for layer in theirs.layers:
        weights = layer.get_weights()
        own = getattr(ours, layer.name).get_weights() if weights else []
        for one, wanted in zip(own, weights, strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, wanted, rtol=0, atol=BOUNDS[dtype], err_msg=layer.name)
    for before, after in zip(start, theirs.get_weights(), strict=True):
        assert np.abs(before - after).max() > 1e-3
    if make is classifier:
        norms = np.linalg.norm(ours.lstm.get_weights()[1], axis=0)
        assert norms.max() == pytest.approx(NORM)  # the constraint has an effect
        assert ours.lstm.get_weights()[2].min() == 0
