"""Recurrent layers with masks and states, and their gradients, beside Keras on torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch import layers

keras = pytest.importorskip("keras")

B, T, N, H = 4, 6, 3, 2
LENGTHS = {"right": [6, 3, 1, 0], "left": [-6, -3, -1, 0]}
KINDS = [
    ("LSTM", {}),
    ("LSTM", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("SimpleRNN", {}),
]


def make_mask(pattern):
    if pattern == "none":
        return None
    steps = np.arange(T)
    if pattern == "hole":
        return np.stack([steps % n != 0 for n in (2, 3, 4, 5)])
    return np.stack([steps < n if n >= 0 else steps >= T + n for n in LENGTHS[pattern]])


def differentiate(layer, x, mask, states, weights):
    """Return outputs and states, and the gradients of the input, the states and the weights."""
    x = torch.tensor(x, requires_grad=True)
    states = [torch.tensor(state, requires_grad=True) for state in states]
    given = {} if mask is None else {"mask": torch.tensor(mask)}
    found = list(layer(x, initial_state=states, **given))
    cotangents = [torch.linspace(-1, 2, one.numel()).reshape(one.shape) for one in found]
    total = sum((one * other).sum() for one, other in zip(found, cotangents, strict=True))
    leaves = [x, *states, *weights(layer)]
    return [*found, *torch.autograd.grad(total, leaves)]


def list_values(layer):
    return [weight.value for weight in layer.weights]


def in_keras_order(layer, gradients):
    rest = iter(gradients)
    return [
        variable.view(*(next(rest) for _ in variable.parameters)) for variable in layer.variables
    ]


@pytest.mark.parametrize("pattern", ["none", "right", "left", "hole"])
@pytest.mark.parametrize(("name", "arguments"), KINDS)
def test_outputs_states_and_gradients(name, arguments, pattern):
    generator = np.random.default_rng(0)
    for sequences, backwards, zero in itertools.product([False, True], repeat=3):
        given = {
            "return_sequences": sequences,
            "go_backwards": backwards,
            "return_state": True,
            "zero_output_for_mask": zero,
            **arguments,
        }
        ours, theirs = getattr(layers, name)(H, **given), getattr(keras.layers, name)(H, **given)
        theirs.build((B, T, N))
        ours.build((B, T, N))
        values = [generator.normal(size=w.shape).astype("float32") for w in theirs.weights]
        ours.set_weights(values)
        theirs.set_weights(values)
        x = generator.normal(size=(B, T, N)).astype("float32")
        states = [generator.normal(size=(B, H)).astype("float32")] * (ours.output_count - 1)
        mask = make_mask(pattern)
        found = differentiate(ours, x, mask, states, lambda layer: layer.weights)
        expected = differentiate(
            theirs, x, mask, states, lambda one: [w.value for w in one.weights]
        )
        count = len(ours.weights)
        found[-count:] = in_keras_order(ours, found[-count:])
        assert_close(found, expected, rtol=1e-5, atol=1e-5)
