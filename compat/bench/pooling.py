"""Pooling, upsampling and global pooling beside hand-written PyTorch, and Keras on torch.

    KERAS_BACKEND=torch python compat/bench/pooling.py

Each line has the ratio of this package's time to the best hand-written form, and of Keras's time
to this package's, in inference and in a train step; at the end their geometric means. Data has the
channels at the end, on one thread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import keras
import torch
from timing import CLOCKS, host_timer, interleave, keep_freed_memory
from torch import Tensor, nn
from torch.nn import functional as F

import kerastorch

Form = Callable[[Tensor], Tensor]
FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
SECONDS = 1.5  # for each line and mode


class Hand(nn.Module):
    """A hand-written module around a function of channels-first views, or of the input."""

    def __init__(self, form: Form, moves: bool = True) -> None:
        super().__init__()
        self.form, self.moves = form, moves

    def forward(self, x: Tensor) -> Tensor:
        if not self.moves:
            return self.form(x)
        y = self.form(x.permute(FIRST[x.ndim]))
        return y.permute(LAST[y.ndim]) if y.ndim == x.ndim else y


def slices(size: int) -> Form:
    """Return max pooling of windows of two or three steps that do not overlap."""

    def form(x: Tensor) -> Tensor:
        steps = x.shape[1] // size * size
        y = torch.maximum(x[:, :steps:size], x[:, 1:steps:size])
        return y if size == 2 else torch.maximum(y, x[:, 2:steps:size])

    return form


def row(size: int) -> Form:
    return lambda x: F.max_pool2d(x.unsqueeze(2), (1, size)).squeeze(2)


def planes(size: int) -> Form:
    """Return average pooling of volumes as two of images."""

    def form(x: Tensor) -> Tensor:
        y = F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), size)
        y = y.reshape(x.shape[0], x.shape[2], *y.shape[1:]).transpose(1, 2)
        z = F.avg_pool2d(y.flatten(3), (size, 1))
        return z.reshape(*z.shape[:3], *y.shape[3:])

    return form


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def repeat(x: Tensor) -> Tensor:
    b, n, c = x.shape
    return x.unsqueeze(2).expand(b, n, 2, c).reshape(b, 2 * n, c)


SEQUENCES = [(8, 128, 64), (32, 100, 32), (8, 1000, 32)]
VOLUMES = [(2, 8, 16, 16, 64), (1, 16, 28, 28, 32)]
CASES: list[tuple[str, tuple[Any, ...], list[tuple[int, ...]], list[Hand]]] = [
    ("MaxPooling1D", (2,), SEQUENCES, [Hand(slices(2), False), Hand(row(2))]),
    ("MaxPooling1D", (3,), SEQUENCES, [Hand(slices(3), False), Hand(row(3))]),
    ("MaxPooling1D", (5,), SEQUENCES, [Hand(row(5)), Hand(lambda x: F.max_pool1d(x, 5))]),
    ("AveragePooling1D", (2,), SEQUENCES, [Hand(lambda x: F.avg_pool1d(x, 2))]),
    ("MaxPooling3D", (2,), VOLUMES, [Hand(lambda x: F.max_pool3d(x, 2))]),
    ("AveragePooling3D", (2,), VOLUMES, [Hand(planes(2)), Hand(lambda x: F.avg_pool3d(x, 2))]),
    ("GlobalAveragePooling1D", (), SEQUENCES, [Hand(lambda x: x.mean(1), False)]),
    ("GlobalMaxPooling1D", (), SEQUENCES, [Hand(lambda x: x.amax(1), False)]),
    ("UpSampling1D", (2,), SEQUENCES, [Hand(repeat, False)]),
    ("UpSampling3D", (2,), VOLUMES, [Hand(double)]),
]


def trained(layer: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    y = layer(x)
    cotangent = torch.ones_like(y)
    return lambda: torch.autograd.grad(layer(x), x, cotangent)


def measure(name: str, arguments: Any, shape: Any, hands: list[Hand], training: bool) -> Any:
    """Return the ratios of one layer: to the best hand-written form, and of Keras to it."""
    x = torch.randn(shape).requires_grad_(training)
    ours = getattr(kerastorch.layers, name)(*arguments)
    ways: dict[str, Any] = {"ours": ours, "keras": getattr(keras.layers, name)(*arguments)}
    ways |= {f"hand {number}": hand for number, hand in enumerate(hands)}
    for way in ways.values():
        torch.testing.assert_close(way(x), ours(x))
    calls: Mapping[str, Callable[[], object]] = {
        key: trained(way, x) if training else (lambda way=way: way(x)) for key, way in ways.items()
    }
    with torch.set_grad_enabled(training):
        found = interleave(calls, host_timer(CLOCKS["cpu"]), SECONDS, 11)
    best = min((key for key in ways if "hand" in key), key=found.milliseconds)
    return found.ratio("ours", best).median, found.ratio("keras", "ours").median


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    ratios: dict[str, list[float]] = {}
    for name, arguments, shapes, hands in CASES:
        for shape in shapes:
            line = f"{name}{arguments} {shape}".ljust(46)
            for mode, training in (("inference", False), ("train", True)):
                ours, theirs = measure(name, arguments, shape, hands, training)
                line += f"  {mode} {ours:5.2f} {theirs:5.1f}"
                ratios.setdefault(f"{mode}: ours / hand-written", []).append(ours)
                if "Pooling" in name and "Global" not in name:
                    ratios.setdefault(f"{mode}: Keras / ours, pooling", []).append(theirs)
            print(line, flush=True)
    for label, found in ratios.items():
        print(f"{label}: {statistics.geometric_mean(found):.2f}")


if __name__ == "__main__":
    main()
