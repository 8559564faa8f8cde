"""Weights of layers inside layers: of cells, and of the two directions of a Bidirectional."""

from __future__ import annotations

from collections import OrderedDict

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from kerastorch import layers, load_model, load_weights, save_weights
from kerastorch.saving import FileError
from tests.weights.weight_files import array, old_file, sequential, tree_file

NAMES = ("kernel", "recurrent_kernel", "bias")
FORWARD, BACKWARD = "bidirectional/forward_layer/cell", "bidirectional/backward_layer/cell"


def lstm(size=3, units=3):
    return [array(size, 4 * units), array(units, 4 * units), array(4 * units)]


def gru(size=3, units=3):
    return [array(size, 3 * units), array(units, 3 * units), array(2, 3 * units)]


def lstm_layer():
    return nn.Sequential(layers.LSTM(3, return_sequences=True))


def both(**options):
    return nn.Sequential(layers.Bidirectional(layers.LSTM(3), **options))


def stack():
    return nn.Sequential(layers.RNN([layers.LSTMCell(3), layers.GRUCell(3), layers.LSTMCell(3)]))


def assert_weights(layer, *parts):
    expected = [value for part in parts for value in part]
    found = layer.get_weights()
    assert len(found) == len(expected)
    for own, given in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, given)


def named(prefixes, parts, suffix=":0"):
    pairs = zip(prefixes, parts, strict=True)
    return {
        f"{p}/{name}{suffix}": value
        for p, part in pairs
        for name, value in zip(NAMES, part, strict=True)
    }


# Trees of Keras 3, without a config


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("group", ["layers/lstm/cell", "lstm/cell", "encoder/cell"])
def test_a_cell_in_a_tree(tmp_path, built, group):
    model, arrays = nn.Sequential(OrderedDict(encoder=layers.LSTM(3))), lstm()
    if built:
        model(torch.zeros(1, 2, 3))
    outer = {group.removesuffix("/cell"): []}
    load_weights(model, tree_file(tmp_path, {**outer, group: arrays}))
    assert_weights(model[0], arrays)
    assert model[0].built and not hasattr(model[0], "_initialize_hook")


def test_directions_are_told_by_their_groups_and_not_by_the_order_of_the_file(tmp_path):
    model, one, other = both(), lstm(), lstm()
    groups = {"layers/bidirectional": [], f"layers/{BACKWARD}": other, f"layers/{FORWARD}": one}
    load_weights(model, tree_file(tmp_path, groups))
    assert_weights(model[0], one, other)


def test_cells_in_a_tree_are_numbered_in_each_class(tmp_path):
    model, parts = stack(), [lstm(), gru(), lstm()]
    names = ("lstm_cell", "gru_cell", "lstm_cell_1")
    groups = {f"layers/rnn/cell/cells/{n}": part for n, part in zip(names, parts, strict=True)}
    load_weights(model, tree_file(tmp_path, {"layers/rnn": [], **groups}))
    assert_weights(model[0], *parts)


def test_groups_that_the_module_lacks_are_refused(tmp_path):
    groups = {"layers/bidirectional": [], f"layers/{FORWARD}": lstm(), "layers/bidirectional/x": []}
    with pytest.raises(FileError, match=r"has 6 weights.*at layers/bidirectional"):
        load_weights(both(), tree_file(tmp_path, groups))
    groups[f"layers/{FORWARD}s"] = lstm()
    with pytest.raises(FileError, match=r"has 6 weights.*at layers/bidirectional"):
        load_weights(both(), tree_file(tmp_path, groups))


# What `save_weights` writes


@pytest.mark.parametrize("make", [lstm_layer, both, stack])
def test_the_groups_are_those_of_keras_3(tmp_path, make):
    model, again = make(), make()
    model(torch.zeros(1, 2, 3))
    path = tmp_path / "m.weights.h5"
    save_weights(model, path)
    with h5py.File(path) as file:
        found = set()
        file.visititems(lambda name, one: found.add(name) if name.endswith("/0") else None)
    paths = {
        lstm_layer: ["lstm/cell"],
        both: [FORWARD, BACKWARD],
        stack: [f"rnn/cell/cells/{name}" for name in ("lstm_cell", "gru_cell", "lstm_cell_1")],
    }
    assert found == {f"layers/{one}/vars/0" for one in paths[make]}
    load_weights(again, path)
    assert_weights(again[0], model[0].get_weights())


# Older files, whose arrays have names


@pytest.mark.parametrize(
    "prefix",
    ["lstm/lstm_cell", "lstm_1/lstm_cell_14", "lstm_1", "lstm_1_2", "sequential/lstm/lstm_cell"],
)
def test_names_of_a_cell_in_an_old_file(tmp_path, prefix):
    model, arrays = lstm_layer(), lstm()
    load_weights(model, old_file(tmp_path, {"lstm_1": named([prefix], [arrays])}))
    assert_weights(model[0], arrays)


@pytest.mark.parametrize(
    "prefixes",
    [
        ("b/forward_lstm/lstm_cell", "b/backward_lstm/lstm_cell"),
        ("b/forward_lstm_1/lstm_cell_4", "b/backward_lstm_1/lstm_cell_5"),
        ("b/forward_lstm_1", "b/backward_lstm_1"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_directions_are_told_by_their_names_in_whatever_order(tmp_path, prefixes, swapped):
    model, parts = both(), [lstm(), lstm()]
    arrays = named(prefixes, parts)
    if swapped:
        arrays = dict(reversed(arrays.items()))
    load_weights(model, old_file(tmp_path, {"b": arrays}))
    assert_weights(model[0], *parts)


def test_directions_whose_names_say_otherwise_are_refused(tmp_path):
    arrays = named(["b/forward_lstm/lstm_cell", "b/forward_lstm_1/lstm_cell"], [lstm(), lstm()])
    config = sequential(
        ("Bidirectional", {"name": "b", "layer": {"class_name": "LSTM", "config": {"units": 3}}})
    )
    with pytest.raises(FileError, match="has 6 weights"):
        load_weights(both(), old_file(tmp_path, {"b": arrays}, config))


def test_names_that_a_graph_numbered_are_a_stack_in_order(tmp_path):
    model, parts = stack(), [lstm(), gru(), lstm()]
    arrays = {
        f"rnn/{name}{'' if number == 0 else f'_{number}'}:0": value
        for number, part in enumerate(parts)
        for name, value in zip(NAMES, part, strict=True)
    }
    load_weights(model, old_file(tmp_path, {"rnn": arrays}))
    assert_weights(model[0], *parts)


def recurrent_config(**own):
    both_of = {"class_name": "LSTM", "config": {"units": 3, "name": "inner"}}
    inner = sequential(
        ("InputLayer", {"batch_shape": [None, 4, 3], "name": "i"}),
        ("GRU", {"units": 3, "name": "g", "return_sequences": True, "reset_after": True}),
        ("Bidirectional", {"name": "b", "layer": both_of}),
        ("Dense", {"units": 2, "name": "inner"}),
        name="nested",
    )
    outer = (inner["class_name"], inner["config"])
    return sequential(("InputLayer", {"batch_shape": [None, 4, 3], "name": "i"}), outer, **own)


def test_a_nested_model_in_one_group_of_an_old_file(tmp_path):
    parts = [gru(), lstm(), lstm()]
    prefixes = ["g/gru_cell", "b/forward_inner/lstm_cell", "b/backward_inner/lstm_cell"]
    dense = {"inner/kernel:0": array(6, 2), "inner/bias:0": array(2)}
    arrays = {**named(prefixes, parts), **dense}
    model = load_model(old_file(tmp_path, {"nested": arrays}, recurrent_config()))
    nested = model.layers["nested"].layers
    assert_weights(nested["g"], parts[0])
    assert_weights(nested["b"], parts[1], parts[2])
    assert_weights(nested["inner"], dense.values())
    assert model(torch.zeros(1, 4, 3)).shape == (1, 2)


# torch's own layers


def keras_layer_of(kind, arrays, bidirectional):
    made = kind(3, return_sequences=True)
    made = layers.Bidirectional(made) if bidirectional else made
    made.build((None, None, 3))
    made.set_weights(arrays)
    return made


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "kind, own, make",
    [
        (layers.LSTM, nn.LSTM, lstm),
        (layers.GRU, nn.GRU, gru),
        (layers.SimpleRNN, nn.RNN, lambda: [array(3, 3), array(3, 3), array(3)]),
    ],
)
def test_layers_of_torch_compute_the_same_and_go_back(tmp_path, kind, own, make, bidirectional):
    arrays = make() + (make() if bidirectional else [])
    expected = keras_layer_of(kind, arrays, bidirectional)
    module = own(3, 3, batch_first=True, bidirectional=bidirectional)
    before = dict(module.named_parameters())
    save_weights(nn.Sequential(expected), tmp_path / "m.weights.h5")
    load_weights(nn.Sequential(module), tmp_path / "m.weights.h5")
    x = torch.rand(2, 5, 3)
    torch.testing.assert_close(module(x)[0], expected(x), rtol=1e-6, atol=1e-6)
    assert all(before[name] is value for name, value in module.named_parameters())
    again = keras_layer_of(kind, [0 * value for value in arrays], bidirectional)
    with torch.no_grad():  # an arbitrary second bias, which Keras's single bias includes
        module.bias_hh_l0[6:] += 1
    save_weights(nn.Sequential(module), tmp_path / "n.weights.h5")
    load_weights(nn.Sequential(again), tmp_path / "n.weights.h5")
    torch.testing.assert_close(module(x)[0], again(x), rtol=1e-6, atol=1e-6)


def test_a_gru_without_reset_after_does_not_fit_torchs(tmp_path):
    arrays = [array(3, 9), array(3, 9), array(9)]
    path = tree_file(tmp_path, {"layers/gru": [], "layers/gru/cell": arrays})
    with pytest.raises(FileError, match=r"bias_ih_l0 has the shape \(2, 9\)"):
        load_weights(nn.Sequential(nn.GRU(3, 3)), path)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"activation": "relu"}, "activation='tanh', where the source has 'relu'"),
        ({"recurrent_activation": "hard_sigmoid"}, "recurrent_activation='sigmoid', where"),
        ({"go_backwards": True}, "go_backwards=False, where the source has True"),
    ],
)
def test_what_torchs_layers_do_not_compute(tmp_path, options, words):
    config = sequential(("LSTM", {"units": 3, "name": "l", **options}))
    path = old_file(tmp_path, {"l": named(["l/lstm_cell"], [lstm()])}, config)
    with pytest.raises(FileError, match=words):
        load_weights(nn.Sequential(nn.LSTM(3, 3)), path)
    with pytest.warns(UserWarning, match=words):
        load_weights(nn.Sequential(nn.LSTM(3, 3)), path, strict=False)


def test_layers_of_torch_that_keras_lacks(tmp_path):
    path = tree_file(tmp_path, {"layers/lstm": [], "layers/lstm/cell": lstm()})
    with pytest.raises(FileError, match="LSTM: `proj_size` must be 0"):
        load_weights(nn.Sequential(nn.LSTM(3, 3, proj_size=2)), path)


# Weights that are stored in another order, or computed from others


def test_an_infinite_value_in_a_narrow_dtype_is_refused(tmp_path):
    arrays = [*gru()[:2], 1e30 * array(2, 9)]
    path = tree_file(tmp_path, {"layers/gru": [], "layers/gru/cell": arrays})
    module = nn.Sequential(nn.GRU(3, 3).half())
    before = module[0].weight_ih_l0.clone()
    with pytest.raises(FileError, match=r"must be finite in torch\.float16"):
        load_weights(module, path)
    assert torch.equal(module[0].weight_ih_l0, before)


def test_differences_inside_a_cell_are_named(tmp_path):
    cell = {"class_name": "LSTMCell", "config": {"units": 3, "activation": "relu"}}
    config = sequential(("RNN", {"name": "r", "cell": cell}))
    path = old_file(tmp_path, {"r": named(["r/lstm_cell"], [lstm()])}, config)
    with pytest.raises(FileError, match="cell: activation='tanh', where the source has 'relu'"):
        load_weights(nn.Sequential(layers.RNN(layers.LSTMCell(3))), path)


def test_cells_of_a_stack_may_have_other_names_than_the_modules(tmp_path):
    kinds, parts = ("LSTMCell", "GRUCell", "LSTMCell"), [lstm(), gru(), lstm()]
    cells = [
        {"class_name": kind, "config": {"units": 3, "name": f"c{number}"}}
        for number, kind in enumerate(kinds)
    ]
    cell = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
    arrays = named(["r/c0", "r/c1", "r/c2"], parts)
    config = sequential(("RNN", {"name": "r", "cell": cell}))
    model = stack()
    load_weights(model, old_file(tmp_path, {"r": arrays}, config))
    assert_weights(model[0], *parts)
