"""Convert arrays of the recurrent layers of Keras 1, and of Keras 2's for cuDNN, to Keras 3's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..._core.layout import permute_axes
from ..formats.weight_file import Weight

Converted = tuple[int, list[Weight]]  # how many weights of a file, and those of Keras 3
_NAMES = ("kernel", "recurrent_kernel", "bias")
_GATES = {3: "zrh", 4: "ifco"}  # of a GRU and of an LSTM, in the order in one array


def convert_recurrent_weights(weights: Sequence[Weight]) -> tuple[Weight, ...]:
    """Return a layer's weights, with those of each recurrent layer in it in Keras 3's form.

    Raises:
        ValueError: The gates of a layer of Keras 1 have different shapes.
    """
    rest, converted = list(weights), list[Weight]()
    while rest:
        taken, found = _join_gates(rest) or _convert_cudnn(rest) or (1, rest[:1])
        converted += found
        rest = rest[taken:]
    return tuple(converted)


def _join_gates(weights: Sequence[Weight]) -> Converted | None:
    """Join the first arrays if each is that of one gate: W_i, U_i, b_i, W_c and so on."""
    for count, gates in _GATES.items():
        named = {weight.name: weight for weight in weights[: 3 * count]}
        parts = [[f"{letter}_{gate}" for gate in gates] for letter in "WUb"]
        if named.keys() == {name for names in parts for name in names}:
            pairs = zip(_NAMES, parts, strict=True)
            joined = [_join(name, [named[one] for one in names]) for name, names in pairs]
            return 3 * count, joined
    return None


def _join(name: str, parts: Sequence[Weight]) -> Weight:
    """Join arrays along the last axis."""
    shapes = [part.shape for part in parts]
    if len(set(shapes)) > 1:
        raise ValueError(f"gates of the shapes {shapes}")
    *before, size = shapes[0]
    shape = (*before, size * len(parts))
    read = [part.read for part in parts]
    return replace(
        parts[0], name=name, shape=shape, read=lambda: torch.cat([r() for r in read], -1)
    )


def _convert_cudnn(weights: Sequence[Weight]) -> Converted | None:
    """Convert the first three arrays if they are those of CuDNNLSTM or CuDNNGRU.

    Only the shape of the bias tells: a file may have the arrays of either layer for an LSTM.
    """
    found = list(weights[:3])
    if any((one.name or own) != own for one, own in zip(found, _NAMES, strict=False)):
        return None
    shapes = [weight.shape for weight in found]
    units, size = shapes[1] if len(found) == 3 and len(shapes[1]) == 2 else (0, 0)
    count = size // units if units else 0
    if count not in _GATES or size % units or shapes[0][1:] != (size,) or shapes[2] != (2 * size,):
        return None

    kernel, recurrent, bias = found
    shape = (2, size) if count == 3 else (size,)

    def read_bias() -> Tensor:
        both = bias.read().reshape(2, size)
        return both if count == 3 else both[0] + both[1]

    return 3, [
        _change_gates(kernel, count, lambda gate: _transpose(gate.reshape(gate.shape[::-1]))),
        _change_gates(recurrent, count, _transpose),
        replace(bias, shape=shape, read=read_bias),
    ]


def _transpose(matrix: Tensor) -> Tensor:
    return permute_axes(matrix, (1, 0))


def _change_gates(weight: Weight, count: int, change: Callable[[Tensor], Tensor]) -> Weight:
    """Return a weight with each of its gates changed."""
    return replace(
        weight,
        read=lambda: torch.cat([change(gate) for gate in weight.read().chunk(count, -1)], -1),
    )
