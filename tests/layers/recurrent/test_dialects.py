"""Recurrent layers of tf.keras 2, and of Keras before it was TensorFlow's: 1.x to 2.3."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM2D,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    StackedRNNCells,
    TimeDistributed,
)
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.recurrent.test_values import KINDS, MASKS, B, H, N, T, make_mask
from tests.models.configs import build_all

OLD = ["1.2.2", "2.0.9", "2.1.6", "2.2.4"]
NEW = ["2.1.6-tf", "2.2.4-tf", "2.3.0-tf", "2.4.0", "2.21.0", None]
PATTERNS = ["hole", *MASKS]


def load(kind, config, version, shape=(None, T, N)):
    """Return the only layer of a Sequential model of Keras 1 or 2, with random weights."""
    entry = {"class_name": kind, "config": {"name": "r", **config, "batch_input_shape": shape}}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [entry]}}
    built = build_model(parse_model_config(model, "config.json", version))
    build_all(built)
    for parameter in built.parameters():
        nn.init.uniform_(parameter, -0.7, 0.7)
    return built.layers["r"]


def make_inputs():
    return torch.randn(B, T, N), torch.tensor(make_mask("hole"))


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("version", [OLD[0], OLD[3]])
def test_masked_steps_have_the_state_up_to_2_2(kind, arguments, pattern, version):
    """As `K.rnn` of these versions on TensorFlow: `where(mask, output, states[0])`."""
    x, mask = torch.randn(B, T, N), torch.tensor(make_mask(pattern))
    for sequences, backwards, fused in product([False, True], repeat=3):
        config = {"units": H, "implementation": 1, "return_sequences": sequences, **arguments}
        config |= {"go_backwards": backwards, "return_state": True, "activation": "tanh"}
        gate = {} if kind is SimpleRNN else {"recurrent_activation": "sigmoid"}
        layer = load(kind.__name__, {**config, **gate}, version)
        if not fused:
            layer._can_fuse = lambda x: False
        states = [torch.full((B, H), 0.5)] * (2 if kind is LSTM else 1)
        found, *last = layer(x, states, mask)
        outputs, order = [], range(T)
        for time in reversed(order) if backwards else order:
            step = layer.__class__.from_config({**layer.get_config(), "repeats_state": False})
            step.build((B, 1, N))
            step.set_weights(layer.get_weights())
            _, *new = step(x[:, time : time + 1], states)
            valid = mask[:, time, None]
            states = [torch.where(valid, a, b) for a, b in zip(new, states, strict=True)]
            outputs.append(states[0])  # the state of the step before where it is masked
        expected = torch.stack(outputs, 1) if sequences else outputs[-1]
        assert_close([found, *last], [expected, *states], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize(("version", "unroll"), [*product(NEW, [False]), ("2.3.1", False),
                                                 *product(OLD, [True])])  # fmt: skip
def test_masked_first_steps_are_zeros_in_others(kind, version, unroll):
    x, mask = torch.randn(B, T, N), torch.tensor(make_mask("left"))
    config = {"units": H, "implementation": 1, "return_sequences": True, "unroll": unroll}
    layer = load(kind, config, version)
    count = 2 if kind == "LSTM" else 1
    found = layer(x, [torch.full((B, H), 0.5)] * count, mask)
    assert not found[~mask].any() and found[mask].any()
    assert not layer.repeats_state


def test_a_layer_of_an_old_version_is_that_of_its_config():
    layer = load("GRU", {"units": H, "implementation": 1, "return_sequences": True}, "2.2.4")
    assert layer.get_config()["repeats_state"] is True
    again = GRU.from_config(layer.get_config())
    again.build((None, T, N))
    again.set_weights(layer.get_weights())
    x, mask = make_inputs()
    state = torch.ones(B, H)
    assert_close(again(x, state, mask), layer(x, state, mask))
    assert (again(x, state, torch.zeros(B, T)) == 1).all()
    with pytest.raises(ValueError, match=r"`target` must be None for a layer of Keras 1 or 2"):
        layer.get_config(target="3.0")
    with pytest.raises(TypeError, match="`repeats_state` must be True or False"):
        GRU.from_config({"units": H, "repeats_state": "yes"})
    with pytest.raises(ValueError, match="`repeats_state` must be one of its arguments"):
        GRU(H, repeats_state=True)


@pytest.mark.parametrize("version", [*OLD, "2.3.1", *NEW])
@pytest.mark.parametrize("mode", ["concat", "sum", "mul"])
def test_both_directions_repeat_outputs_up_to_2_3(version, mode):
    inner = {"name": "l", "units": H, "implementation": 1, "return_sequences": True}
    config = {"layer": {"class_name": "LSTM", "config": inner}, "merge_mode": mode}
    layer, (x, mask) = load("Bidirectional", config, version), make_inputs()
    repeats = version in (*OLD, "2.3.1")
    assert layer.repeats_output is repeats
    parts = []
    for one in (layer.forward_layer, layer.backward_layer):
        alone = LSTM.from_config({**one.get_config(), "zero_output_for_mask": not repeats})
        alone.build((None, T, N))
        alone.set_weights(one.get_weights())
        parts.append(alone(x, mask=mask))
    expected = layer._merge(parts[0], parts[1].flip(1))[0]
    assert_close(layer(x, mask=mask), expected, rtol=0, atol=1e-6)
    assert bool((layer(x, mask=mask)[~mask] == 0).all()) is not repeats
    again = Bidirectional.from_config(layer.get_config())
    assert again.repeats_output is repeats


@pytest.mark.parametrize("version", [*OLD, "2.3.1", *NEW])
def test_a_stack_lists_its_states_from_the_last_cell_before_2_2(version):
    cells = [
        {"class_name": kind, "config": {"units": units, "implementation": 1}}
        for kind, units in (("LSTMCell", 3), ("GRUCell", H))
    ]
    stack = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
    layer = load("RNN", {"cell": stack, "return_state": True}, version)
    y, *states = layer(torch.randn(B, T, N))
    sizes = [[one.shape[-1] for one in cell] for cell in states]
    is_reversed = version in OLD[:3]
    assert sizes == ([[H], [3, 3]] if is_reversed else [[3, 3], [H]])
    assert_close(states[0 if is_reversed else 1][0], y)
    assert layer.compute_output_shape((B, T, N))[1:] == tuple(
        [(B, size) for size in one] for one in sizes
    )


@pytest.mark.parametrize("given", [False, True])
def test_a_reversed_stack_computes_the_same(given):
    cells = [LSTMCell(3), GRUCell(H)]
    one = RNN(cells, return_state=True, stateful=True, input_shape=(T, N))
    config = StackedRNNCells(cells).get_config()
    stack = StackedRNNCells.from_config({**config, "reverse_state_order": True})
    assert stack.get_config()["reverse_state_order"] is True
    other = RNN(stack, return_state=True, stateful=True, input_shape=(T, N))
    other.set_weights(one.get_weights())
    x, mask = make_inputs()
    states = [[torch.rand(B, 3), torch.rand(B, 3)], [torch.rand(B, H)]] if given else None
    for _ in range(2):
        y, *last = one(x, states, mask)
        found, *reversed_last = other(x, states and states[::-1], mask)
        assert_close([found, *reversed_last[::-1]], [y, *last])
        states = None


@pytest.mark.parametrize(("kind", "arguments"), [*KINDS, (RNN, {})])
@pytest.mark.parametrize("version", ["2.3.0-tf", "2.21.0"])
def test_time_as_the_first_axis(kind, arguments, version):
    """In tf.keras 2 of sequences and masks, and of outputs at all times, but not of states."""
    sizes = {"cell": {"class_name": "GRUCell", "config": {"units": H}}} if kind is RNN else {}
    x, mask = make_inputs()
    for sequences, backwards in product([False, True], repeat=2):
        config = {"units": H, **arguments} if kind is not RNN else sizes
        config |= {"return_sequences": sequences, "go_backwards": backwards, "return_state": True}
        layer = load(kind.__name__, {**config, "time_major": True}, version, (T, B, N))
        plain = kind.from_config({**layer.get_config(), "time_major": False})
        plain.build((None, T, N))
        plain.set_weights(layer.get_weights())
        states = [torch.rand(B, H)] * (2 if kind is LSTM else 1)
        y, *last = plain(x, states, mask)
        found, *others = layer(x.transpose(0, 1), states, mask.T)
        assert_close([found.transpose(0, 1) if sequences else found, *others], [y, *last])
        shape = layer.compute_output_shape((T, B, N))
        assert [tuple(one) for one in shape] == [tuple(one.shape) for one in (found, *others)]
        with pytest.raises(ValueError, match=r"\(time, batch\) = \(6, 4\)"):
            layer(x.transpose(0, 1), mask=mask)
        with pytest.raises(ValueError, match="`sequences` must be of 1 step or more"):
            layer(x.transpose(0, 1)[:0])


def test_time_as_the_first_axis_in_both_directions_and_by_itself():
    x, mask = make_inputs()
    config = {"units": H, "recurrent_activation": "sigmoid", "return_sequences": True}
    layer = LSTM.from_config({**config, "time_major": True})
    assert layer.get_config()["time_major"] is True and not layer.is_sample_wise
    both = Bidirectional(layer, input_shape=(B, N))
    plain = Bidirectional(LSTM(H, return_sequences=True), input_shape=(T, N))
    plain.set_weights(both.get_weights())
    found = both(x.transpose(0, 1), mask=mask.T)
    assert_close(found.transpose(0, 1), plain(x, mask=mask))
    assert not TimeDistributed(layer)._is_same_at_once()
    with pytest.raises(ValueError, match="`target` must be None"):
        layer.get_config(target="3.0")
    with pytest.raises(ValueError, match="`time_major` must be one of its arguments"):
        LSTM(H, time_major=True)
    with pytest.raises(TypeError, match="time_major"):
        ConvLSTM2D.from_config({"filters": 2, "kernel_size": 2, "time_major": True})


class Adding(nn.Module):
    """A cell that adds a constant at each step."""

    state_size = H

    def forward(self, inputs, states, constants=None):
        added = 0 if constants is None else constants[0]
        return inputs[:, :H] + states[0] + added, [states[0] + 1]


def test_constants_reach_the_cells_that_take_them():
    x, constant = torch.randn(B, T, N), torch.randn(B, H)
    for layer in (RNN(Adding(), return_sequences=True), Bidirectional(RNN(Adding()))):
        assert_close(layer(x, constants=[constant]), layer(x, constants=constant))
        difference = layer(x, constants=[constant]) - layer(x)
        wanted = torch.cat([constant] * 2, -1) if isinstance(layer, Bidirectional) else constant
        expected = wanted[:, None] if isinstance(layer, RNN) else wanted
        assert_close(difference, expected.broadcast_to(difference.shape), rtol=0, atol=1e-5)
        assert_close(layer(x, constants=[]), layer(x)) if isinstance(layer, RNN) else None
    stack = RNN([GRUCell(H), Adding()], input_shape=(T, N))
    difference = stack(x, constants=[constant]) - stack(x)
    assert_close(difference, constant, rtol=0, atol=1e-5)
    only = RNN([GRUCell(H)], input_shape=(T, N))
    assert_close(only(x, constants=[constant]), only(x))  # as in Keras 2
    with pytest.raises(ValueError, match="RNN: `constants` must be left out: the cell's"):
        RNN(GRUCell(H))(x, constants=[constant])
    with pytest.raises(ValueError, match="Bidirectional: `constants` must be left out"):
        Bidirectional(GRU(H))(x, constants=[constant])


def test_constants_are_counted_in_the_config():
    config = {**RNN(GRUCell(H)).get_config(), "num_constants": 2}
    layer = RNN.from_config(config)
    assert layer.num_constants == 2 and layer.get_config()["num_constants"] == 2
    assert Bidirectional.from_config(
        {**Bidirectional(layer).get_config(), "num_constants": 1}
    ).num_constants
    assert RNN.from_config({**config, "num_constants": None}).num_constants == 0
    with pytest.raises(TypeError, match="num_constants"):
        LSTM.from_config({"units": 2, "num_constants": 1})


def test_the_activity_regularizer_of_a_simple_rnn_counts_in_keras_2():
    config = {"units": H, "implementation": 2, "activity_regularizer": "l2", "return_state": True}
    layer, x = load("SimpleRNN", config, "2.21.0"), torch.randn(B, T, N)
    found = layer(x)
    assert_close(layer.losses, [0.01 * one.square().sum() / B for one in found])
    assert layer.get_config()["keras_2"] is True
    again = SimpleRNN.from_config(layer.get_config())
    assert again.activity_regularizer is not None
    assert SimpleRNN(H, activity_regularizer="l2").activity_regularizer is None  # as in Keras 3
    plain = load("SimpleRNN", {"units": H, "implementation": 2}, "2.21.0")
    assert not plain.keras_2 and plain.get_config(target="3.0")
