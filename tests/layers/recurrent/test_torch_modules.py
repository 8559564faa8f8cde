"""Recurrent layers and cells from and to the modules of torch.nn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import layers

N, H = 4, 3
SEQUENCES = [
    ("LSTM", nn.LSTM, {}),
    ("GRU", nn.GRU, {}),
    ("SimpleRNN", nn.RNN, {}),
    ("SimpleRNN", nn.RNN, {"nonlinearity": "relu"}),
]
CELLS = [
    ("LSTMCell", nn.LSTMCell, {}),
    ("GRUCell", nn.GRUCell, {}),
    ("SimpleRNNCell", nn.RNNCell, {"nonlinearity": "relu"}),
]


def flatten(found):
    """Return the tensors of a module's output and states, without the axis of torch's layers."""
    output, states = found
    states = states if isinstance(states, (tuple, list)) else [states]
    return [output, *(state.reshape(-1, H) for state in states)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "kind", "options"), SEQUENCES)
def test_layers_there_and_back(name, kind, options, bias):
    module = kind(N, H, bias=bias, batch_first=True, **options)  # with two biases that are not 0
    layer = getattr(layers, name).from_torch(module, return_sequences=True, return_state=True)
    x = torch.randn(2, 5, N)
    expected = flatten(module(x))
    for found, wanted in zip(layer(x), expected, strict=True):
        assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    again = layer.to_torch()
    assert type(again) is kind and again.batch_first
    for found, wanted in zip(flatten(again(x)), expected, strict=True):
        assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "kind", "options"), CELLS)
def test_cells_there_and_back(name, kind, options, bias):
    module = kind(N, H, bias=bias, **options)
    cell = getattr(layers, name).from_torch(module)
    x, states = torch.randn(2, N), [torch.randn(2, H) for _ in range(cell.output_count - 1)]
    given = tuple(states) if len(states) > 1 else states[0]
    for one in (module, cell.to_torch()):
        found = one(x, given)
        new = list(found) if isinstance(found, tuple) else [found]
        for left, right in zip(cell(x, states)[1], new, strict=True):
            assert_close(left, right, rtol=1e-6, atol=1e-6)


def test_parameters_are_shared_where_torch_has_the_same():
    module = nn.LSTM(N, H, batch_first=True)
    nn.init.zeros_(module.bias_hh_l0)
    layer = layers.LSTM.from_torch(module, return_sequences=True)
    assert layer.weight_ih_l0 is module.weight_ih_l0 and layer.bias_ih_l0 is module.bias_ih_l0
    copied = layers.LSTM.from_torch(module, copy=True)
    assert copied.weight_hh_l0 is not module.weight_hh_l0
    assert not layers.LSTM.from_torch(module, trainable=False).weight_ih_l0.requires_grad


def test_the_module_is_trained_as_the_layer_is():
    for kind in (layers.LSTM, layers.GRU, layers.SimpleRNN):
        layer = kind(H, return_sequences=True, bias_initializer="uniform", input_shape=(5, N))
        x, plain = torch.randn(2, 5, N), layer.to_torch(copy=True)
        for one in (layer, plain):
            step = torch.optim.SGD([p for p in one.parameters() if p.requires_grad], lr=0.5)
            outputs = one(x)
            (outputs[0] if isinstance(outputs, tuple) else outputs).square().sum().backward()
            step.step()
        assert_close(plain(x)[0], layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("options", "argument"), [
    ({"num_layers": 2}, "num_layers"),
    ({"bidirectional": True}, "bidirectional"),
    ({"batch_first": False}, "batch_first"),
    ({"proj_size": 2}, "proj_size"),
])  # fmt: skip
def test_what_keras_lacks_is_refused(options, argument):
    module = nn.LSTM(N, H, **{"batch_first": True, **options})
    with pytest.raises(ValueError, match=f"LSTM.from_torch: `module.{argument}` must be"):
        layers.LSTM.from_torch(module)
    with pytest.raises(ValueError, match=r"GRU.from_torch: `module` must be an initialized nn.GRU"):
        layers.GRU.from_torch(module)


@pytest.mark.parametrize(("name", "argument", "value"), [
    ("LSTM", "go_backwards", True),
    ("LSTM", "stateful", True),
    ("LSTM", "dropout", 0.5),
    ("LSTM", "activation", "relu"),
    ("GRU", "recurrent_activation", "hard_sigmoid"),
    ("GRU", "recurrent_dropout", 0.5),
    ("GRU", "reset_after", False),
    ("SimpleRNN", "activation", "gelu"),
])  # fmt: skip
def test_what_torch_lacks_is_refused(name, argument, value):
    layer = getattr(layers, name)(H, **{argument: value}, input_shape=(5, N))
    with pytest.raises(ValueError, match=f"{name}.to_torch: `{argument}` must be"):
        layer.to_torch()


def test_what_the_module_decides_is_no_argument():
    for argument in ("units", "activation"):
        with pytest.raises(ValueError, match=f"`{argument}` must be left to the module"):
            layers.LSTM.from_torch(nn.LSTM(N, H, batch_first=True), **{argument: "relu"})
