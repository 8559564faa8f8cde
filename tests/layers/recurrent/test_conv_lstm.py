"""ConvLSTM: rows for the tests of every layer, and its arithmetic beside a loop of convolutions."""

from __future__ import annotations

import copy
import pickle
from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from kerastorch.layers import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D

from ..case import cases

REFUSED: list[tuple[str, Any, type[Exception]]] = [
    ("filters", -1, ValueError),
    ("kernel_size", (1, 2, 3, 4), ValueError),
    ("padding", "causal", ValueError),
    ("data_format", "last", ValueError),
    ("activation", "no_such", ValueError),
]

# Keras accepts no filter and fails in the first call.
REFUSED_HERE = [("filters", 0, ValueError)]

# Keras on torch convolves no integers, and its orthogonal initializer makes no half precision.
SHARED: Any = {
    "refused_arguments": REFUSED,
    "refused_here": REFUSED_HERE,
    "integers": "converted",
    "integers_agree": False,
}
UNIFORM = {"recurrent_initializer": "glorot_uniform"}

CASES = [
    *cases(
        ConvLSTM2D,
        {"filters": 3, "kernel_size": (2, 3), **UNIFORM},
        {
            "filters": 2,
            "kernel_size": 3,
            "padding": "same",
            "strides": 2,
            "return_sequences": True,
            **UNIFORM,
        },
        {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "use_bias": False, **UNIFORM},
        shape=(2, 3, 7, 5, 4),
        other=[(3, 3, 7, 5, 4), (2, 3, 6, 8, 4)],
        refused=[(2, 7, 5, 4), (2, 3, 7, 5, 3), (2, 0, 7, 5, 4)],
        **SHARED,
    ),
    *cases(
        ConvLSTM1D,
        {"filters": 3, "kernel_size": 2, "data_format": "channels_first", **UNIFORM},
        shape=(2, 3, 4, 7),
        other=[(3, 3, 4, 7)],
        refused=[(2, 4, 7), (2, 3, 5, 7), (2, 0, 4, 7)],
        **SHARED,
    ),
    *cases(
        ConvLSTM3D,
        {"filters": 2, "kernel_size": (2, 1, 3), "recurrent_activation": "hard_sigmoid", **UNIFORM},
        shape=(2, 2, 5, 3, 4, 1),
        other=[(3, 2, 5, 3, 4, 1)],
        refused=[(2, 5, 3, 4, 1), (2, 2, 5, 3, 4, 2), (2, 0, 5, 3, 4, 1)],
        **SHARED,
    ),
]

LAYERS = {1: ConvLSTM1D, 2: ConvLSTM2D, 3: ConvLSTM3D}
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
B, T, N = 4, 5, 2
SIZES = (5, 4, 3)
MASKS = {
    "right": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    "left": [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]],
    "hole": [[1, 0, 0, 1, 1], [0, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
}


def run(layer, x, mask, states):
    """Return the outputs of channels-first volumes in the order of processing, and the states."""
    convolve, rank = CONVOLUTIONS[layer.rank], layer.rank
    if layer.go_backwards:
        x, mask = x.flip(1), mask.flip(1)
    h, c = states
    previous, outputs = torch.zeros_like(h), []
    sides = [side for k in reversed(layer.kernel_size) for side in ((k - 1) // 2, k // 2)]
    for t in range(T):
        gates = convolve(x[:, t], layer.weight_ih, layer.bias_ih, layer.strides)
        gates = gates + convolve(F.pad(h, sides), layer.weight_hh)
        i, f, g, o = gates.chunk(4, 1)
        new = f.sigmoid() * c + i.sigmoid() * g.tanh()
        valid = mask[:, t].reshape(-1, *(1,) * (rank + 1))
        output = o.sigmoid() * new.tanh()
        zero = torch.zeros_like(h) if layer.zero_output_for_mask else previous
        previous = torch.where(valid, output, zero)
        h, c = torch.where(valid, output, h), torch.where(valid, new, c)
        outputs.append(previous)
    return torch.stack(outputs, 1), [h, c]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pattern", ["none", *MASKS])
def test_the_numbers_are_those_of_a_loop(rank, pattern):
    torch.manual_seed(rank)
    x = torch.randn(B, T, N, *SIZES[:rank], dtype=torch.float64)
    mask = torch.tensor(MASKS.get(pattern, [[1] * T] * B), dtype=torch.bool)
    back = (0, *range(2, rank + 2), 1)
    for sequences, backwards, zero, first, last in product([0, 1], repeat=5):
        layer = LAYERS[rank](
            2,
            (2, 3, 1)[:rank],
            strides=2 if rank == 1 else 1,
            data_format="channels_last" if last else "channels_first",
            return_sequences=bool(sequences),
            go_backwards=bool(backwards),
            zero_output_for_mask=bool(zero),
            return_state=True,
            bias_initializer="uniform",
            dtype="float64",
        )
        order = (0, 1, *range(3, rank + 3), 2)
        given = x.permute(order) if last else x
        layer.build(given.shape)
        shape = layer.compute_output_shape(given.shape)[1]
        state = torch.full(shape, first / 2, dtype=torch.float64)
        valid = None if pattern == "none" else mask
        found = layer(given, [state, state], valid)
        assert [one.shape for one in found] == list(layer.compute_output_shape(given.shape))
        state = state.movedim(-1, 1) if last else state
        outputs, states = run(layer, x, mask, [state, state])
        result = outputs if sequences else outputs[:, -1]
        if last:
            result = result.permute(order if sequences else back)
            states = [one.permute(back) for one in states]
        for a, b in zip(found, [result, *states], strict=True):
            assert_close(a, b, rtol=0, atol=1e-12)


def test_what_is_masked_has_no_influence():
    layer, mask = ConvLSTM1D(2, 2), torch.tensor(MASKS["hole"], dtype=torch.bool)
    x = torch.randn(B, T, 6, N)
    broken = torch.where(mask[..., None, None], x, torch.nan)
    assert_close(layer(broken, mask=mask), layer(x, mask=mask))


@pytest.mark.parametrize("name", ["nb_filter", "time_major", "full"])
def test_old_configs_have_the_hard_sigmoid_of_their_keras(name):
    new = ConvLSTM2D(2, (3, 1), recurrent_activation="hard_sigmoid").get_config()
    full = {key: value for key, value in new.items() if key not in ("seed", "zero_output_for_mask")}
    old = {
        "nb_filter": {"nb_filter": 2, "nb_row": 3, "nb_col": 1, "inner_init": "orthogonal",
                      "forget_bias_init": "one", "dim_ordering": "tf", "border_mode": "valid",
                      "subsample": (1, 1), "consume_less": "cpu", "dropout_W": 0.1},
        "time_major": {"filters": 2, "kernel_size": (3, 1), "time_major": False},
        "full": full,
    }[name]  # fmt: skip
    layer = ConvLSTM2D.from_config(old)
    assert layer.kernel_size == (3, 1) and layer.data_format == "channels_last"
    assert layer.recurrent_activation(torch.tensor(1.0)).item() == pytest.approx(0.7)
    again = ConvLSTM2D.from_config(new)
    assert again.recurrent_activation(torch.tensor(1.0)).item() == pytest.approx(2 / 3)
    newest = ConvLSTM2D.from_config({"filters": 2, "kernel_size": 1})
    assert newest.get_config()["recurrent_activation"] == "sigmoid"


def test_the_weights_are_in_the_group_of_the_cell():
    groups = ConvLSTM2D.weight_groups(ConvLSTM2D(2, 3).get_config())
    assert groups == [("cell", ("kernel", "recurrent_kernel", "bias"))]


def test_states_are_kept_detached_and_reset():
    layer = ConvLSTM1D(2, 2, stateful=True, input_shape=(T, 6, N))
    x = torch.randn(B, T, 6, N)
    first = layer(x)
    assert not any(state.requires_grad for state in layer.states)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    second = layer(x)
    assert_close(copied(x), second)
    assert not torch.allclose(first, second)
    kept = layer.states
    for wrong, rule in ((x[:2], "batch size 4"), (x[:, :, :5], r"kept shape \(4, 5, 2\)")):
        with pytest.raises(ValueError, match=rule):
            layer(wrong)
    assert layer.states is kept
    layer.reset_states(layer.get_initial_state(B))
    assert_close(layer(x), first)
    with pytest.raises(ValueError, match="`states`"):
        layer.reset_states([torch.zeros(B, 2), torch.zeros(B, 2)])


def test_wrong_arguments_are_refused():
    layer, x = ConvLSTM1D(2, 3, input_shape=(T, 6, N)), torch.zeros(B, T, 6, N)
    state = torch.zeros(B, 4, 2)
    assert layer(x, [state, state]).shape == state.shape
    for given, argument in (
        ({"mask": torch.ones(B, T + 1)}, "mask"),
        ({"initial_state": [state]}, "initial_state"),
        ({"initial_state": [state[:, :3]] * 2}, "initial_state"),
    ):
        with pytest.raises(ValueError, match=f"`{argument}`"):
            layer(x, **given)
    for wrong in (x[:, :0], x[:, :, :2], x[..., :1]):
        with pytest.raises(ValueError, match="`sequences`"):
            layer(wrong)
    with pytest.raises(ValueError, match="built for known sizes"):
        ConvLSTM1D(2, 3, input_shape=(T, None, N)).get_initial_state(2)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_dropout_is_the_same_at_all_times(data_format):
    layer = ConvLSTM1D(3, 1, activation=None, recurrent_activation=None, dropout=0.5, seed=3,
                       kernel_initializer="ones", recurrent_initializer="zeros",
                       data_format=data_format, return_sequences=True)  # fmt: skip
    last = data_format == "channels_last"
    x = torch.ones(2, 4, 20, 3) if last else torch.ones(2, 4, 3, 20)
    layer.build(x.shape)
    gates = []
    layer._make_step = lambda like, masks: lambda p, states: (gates.append(p) or p, states)
    layer(x)
    assert len(gates) == 4 and all(torch.equal(gates[0], one) for one in gates)
    many = gates[0].chunk(4, -1 if last else 1)
    assert set(many[0].unique().tolist()) == {0.0, 2.0, 4.0, 6.0}
    assert not torch.equal(many[0], many[2])


def test_recurrent_dropout_acts_at_each_time():
    layer = ConvLSTM1D(1, 1, recurrent_dropout=0.5, return_sequences=True, seed=1)
    x = torch.zeros(1, 3, 50, 1)
    layer.build(x.shape)
    step = layer._as_product(torch.ones(4, 1, 1), layer._sample_masks(x)[1])
    gates = step(torch.zeros(1, 50, 4), torch.ones(1, 50, 1))
    assert set(gates.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(gates[..., 0], gates[..., 1])
    assert_close(layer.eval()(x), layer(x))


def test_a_seed_makes_dropout_reproducible():
    x = torch.ones(2, 3, 6, 2)
    first, second = (ConvLSTM1D(3, 2, dropout=0.5, recurrent_dropout=0.5, seed=1,
                                kernel_initializer="ones", recurrent_initializer="ones")
                     for _ in range(2))  # fmt: skip
    y = first(x)
    assert_close(y, second(x))
    assert not torch.equal(first(x), y)


def test_compiled_training_has_the_same_gradients():
    layer, x = ConvLSTM1D(2, 2, input_shape=(3, 5, N)), torch.randn(B, 3, 5, N)
    layer(x).sum().backward()
    expected = layer.weight_ih.grad.clone()
    layer.zero_grad()
    torch.compile(layer, backend="aot_eager")(x).sum().backward()
    assert_close(layer.weight_ih.grad, expected)


def test_vmap_and_autocast():
    layer, x = ConvLSTM2D(2, 2, input_shape=(3, 5, 4, N)), torch.randn(3, B, 3, 5, 4, N)
    assert_close(torch.vmap(layer)(x), torch.stack([layer(one) for one in x]))
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(layer(x[0]).float(), layer.float()(x[0]).float(), rtol=0.05, atol=0.05)
