"""Random recurrent layers, with masks and states, beside a loop in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kerastorch import layers
from kerastorch._ops.recurrent.loop import flatten_states

from .oracle import list_units, run

BLOCK, TOLERANCE = 100, {"float64": 1e-12, "float32": 1e-5}
SWITCHES = ("return_sequences", "go_backwards", "zero_output_for_mask", "unroll")


def pick(random, *values):
    return values[random.integers(len(values))]


def draw_unit(random, name, **given):
    """Return a layer or a cell of a class with other random arguments."""
    given["units"] = int(random.integers(1, 6))
    given["activation"] = pick(random, "tanh", "tanh", "tanh", "relu", "linear", "sigmoid")
    if not name.startswith("Simple"):
        # In double precision torch's derivative of hard_sigmoid is one of single precision.
        other = "hard_sigmoid" if given["dtype"] == "float32" else "linear"
        given["recurrent_activation"] = pick(random, "sigmoid", "sigmoid", other)
    if name.startswith("GRU"):
        given["reset_after"] = pick(random, True, True, False)
    given |= {"use_bias": pick(random, True, True, False), "bias_initializer": "uniform"}
    return getattr(layers, name)(**given)


def draw_layer(random, dtype):
    given = {name: bool(random.integers(2)) for name in SWITCHES}
    given |= {"return_state": True, "dtype": dtype}
    kind = pick(random, "LSTM", "LSTM", "GRU", "GRU", "SimpleRNN", "RNN", "stack")
    if kind not in ("RNN", "stack"):
        return draw_unit(random, kind, **given)
    names = ("LSTMCell", "GRUCell", "SimpleRNNCell")
    count = int(random.integers(1, 4)) if kind == "stack" else 1
    cells = [draw_unit(random, pick(random, *names), dtype=dtype) for _ in range(count)]
    return layers.RNN(cells if kind == "stack" else cells[0], **given)


def draw_mask(random, shape):
    """Return a mask: of everything, with holes, or of lengths from either side, which may be 0."""
    kind = random.integers(4)
    if kind == 0:
        return np.ones(shape, bool)
    if kind == 1:
        return random.random(shape) < random.random()
    lengths, steps = random.integers(0, shape[1] + 1, shape[0])[:, None], np.arange(shape[1])
    return steps < lengths if kind == 2 else steps >= shape[1] - lengths


def check(random, dtype):
    layer, shape = draw_layer(random, dtype), tuple(random.integers(1, 7, 3).tolist())
    layer.build(shape)
    units, mask = list_units(layer), torch.tensor(draw_mask(random, shape[:2]))
    x, start = torch.tensor(random.normal(size=shape)).requires_grad_(), random.integers(2)
    sizes = [[unit.units] * unit._state_count for unit in units]
    states = [[torch.tensor(random.normal(size=(shape[0], size)) * start) for size in own]
              for own in sizes]  # fmt: skip
    weights = [[v.value.detach().double().requires_grad_() for v in u.variables] for u in units]
    output, last = run(layer, weights, x, mask, states)

    mine = x.detach().to(getattr(torch, dtype)).requires_grad_()
    is_stack = isinstance(getattr(layer, "cell", None), layers.StackedRNNCells)
    given = states if is_stack else states[0]
    masked = not mask.all() or random.integers(2)
    found = flatten_states(layer(mine, given if start else None, mask if masked else None))

    expected = [output, *flatten_states(last)]
    cotangents = [torch.tensor(random.normal(size=one.shape)) for one in expected]
    for results in (found, expected):
        sum((a * b.to(a)).sum() for a, b in zip(results, cotangents, strict=True)).backward()
    found.append(mine.grad), expected.append(x.grad)
    for unit, leaves in zip(units, weights, strict=True):
        found += [v.view(*(parameter.grad for parameter in v.parameters)) for v in unit.variables]
        expected += [leaf.grad for leaf in leaves]
    for left, right in zip(found, expected, strict=True):
        assert left.shape == right.shape
        most = TOLERANCE[dtype] * max(1.0, right.detach().abs().max().item())
        assert (left - right).detach().abs().max().item() <= most, (
            layer,
            layer.get_config(),
            shape,
        )


BLOCKS = [0, *(pytest.param(number, marks=pytest.mark.sweep) for number in range(1, 20))]


@pytest.mark.parametrize("block", BLOCKS)
def test_outputs_states_and_gradients(block):
    random = np.random.default_rng(block)
    for number in range(BLOCK):
        torch.manual_seed(number)
        check(random, "float64" if number % 2 else "float32")


def test_the_comparison_can_fail(monkeypatch):
    right = run
    monkeypatch.setitem(globals(), "run", lambda *given: right(*given[:3], ~given[3], given[4]))
    with pytest.raises(AssertionError):
        check(np.random.default_rng(0), "float64")
