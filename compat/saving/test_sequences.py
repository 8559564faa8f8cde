"""Recurrent layers, wrappers and embeddings: every way from Keras, and back."""

from __future__ import annotations

import itertools

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers as theirs_of
from torch import nn

import kerastorch
from compat.saving.models import assert_same_outputs, randomize
from compat.saving.test_from_keras import saved, written
from kerastorch import layers


def recurrent() -> keras.Model:
    given = keras.Input((5, 3), name="steps")
    x = theirs_of.LSTM(4, return_sequences=True, dropout=0.1)(given)
    x = theirs_of.GRU(4, return_sequences=True, reset_after=False)(x)
    cells = [theirs_of.LSTMCell(4), theirs_of.GRUCell(4), theirs_of.LSTMCell(4)]
    x = theirs_of.RNN(cells, return_sequences=True, name="stack")(x)
    x = theirs_of.RNN(theirs_of.SimpleRNNCell(4), return_sequences=True)(x)
    return keras.Model(given, theirs_of.LSTM(4, use_bias=False, activation="relu")(x))


def both() -> keras.Model:
    given = keras.Input((5, 3), name="steps")
    x = theirs_of.Bidirectional(theirs_of.GRU(3, return_sequences=True), name="first")(given)
    own = theirs_of.LSTM(3, return_sequences=True, go_backwards=True, name="own")
    one = theirs_of.LSTM(3, return_sequences=True)
    x = theirs_of.Bidirectional(one, backward_layer=own, merge_mode="mul")(x)
    stack = theirs_of.RNN([theirs_of.LSTMCell(3), theirs_of.LSTMCell(3)], return_sequences=True)
    x = theirs_of.Bidirectional(stack, merge_mode="sum", name="stacks")(x)
    return keras.Model(given, x)


def inside() -> keras.Model:
    """A nested model with an inner layer of the name that one of its other layers has."""
    given = keras.Input((5, 3), name="steps")
    x = theirs_of.SimpleRNN(4, return_sequences=True)(given)
    x = theirs_of.Bidirectional(theirs_of.LSTM(2, return_sequences=True, name="d"), name="b")(x)
    x = theirs_of.Dense(3, name="d")(x)
    nested = keras.Model(given, theirs_of.LSTM(3)(x), name="nested")
    return keras.Sequential([keras.Input((5, 3)), nested, theirs_of.Dense(2, name="d")])


def distributed() -> keras.Model:
    given = keras.Input((5, 4, 3), name="steps")
    x = theirs_of.TimeDistributed(theirs_of.Dense(4), name="each")(given)
    pixel = keras.Input((4, 4))
    y = theirs_of.Conv1D(4, 2, name="c")(pixel)
    y = theirs_of.BatchNormalization(name="n")(y)
    y = theirs_of.LSTM(4, name="last")(theirs_of.Dense(4, name="each")(y))
    x = theirs_of.TimeDistributed(keras.Model(pixel, y, name="frame"), name="frames")(x)
    x = theirs_of.TimeDistributed(theirs_of.Dense(2, activation=theirs_of.PReLU()))(x)
    model = keras.Model(given, theirs_of.GRU(2)(x))
    model(np.zeros((1, 5, 4, 3)))  # only a call builds an activation
    return model


@pytest.mark.parametrize("make", [recurrent, both, inside, distributed])
def test_every_way_gives_the_same_outputs_and_goes_back(tmp_path, make):
    theirs = make()
    randomize(theirs)
    for weight in theirs.trainable_weights:  # no variances
        weight.assign(weight - 0.75)
    for ours in saved(theirs, tmp_path):
        assert_same_outputs(ours, theirs)
    kerastorch.save_weights(ours, tmp_path / "back.weights.h5")
    again = make()
    again.load_weights(tmp_path / "back.weights.h5")
    for own, weight in zip(again.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(own, weight)


@pytest.mark.parametrize("make", [recurrent, both, inside, distributed])
def test_the_file_has_the_arrays_of_keras(tmp_path, make):
    theirs = make()
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours = kerastorch.load_model(theirs)
    kerastorch.save_weights(ours, tmp_path / "ours.weights.h5")
    expected, found = written(tmp_path / "theirs.weights.h5"), written(tmp_path / "ours.weights.h5")
    arrays = [{n: s for n, (s, _) in one.items() if s is not None} for one in (expected, found)]
    seeds = [name for name in arrays[0] if "seed_generator" in name]
    assert arrays[1] == {name: one for name, one in arrays[0].items() if name not in seeds}


class Port(nn.Module):
    """The same layers in a module of one's own, with a layer of torch among them."""

    def __init__(self, built: bool) -> None:
        super().__init__()
        self.words = layers.Embedding(7, 3)
        self.first = layers.Bidirectional(layers.GRU(2, return_sequences=True))
        self.second = nn.LSTM(4, 3, batch_first=True)
        self.stack = layers.RNN([layers.LSTMCell(5), layers.LSTMCell(5)], return_sequences=True)
        self.third = nn.GRU(5, 2, batch_first=True, bidirectional=True)
        self.head = layers.TimeDistributed(layers.Dense(2))
        if built:
            self(torch.zeros(1, 3, dtype=torch.int64))

    def forward(self, x):
        x = self.second(self.first(self.words(x)))[0]
        return self.head(self.third(self.stack(x))[0])


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("way", ["keras", "h5", "weights.h5", "live", "arrays"])
def test_a_module_of_ones_own(tmp_path, way, built):
    cells = [theirs_of.LSTMCell(5), theirs_of.LSTMCell(5)]
    theirs = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            theirs_of.Embedding(7, 3),
            theirs_of.Bidirectional(theirs_of.GRU(2, return_sequences=True)),
            theirs_of.LSTM(3, return_sequences=True),
            theirs_of.RNN(cells, return_sequences=True),
            theirs_of.Bidirectional(theirs_of.GRU(2, return_sequences=True)),
            theirs_of.TimeDistributed(theirs_of.Dense(2)),
        ]
    )
    randomize(theirs)
    source = {"live": theirs, "arrays": theirs.get_weights()}.get(way)
    if source is None:
        source = tmp_path / f"m.{way}"
        (theirs.save_weights if way == "weights.h5" else theirs.save)(source)
    ours = Port(built)
    kerastorch.load_weights(ours, source)
    x = np.random.default_rng(0).integers(0, 7, (4, 5))
    with torch.no_grad():
        found, expected = ours.eval()(torch.tensor(x)), theirs(x)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=2e-6)
    kerastorch.save_weights(ours, tmp_path / "back.weights.h5")
    before = theirs.get_weights()
    theirs.set_weights([0 * value for value in before])
    theirs.load_weights(tmp_path / "back.weights.h5")
    for own, weight in zip(theirs.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, weight)


def test_a_single_live_layer():
    theirs = theirs_of.Bidirectional(theirs_of.LSTM(3, return_sequences=True))
    theirs.build((None, 4, 2))
    ours = layers.Bidirectional(layers.LSTM(3, return_sequences=True))
    kerastorch.load_weights(ours, theirs)
    x = torch.rand(2, 4, 2)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("first", ["wrapper", "model"])
def test_a_model_that_a_wrapper_shares_is_written_once(tmp_path, first):
    inside = keras.Input((5,))
    shared = keras.Model(inside, theirs_of.Dense(3, name="d")(inside), name="shared")
    steps, single = keras.Input((4, 5), name="a"), keras.Input((5,), name="b")
    own = shared(single)
    given = steps if first == "wrapper" else steps + theirs_of.Dense(5)(own)[:, None]
    x = theirs_of.LSTM(3)(theirs_of.TimeDistributed(shared, name="each")(given))
    theirs = keras.Model([steps, single], [x, own])
    randomize(theirs)
    for ours in itertools.islice(saved(theirs, tmp_path), 5):  # a list has the arrays once only
        assert_same_outputs(ours, theirs)
    with h5py.File(tmp_path / "m.weights.h5") as file:
        written_inside = "time_distributed/layer/layers/dense/vars/0" in file["layers"]
    assert written_inside == (first == "wrapper")


class Attention(nn.Module):
    """Self-attention and attention to another sequence of another size, by modules of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.MultiheadAttention(6, 2, batch_first=True)
        self.second = nn.MultiheadAttention(6, 3, kdim=4, vdim=4, batch_first=True)

    def forward(self, x, other):
        x = self.first(x, x, x)[0]
        return self.second(x, other, other)[0]


@pytest.mark.parametrize("way", ["keras", "h5", "weights.h5", "live", "arrays"])
def test_attention_by_modules_of_torch(tmp_path, way):
    x, other = keras.Input((5, 6)), keras.Input((7, 4))
    h = theirs_of.MultiHeadAttention(2, 3)(x, x)
    theirs = keras.Model([x, other], theirs_of.MultiHeadAttention(3, 2)(h, other))
    randomize(theirs)
    source = {"live": theirs, "arrays": theirs.get_weights()}.get(way)
    if source is None:
        source = tmp_path / f"m.{way}"
        (theirs.save_weights if way == "weights.h5" else theirs.save)(source)
    ours = Attention()
    kerastorch.load_weights(ours, source)
    generator = torch.Generator().manual_seed(0)
    given = [torch.rand(4, *size, generator=generator) for size in ((5, 6), (7, 4))]
    with torch.no_grad():
        expected = theirs(given)
        torch.testing.assert_close(ours.eval()(*given), expected, rtol=1e-5, atol=2e-6)
    kerastorch.save_weights(ours, tmp_path / "back.weights.h5")
    before = theirs.get_weights()
    theirs.set_weights([0 * value for value in before])
    theirs.load_weights(tmp_path / "back.weights.h5")
    for left, right in zip(theirs.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)


class Cells(nn.Module):
    """Two layers in one module of torch, then cells in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.LSTM(4, 3, num_layers=2, batch_first=True)
        self.cell = nn.GRUCell(3, 2)

    def forward(self, x):
        x, state = self.stack(x)[0], None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state


@pytest.mark.parametrize("way", ["keras", "h5", "weights.h5", "live", "arrays"])
def test_cells_and_several_layers_of_torch(tmp_path, way):
    cells = [theirs_of.LSTMCell(3), theirs_of.LSTMCell(3)]
    stack = theirs_of.RNN(cells, return_sequences=True)
    theirs = keras.Sequential([keras.Input((5, 4)), stack, theirs_of.GRU(2)])
    randomize(theirs)
    source = {"live": theirs, "arrays": theirs.get_weights()}.get(way)
    if source is None:
        source = tmp_path / f"m.{way}"
        (theirs.save_weights if way == "weights.h5" else theirs.save)(source)
    ours, x = Cells(), torch.rand(3, 5, 4)
    kerastorch.load_weights(ours, source)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=2e-6)
    kerastorch.save_weights(ours, tmp_path / "back.weights.h5")
    before = theirs.get_weights()
    theirs.set_weights([0 * value for value in before])
    theirs.load_weights(tmp_path / "back.weights.h5")
    for left, right in zip(theirs.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_a_live_cell(name):
    theirs = getattr(theirs_of, name)(3)
    theirs.build((None, 4))
    randomize(theirs)
    ours = getattr(nn, name.removeprefix("Simple"))(4, 3)
    kerastorch.load_weights(ours, theirs)
    x, states = torch.rand(2, 4), [torch.rand(2, 3) for _ in range(1 + (name == "LSTMCell"))]
    found = ours(x, tuple(states) if len(states) > 1 else states[0])
    expected = theirs(x, states)[1]
    for left, right in zip(found if len(states) > 1 else [found], expected, strict=True):
        torch.testing.assert_close(left, right)
