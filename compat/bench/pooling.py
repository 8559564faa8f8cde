"""Pooling, upsampling and global pooling beside hand-written PyTorch, and Keras on torch.

    KERAS_BACKEND=torch python compat/bench/pooling.py

Each line has the ratio of this package's time to the best hand-written form, and of Keras's time
to this package's, in inference and in a train step; at the end stand each layer's geometric means.
Data has the channels at the end, on one thread.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Mapping
from functools import reduce
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
SECONDS = 0.3  # for each line and mode


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
    """Return max pooling of windows of steps that do not overlap."""
    return lambda x: reduce(torch.maximum, x.unfold(1, size, size).unbind(3))


def row(size: int) -> Form:
    return lambda x: F.max_pool2d(x.unsqueeze(2), (1, size)).squeeze(2)


def planes(size: int) -> Form:
    """Return average pooling of volumes as two of images."""

    def form(x: Tensor) -> Tensor:
        b, d, h, w, c = x.shape
        y = F.avg_pool2d(x.reshape(b * d, h, w, c).permute(FIRST[4]), size).permute(LAST[4])
        h, w = y.shape[1:3]
        z = F.avg_pool2d(y.reshape(b, d, h * w, c).permute(FIRST[4]), (size, 1)).permute(LAST[4])
        return z.reshape(b, -1, h, w, c)

    return form


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def repeat(x: Tensor) -> Tensor:
    b, n, c = x.shape
    return x.unsqueeze(2).expand(b, n, 2, c).reshape(b, 2 * n, c)


SEQUENCES = [(1, 16, 8), (8, 128, 64), (32, 100, 32), (8, 1000, 32), (16, 1000, 64)]
VOLUMES = [(1, 4, 4, 4, 8), (2, 8, 16, 16, 64), (1, 16, 28, 28, 32)]
AVERAGES_3D = [Hand(planes(2), False), Hand(lambda x: F.avg_pool3d(x, 2))]
Case = tuple[str, tuple[Any, ...], list[tuple[int, ...]], list[Hand]]
CASES: list[Case] = [
    ("MaxPooling1D", (2,), SEQUENCES, [Hand(slices(2), False), Hand(row(2))]),
    ("MaxPooling1D", (3,), SEQUENCES, [Hand(slices(3), False), Hand(row(3))]),
    ("MaxPooling1D", (5,), SEQUENCES, [Hand(row(5)), Hand(lambda x: F.max_pool1d(x, 5))]),
    ("AveragePooling1D", (2,), SEQUENCES, [Hand(lambda x: F.avg_pool1d(x, 2))]),
    ("MaxPooling3D", (2,), VOLUMES, [Hand(lambda x: F.max_pool3d(x, 2))]),
    (
        "AveragePooling3D",
        (2,),
        VOLUMES,
        AVERAGES_3D,
    ),
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
    name = name.split()[0]
    ours = getattr(kerastorch.layers, name)(*arguments)
    ways: dict[str, Any] = {"ours": ours, "keras": getattr(keras.layers, name)(*arguments)}
    ways |= {f"hand {number}": hand for number, hand in enumerate(hands)}
    for way in ways.values():
        torch.testing.assert_close(way(x), ours(x), rtol=1e-4, atol=1e-5)
    calls: Mapping[str, Callable[[], object]] = {
        key: trained(way, x) if training else (lambda way=way: way(x)) for key, way in ways.items()
    }
    with torch.set_grad_enabled(training):
        found = interleave(calls, host_timer(CLOCKS["cpu"]), SECONDS, 11)
    best = min((key for key in ways if "hand" in key), key=found.milliseconds)
    return found.ratio("ours", best).median, found.ratio("keras", "ours").median


def report(cases: list[Case], tiny: int = 1024) -> None:
    """Print the ratios of each layer, and their geometric means; those of tiny inputs apart."""
    torch.set_num_threads(1)
    keep_freed_memory()
    gc.freeze()  # else most of the time is the collector's, in Keras's modules
    ratios: dict[str, list[float]] = {}
    for name, arguments, shapes, hands in cases:
        for shape in shapes:
            line = f"{name}{arguments} {shape}".ljust(54)
            group = "tiny inputs" if math.prod(shape) <= tiny else name
            for mode, training in (("inference", False), ("train", True)):
                ours, theirs = measure(name, arguments, shape, hands, training)
                line += f"  {mode} {ours:5.2f} {theirs:5.1f}"
                ratios.setdefault(f"{group}, {mode}: ours / hand-written", []).append(ours)
                ratios.setdefault(f"{group}, {mode}: Keras / ours", []).append(theirs)
            print(line, flush=True)
    for label, found in ratios.items():
        print(f"{label}: {statistics.geometric_mean(found):.2f}")


if __name__ == "__main__":
    report(CASES)
