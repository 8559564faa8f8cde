"""Recurrent layers by a loop in double precision, written from Keras's rules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kerastorch.layers import LSTM, LSTMCell, SimpleRNN, SimpleRNNCell

ACTIVATIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "linear": lambda x: x,
    "hard_sigmoid": lambda x: (x / 6 + 0.5).clamp(0, 1),
}


def list_units(layer: Any) -> list[Any]:
    """Return the units that a layer consists of: its cells, or itself."""
    cell = getattr(layer, "cell", None)
    return list(getattr(cell, "cells", [layer if cell is None else cell]))


def step(unit: Any, weights: list[Tensor], x: Tensor, states: list[Tensor]) -> list[Tensor]:
    """Return the next states of a unit, of which the first is the output."""
    kernel, recurrent, *rest = weights
    n, h = unit.units, states[0]
    activation = ACTIVATIONS[unit.activation.__name__]
    bias = rest[0] if rest else torch.zeros(kernel.shape[1], dtype=kernel.dtype)
    if isinstance(unit, (SimpleRNN, SimpleRNNCell)):
        return [activation(x @ kernel + bias + h @ recurrent)]
    gate = ACTIVATIONS[unit.recurrent_activation.__name__]
    if isinstance(unit, (LSTM, LSTMCell)):
        i, f, g, o = (x @ kernel + h @ recurrent + bias).split(n, -1)
        c = gate(f) * states[1] + gate(i) * activation(g)
        return [gate(o) * activation(c), c]
    first, second = bias if bias.ndim == 2 else (bias, torch.zeros_like(bias))
    xz, xr, xh = (x @ kernel + first).split(n, -1)
    kz, kr, kh = recurrent.split(n, -1)
    bz, br, bh = second.split(n, -1)
    z, r = gate(xz + h @ kz + bz), gate(xr + h @ kr + br)
    inner = r * (h @ kh + bh) if unit.reset_after else (r * h) @ kh
    return [z * h + (1 - z) * activation(xh + inner)]


def run(
    layer: Any, weights: list[list[Tensor]], x: Tensor, mask: Tensor, states: list[list[Tensor]]
) -> tuple[Tensor, list[list[Tensor]]]:
    """Return the output of a layer and the last states of each unit, in double precision."""
    units = list_units(layer)
    order = range(x.shape[1])
    previous = x.new_zeros(x.shape[0], units[-1].units)
    outputs = []
    for time in reversed(order) if layer.go_backwards else order:
        valid, y, new = mask[:, time, None], x[:, time], []
        for unit, own, state in zip(units, weights, states, strict=True):
            new.append(step(unit, own, y, state))
            y = new[-1][0]
        kept = torch.zeros_like(previous) if layer.zero_output_for_mask else previous
        previous = torch.where(valid, y, kept)
        states = [
            [torch.where(valid, a, b) for a, b in zip(*pair, strict=True)]
            for pair in zip(new, states, strict=True)
        ]
        outputs.append(previous)
    return torch.stack(outputs, 1) if layer.return_sequences else outputs[-1], states
