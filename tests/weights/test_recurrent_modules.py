"""Keras's weights into the cells of torch.nn and into its modules of several layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import layers, load_weights, save_weights
from kerastorch.saving import FileError
from tests.weights.weight_files import array, old_file, sequential

B, T, N, H = 2, 5, 4, 3
CELLS = [
    (layers.LSTM, layers.LSTMCell, nn.LSTM, nn.LSTMCell),
    (layers.GRU, layers.GRUCell, nn.GRU, nn.GRUCell),
    (layers.SimpleRNN, layers.SimpleRNNCell, nn.RNN, nn.RNNCell),
]


def build(layer, size=N):
    layer.build((None, None, size))
    layer.set_weights([array(*one.shape) for one in layer.get_weights()])
    return layer


def save(folder, *found):
    path = folder / "m.weights.h5"
    save_weights(nn.Sequential(*found), path)
    return path


def loop(cell, x):
    state = None
    for step in x.unbind(1):
        state = cell(step, state)
    return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize("of_a_cell", [False, True])
@pytest.mark.parametrize(("layer", "cell", "_", "torch_cell"), CELLS)
def test_a_cell_in_a_loop_of_ones_own(tmp_path, layer, cell, _, torch_cell, of_a_cell):
    expected = build(layers.RNN(cell(H)) if of_a_cell else layer(H))
    own, x = torch_cell(N, H), torch.rand(B, T, N)
    load_weights(nn.ModuleDict({"one": own}), save(tmp_path, expected))
    assert_close(loop(own, x), expected(x), rtol=1e-6, atol=1e-6)
    again = build(layer(H))
    load_weights(nn.Sequential(again), save(tmp_path, own))
    assert_close(again(x), expected(x), rtol=1e-6, atol=1e-6)
    arrays = cell(H, input_shape=(N,))
    arrays.set_weights(expected.get_weights())
    other = torch_cell(N, H)
    load_weights(other, arrays.get_weights())
    assert_close(loop(other, x), expected(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("_", "cell", "torch_layer", "torch_cell"), CELLS)
def test_several_layers_are_a_stack_of_cells(tmp_path, _, cell, torch_layer, torch_cell):
    stack = [cell(H), cell(H), cell(H)]
    expected = build(layers.RNN(stack, return_sequences=True))
    module, x = torch_layer(N, H, num_layers=3, batch_first=True), torch.rand(B, T, N)
    load_weights(nn.Sequential(module), save(tmp_path, expected))
    assert_close(module(x)[0], expected(x), rtol=1e-6, atol=1e-6)
    again = build(layers.RNN([cell(H), cell(H), cell(H)], return_sequences=True))
    load_weights(nn.Sequential(again), save(tmp_path, module))
    assert_close(again(x), expected(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("layer", "_", "torch_layer", "torch_cell"), CELLS)
def test_several_layers_of_keras_need_a_mapping(tmp_path, layer, _, torch_layer, torch_cell):
    units = 8 // (4 if layer is layers.LSTM else 1)  # so that a kernel is square
    first, second = (build(layer(units, return_sequences=True), n) for n in (8, units))
    path = save(tmp_path, first, second)
    module, x = torch_layer(8, units, num_layers=2, batch_first=True), torch.rand(B, T, 8)
    before = [parameter.clone() for parameter in module.parameters()]
    with pytest.raises(FileError, match="Say which is which with `mapping"):
        load_weights(nn.Sequential(module), path)
    assert_close([*module.parameters()], before, rtol=0, atol=0)
    kind = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}[layer.__name__]
    mapping = {
        f"0.{parameter}_l{n}": f"layers/{kind}{'_1' * n}/cell/vars/{index}"
        for n in range(2)
        for index, parameter in enumerate(("weight_ih", "weight_hh", "bias_ih"))
    }
    load_weights(nn.Sequential(module), path, mapping=mapping)
    assert_close(module(x)[0], second(first(x)), rtol=1e-6, atol=1e-6)


def test_what_keras_lacks_is_refused(tmp_path):
    path = save(tmp_path, build(layers.LSTM(H)))
    module = nn.LSTM(N, H, num_layers=2, bidirectional=True)
    with pytest.raises(FileError, match="`num_layers` must be 1 where it is bidirectional"):
        load_weights(nn.Sequential(module), path)


CONFIGS = [
    (nn.LSTMCell(N, H), "LSTM", {"activation": "relu"}, "activation='tanh', where"),
    (nn.RNNCell(N, H), "SimpleRNN", {"activation": "relu"}, "activation='tanh', where"),
    (nn.GRUCell(N, H), "GRU", {"recurrent_activation": "relu"}, "recurrent_activation='sigmoid'"),
    (nn.LSTM(N, H), "RNN", {"activation": "relu"}, "activation='tanh', where"),
    (nn.LSTM(N, H), "RNN", {"go_backwards": True}, "go_backwards=False, where"),
    (nn.LSTM(N, H), "RNN", {"cell": "MyCell"}, "it is a LSTM, where the source has cell='MyCell'"),
]


@pytest.mark.parametrize(("module", "kind", "options", "words"), CONFIGS)
def test_what_the_modules_do_not_compute(tmp_path, module, kind, options, words):
    config, size = {"units": H, "name": "l", **options}, len(next(module.parameters()))
    if kind == "RNN":
        backwards = config.pop("go_backwards", False)
        name = config.pop("cell", "LSTMCell")
        cell = {"class_name": name, "config": config}
        config = {"name": "l", "cell": cell, "go_backwards": backwards}
    bias = (2, size) if kind == "GRU" else (size,)
    arrays = [array(N, size), array(H, size), array(*bias)]
    names = ("l/c/kernel:0", "l/c/recurrent_kernel:0", "l/c/bias:0")
    path = old_file(
        tmp_path, {"l": dict(zip(names, arrays, strict=True))}, sequential((kind, config))
    )
    with pytest.raises(FileError, match=words):
        load_weights(nn.ModuleDict({"l": module}), path)
