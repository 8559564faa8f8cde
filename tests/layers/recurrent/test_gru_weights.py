"""A GRU's weights: torch's parameters, of which Keras's have other gates first, and two rows."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import kerastorch
from kerastorch.layers import GRU, RNN, Bidirectional, GRUCell
from kerastorch.layers.recurrent import gru as gru_module

B, T, N, H = 2, 5, 4, 3
PAIRS = [(GRU, nn.GRU, {"batch_first": True}), (GRUCell, nn.GRUCell, {})]


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def make(kind=GRU, **arguments):
    shape = (N,) if kind is GRUCell else (T, N)
    return kind(H, bias_initializer="uniform", input_shape=shape, **arguments)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "torch_kind", "options"), PAIRS)
def test_a_state_dict_is_that_of_torch(kind, torch_kind, options, dtype, bias):
    module = torch_kind(N, H, bias=bias, dtype=dtype, **options)
    shape = (N,) if kind is GRUCell else (T, N)
    for built in ({"input_shape": shape}, {}):
        layer = kind(H, use_bias=bias, dtype=str(dtype)[6:], **built)
        layer.load_state_dict(module.state_dict())
        assert [*layer.state_dict()] == [*module.state_dict()]
        other = torch_kind(N, H, bias=bias, dtype=dtype, **options)
        other.load_state_dict(layer.state_dict())
        x, state = torch.randn(B, *shape, dtype=dtype), torch.randn(B, H, dtype=dtype)
        found = layer(x, [state])
        for one in (module, other):
            if kind is GRUCell:
                assert_close(found[0], one(x, state))
            else:
                assert torch.equal(found, one(x, state[None])[0][:, -1])


def test_parameters_are_shared_with_a_module_of_torch():
    module = nn.GRU(N, H, batch_first=True)
    layer = GRU.from_torch(module)
    for one in (layer, layer.to_torch()):
        assert all(own is getattr(module, name) for name, own in one.named_parameters())
    for one in (GRU.from_torch(module, copy=True), layer.to_torch(copy=True)):
        named = [*one.named_parameters()]
        assert len(named) == 4 and not any(own is getattr(module, n) for n, own in named)
        assert all(torch.equal(own, getattr(module, name)) for name, own in named)


def test_torch_kernel_takes_the_parameters_themselves(monkeypatch):
    given, run = [], gru_module.run_gru
    monkeypatch.setattr(gru_module, "run_gru", lambda *args: (given.extend(args[2]), run(*args))[1])
    layer = make()
    layer(torch.randn(B, T, N))
    assert len(given) == 4
    assert all(one is own for one, own in zip(given, layer.parameters(), strict=True))


def test_weights_in_keras_order():
    z, r, h = (draw(N, H) + 10 * gate for gate in range(3))
    recurrent, bias = draw(H, 3 * H), draw(2, 3 * H)
    layer = make()
    layer.set_weights([np.concatenate([z, r, h], 1), recurrent, bias])
    assert_close(layer.weight_ih_l0.detach().numpy(), np.concatenate([r, z, h], 1).T)
    for row, own in zip(bias, (layer.bias_ih_l0, layer.bias_hh_l0), strict=True):
        gates = row.reshape(3, H)[[1, 0, 2]]
        assert_close(own.detach().numpy(), gates.reshape(-1))
    found = layer.get_weights()
    assert_close(found[0], np.concatenate([z, r, h], 1))
    assert_close(found[1:], [recurrent, bias])
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_close(one.get_weights(), found)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match="`weights` must be a list of arrays"):
        layer.set_weights([found[0] + 1, found[1], found[2].reshape(-1)])
    assert_close(layer.state_dict(), before)
    assert layer.count_params() == sum(array.size for array in found)
    assert len(layer.trainable_weights) == 4


@pytest.mark.parametrize("reset_after", [True, False])
def test_initializers_fill_keras_weights(reset_after):
    def count(shape, dtype=None):
        return torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape)

    names = ("kernel", "recurrent", "bias")
    given = {f"{name}_initializer": count for name in names}
    layer = GRU(H, reset_after=reset_after, input_shape=(T, N), **given)
    for _ in range(2):
        found = layer.get_weights()
        assert found[2].shape == ((2, 3 * H) if reset_after else (3 * H,))
        for array in found:
            assert_close(array.ravel(), np.arange(array.size, dtype="float32"))
        layer.set_weights([0 * array for array in found])
        layer.reset_parameters()


@pytest.mark.parametrize("regularizer", [
    "l1", "l2", kerastorch.regularizers.L1L2(0.1, 0.2), lambda w: (w[..., 0] ** 4).sum()
])  # fmt: skip
def test_regularizers_read_keras_weights(regularizer):
    names = ("kernel", "recurrent", "bias")
    layer = make(**{f"{name}_regularizer": regularizer for name in names})
    rule = kerastorch.regularizers.get(regularizer)
    weights = [torch.tensor(array, requires_grad=True) for array in layer.get_weights()]
    expected = sum(rule(weight) for weight in weights)
    assert_close(sum(layer.losses), expected)
    loss = kerastorch.regularization_loss(layer)
    assert_close(loss, expected)
    loss.backward(), expected.backward()
    for variable, weight in zip(layer.variables, weights, strict=True):
        gradients = [parameter.grad for parameter in variable.parameters]
        gradients = [torch.zeros(3 * H) if g is None else g for g in gradients]
        assert_close(variable.view(*gradients), weight.grad)


@pytest.mark.parametrize("make_layer", [
    GRU, GRUCell, lambda *a, **k: Bidirectional(GRU(*a, **k)), lambda *a, **k: RNN(GRUCell(*a, **k))
])  # fmt: skip
def test_constraints_write_keras_weights(make_layer):
    rules = {
        "kernel_constraint": kerastorch.constraints.UnitNorm(axis=0),
        "recurrent_constraint": kerastorch.constraints.MaxNorm(0.5, axis=1),
        "bias_constraint": lambda w: w.flip(-1),
    }
    layer = make_layer(H, bias_initializer="uniform", **rules)
    layer.build((B, N) if isinstance(layer, GRUCell) else (B, T, N))
    before = layer.get_weights()
    kerastorch.apply_constraints(layer)
    for n, found in enumerate(layer.get_weights()):
        rule = [*rules.values()][n % 3]
        assert_close(found, rule(torch.tensor(before[n])).numpy())


def test_constraints_after_a_step():
    layer = make(bias_constraint=lambda w: w * 0 + 7)
    optimizer = torch.optim.SGD([layer.bias_hh_l0], lr=0.1)  # a part of the weight only
    kerastorch.attach_constraints(optimizer, layer)
    layer(torch.randn(B, T, N)).sum().backward()
    optimizer.step()
    assert (layer.get_weights()[2] == 7).all()
    layer.register_parameter("bias_hh_l0", None)
    layer.bias_hh_l0 = nn.Parameter(torch.zeros(3 * H))
    torch.nn.utils.parametrizations.weight_norm(layer, "bias_hh_l0")
    with pytest.raises(ValueError, match="`bias` must be a parameter of its own"):
        layer.set_weights(layer.get_weights())


def test_one_bias_without_a_reset_after_the_product():
    layer = make(reset_after=False)
    assert [*layer.state_dict()] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"]
    with pytest.raises(RuntimeError, match="bias_hh_l0"):
        layer.load_state_dict(nn.GRU(N, H).state_dict())
