"""The arithmetic, the masks and the states of recurrent layers, beside a loop in NumPy."""

from __future__ import annotations

import copy
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch._ops.recurrent import valid_steps
from kerastorch.layers import GRU, LSTM, RNN, GRUCell, LSTMCell, SimpleRNN
from kerastorch.layers.recurrent import run as module

B, T, N, H = 4, 6, 3, 2
MASKS = {
    "right": [6, 3, 1, 0], "left": [-6, -3, -1, 0], "all": [6] * 4, "nothing": [0] * 4,
    "even": [4] * 4, "right, none empty": [5, 3, 1, 5],
}  # fmt: skip
PATTERNS = ["none", *MASKS, "hole", "even holes"]


def make_mask(pattern):
    mask = np.ones((B, T), bool)
    for row, count in enumerate(MASKS.get(pattern, [])):
        mask[row] = np.arange(T) < count if count >= 0 else np.arange(T) >= T + count
    if pattern == "left":
        mask[3] = False
    if pattern == "hole":
        mask[0, 2:4] = mask[1, ::2] = mask[2, 0] = False
    if pattern == "even holes":
        mask[0, 2:4] = mask[1, :2] = mask[2, 3:5] = mask[3, 4:] = False
    return mask


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(layer, weights, x, states):
    kernel, recurrent, bias = weights
    h = states[0]
    if isinstance(layer, LSTM):
        i, f, c, o = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
        c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(c)
        return [sigmoid(o) * np.tanh(c), c]
    if isinstance(layer, SimpleRNN):
        return [np.tanh(x @ kernel + h @ recurrent + bias)]
    kz, kr, kh = np.split(kernel, 3, -1)
    rz, rr, rh = np.split(recurrent, 3, -1)
    first, second = bias if layer.reset_after else (bias, np.zeros_like(bias))
    (bz, br, bh), (cz, cr, ch) = np.split(first, 3), np.split(second, 3)
    z = sigmoid(x @ kz + bz + h @ rz + cz)
    r = sigmoid(x @ kr + br + h @ rr + cr)
    inner = r * (h @ rh + ch) if layer.reset_after else (r * h) @ rh
    return [z * h + (1 - z) * np.tanh(x @ kh + bh + inner)]


def run(layer, x, mask, states):
    """Return the outputs in the order of processing and the last states, in float64."""
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    if layer.go_backwards:
        x, mask = x[:, ::-1], mask[:, ::-1]
    previous, outputs = np.zeros((B, H)), []
    for t in range(T):
        valid = mask[:, t, None]
        new = step(layer, weights, x[:, t], states)
        previous = np.where(valid, new[0], 0 if layer.zero_output_for_mask else previous)
        states = [np.where(valid, a, b) for a, b in zip(new, states, strict=True)]
        outputs.append(previous)
    return np.stack(outputs, 1), states


KINDS = [(LSTM, {}), (GRU, {}), (GRU, {"reset_after": False}), (SimpleRNN, {})]


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("fused", [True, False])
def test_the_numbers_are_those_of_a_loop(kind, arguments, pattern, fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(kind, "_can_fuse", lambda self, x: False)
    elif arguments or kind is SimpleRNN:
        pytest.skip("torch has no such kernel, or none that is faster")
    else:
        monkeypatch.setattr(module, "scan", None)
    generator = np.random.default_rng(0)
    x, mask = generator.normal(size=(B, T, N)), make_mask(pattern)
    for sequences, backwards, zero, first in product([0, 1], [0, 1], [0, 1], [0.0, 0.5]):
        layer = kind(
            H,
            return_sequences=bool(sequences),
            go_backwards=bool(backwards),
            zero_output_for_mask=bool(zero),
            return_state=True,
            bias_initializer="uniform",
            dtype="float64",
            **arguments,
        )
        layer.build((B, T, N))
        states = [np.full((B, H), first)] * (2 if kind is LSTM else 1)
        given = torch.tensor(mask) if pattern != "none" else None
        found = layer(torch.tensor(x), [torch.tensor(s) for s in states], given)
        outputs, last = run(layer, x, mask, states)
        expected = [outputs if sequences else outputs[:, -1], *last]
        for a, b in zip(found, expected, strict=True):
            assert_close(a.detach().numpy(), b, rtol=0, atol=1e-12)
        layer.return_state = False
        alone = layer(torch.tensor(x), [torch.tensor(s) for s in states], given)
        assert_close(alone.detach().numpy(), expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("pattern", PATTERNS[1:])
@pytest.mark.parametrize("read", [True, False])
def test_the_gradients_are_those_of_a_loop(kind, pattern, read, monkeypatch):
    """They are, whether the values of the mask are known or, as on a GPU, not."""
    if not read:
        monkeypatch.setattr(valid_steps, "_can_read", lambda mask: False)
    mask, torch_mask = make_mask(pattern), torch.tensor(make_mask(pattern))
    x = torch.randn(B, T, N, dtype=torch.float64)
    x[~torch_mask] = torch.nan
    for sequences, states in product([False, True], [False, True]):
        layer = kind(H, return_sequences=sequences, return_state=states, dtype="float64")
        layer.build((B, T, N))
        found = differentiate(layer, x, torch_mask)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "_can_fuse", lambda self, x: False)
            expected = differentiate(layer, x.nan_to_num(), torch_mask)
        for a, b in zip(found, expected, strict=True):
            assert_close(a, b, rtol=0, atol=1e-12)
        assert not found[-1][~mask].any()


def differentiate(layer, x, mask):
    """Return the outputs and the gradients of the weights and of the input."""
    leaves = [*layer.parameters(), x.clone().requires_grad_()]
    found = layer(leaves[-1], mask=mask)
    outputs = list(found) if isinstance(found, tuple) else [found]
    total = sum((one * torch.arange(1.0, one.numel() + 1).view(one.shape)).sum() for one in outputs)
    return [*outputs, *torch.autograd.grad(total, leaves)]


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_what_is_masked_has_no_influence(kind, arguments):
    layer, mask = kind(H, **arguments), torch.tensor(make_mask("hole"))
    x = torch.randn(B, T, N)
    broken = torch.where(mask[..., None], x, torch.nan).requires_grad_()
    expected = layer(x, mask=mask)
    assert_close(layer(broken, mask=mask), expected)


def test_the_mask_of_a_reversed_output_is_not_reversed():
    mask = torch.tensor(make_mask("right"))
    layer = GRU(H, return_sequences=True, go_backwards=True)
    assert layer.compute_mask(None, mask) is mask
    assert GRU(H).compute_mask(None, mask) is None
    assert GRU(H, return_sequences=True, return_state=True).compute_mask(None, mask) == [mask, None]


def test_old_configs_have_the_defaults_of_their_keras():
    old = {"units": 2, "implementation": 1, "recurrent_activation": "hard_sigmoid"}
    layer = GRU.from_config(old)
    assert not layer.reset_after
    assert layer.recurrent_activation(torch.tensor(1.0)).item() == pytest.approx(0.7)
    layer.build((None, None, 3))
    assert layer.get_weights()[2].shape == (6,)
    assert GRU.from_config({"units": 2}).reset_after
    oldest = LSTM.from_config({"output_dim": 2, "inner_init": "zeros", "forget_bias_init": "one"})
    assert oldest.recurrent_activation(torch.tensor(1.0)).item() == pytest.approx(0.7)


def test_a_stack_is_one_layer_after_the_other():
    cells = [LSTMCell(3), GRUCell(H)]
    layer = RNN(cells, return_state=True, input_shape=(T, N))
    first, second = LSTM(3, return_sequences=True), GRU(H)
    x = torch.randn(B, T, N)
    for one, cell in ((first, cells[0]), (second, cells[1])):
        one.build((B, T, N if one is first else 3))
        one.set_weights(cell.get_weights())
    y, states, (last,) = layer(x)
    assert_close(y, second(first(x)))
    assert_close(last, y)
    assert [tuple(s.shape) for s in states] == [(B, 3), (B, 3)]
    again = RNN.from_config(layer.get_config())
    again.build((None, T, N))
    again.set_weights(layer.get_weights())
    assert_close(again(x)[0], y)


def test_a_state_dict_fits_the_module_of_torch_and_back():
    layer = LSTM(H, return_sequences=True, bias_initializer="uniform", input_shape=(T, N))
    module, x = nn.LSTM(N, H, batch_first=True), torch.randn(B, T, N)
    other = copy.deepcopy(layer)
    other.load_state_dict(module.state_dict())
    assert_close(other(x), module(x)[0])
    assert not other.bias_hh_l0.any()
    module.load_state_dict(layer.state_dict())
    assert_close(layer(x), module(x)[0])


def test_states_are_kept_detached_and_reset():
    layer = LSTM(H, stateful=True, input_shape=(T, N))
    x = torch.randn(B, T, N)
    first = layer(x)
    assert not any(state.requires_grad for state in layer.states)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    second = layer(x)
    assert_close(copied(x), second)
    assert not torch.allclose(first, second)
    kept = layer.states
    with pytest.raises(ValueError, match="batch size 4"):
        layer(x[:2])
    assert layer.states is kept
    assert "states" not in layer.state_dict()
    layer.reset_states()
    assert_close(layer(x), first)


@pytest.mark.parametrize("shape", [(1, 1, 1), (0, 3, 2)])
def test_small_sizes(shape):
    for kind, arguments in KINDS:
        mask = torch.ones(shape[:2])
        assert kind(1, **arguments)(torch.zeros(shape), mask=mask).shape == (shape[0], 1)


def test_wrong_arguments_are_refused():
    layer, x = LSTM(H, input_shape=(T, N)), torch.zeros(B, T, N)
    for given, argument in (
        ({"mask": torch.ones(B, T + 1)}, "mask"),
        ({"initial_state": [torch.zeros(B, H)]}, "initial_state"),
        ({"initial_state": [torch.zeros(B + 1, H)] * 2}, "initial_state"),
    ):
        with pytest.raises(ValueError, match=f"`{argument}`"):
            layer(x, **given)
    with pytest.raises(ValueError, match="`sequences`"):
        layer(x[:, :0])
    for cell in (LSTMCell(H), [LSTMCell(H), GRUCell(3)]):
        with pytest.raises(ValueError, match=f"RNN: `sequences` must be of the size {N}"):
            RNN(cell, input_shape=(T, N))(x[..., :2])


def test_dropout_is_the_same_at_all_times():
    layer = SimpleRNN(50, activation=None, recurrent_initializer="zeros", dropout=0.5,
                      kernel_initializer="identity", return_sequences=True)  # fmt: skip
    y = layer(torch.ones(2, 5, 50))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert (y == y[:, :1]).all()
    assert (layer.eval()(torch.ones(2, 5, 50)) == 1).all()


def test_recurrent_dropout_acts_at_each_time():
    layer = SimpleRNN(50, activation=None, recurrent_initializer="identity", recurrent_dropout=0.5,
                      kernel_initializer="zeros", return_sequences=True)  # fmt: skip
    y = layer(torch.ones(1, 4, 50), torch.ones(1, 50))
    assert {tuple(row) for row in y[0].T.tolist()} == {(2.0, 4.0, 8.0, 16.0), (0.0,) * 4}


def test_a_seed_makes_dropout_reproducible():
    x = torch.ones(2, 3, 4)
    arguments = {"dropout": 0.5, "recurrent_dropout": 0.5, "kernel_initializer": "ones", "seed": 1}
    first, second = (LSTM(3, recurrent_initializer="ones", **arguments) for _ in range(2))
    assert_close(first(x), second(x))
    cell = LSTMCell(3, dropout=0.5)
    states = cell.get_initial_state(2)
    assert_close(cell(x[:, 0], states)[0], cell(x[:, 0], states)[0])


def test_compiled_training_has_the_same_gradients():
    layer, x = LSTM(H, input_shape=(3, N)), torch.randn(B, 3, N)
    layer(x).sum().backward()
    expected = layer.weight_ih_l0.grad.clone()
    layer.zero_grad()
    torch.compile(layer, backend="aot_eager")(x).sum().backward()
    assert_close(layer.weight_ih_l0.grad, expected)
