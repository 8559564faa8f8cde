"""How fast are `kerastorch.layers.Conv1D` and `Conv3D`?

    python compat/bench/conv1d_conv3d.py                     # a few minutes
    python compat/bench/conv1d_conv3d.py --only causal --seconds 3

Inference and a train step of single float32 layers with a relu, on one thread, against the best
hand-written torch that was found, and Keras on torch where it is installed. The hand-written 1-D
convolution is `nn.Conv2d` with a kernel (1, k) in channels_last memory, the 3-D one `nn.Conv3d` on
a permuted view, or `F.linear` for a kernel of size 1. Ratios are medians [quartiles] within single
rounds, as in `conv2d.py`; all variants must compute the same numbers.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

import torch
from timing import CLOCKS, host_timer, interleave, keep_freed_memory
from torch import Tensor, nn
from torch.nn import functional as F
from variants import import_keras

from kerastorch import layers
from kerastorch._ops.window_arithmetic import padding_per_axis, to_f_pad_order

ROW = "{:46}{:8}{:>10}  {:21}{}"


@dataclass(frozen=True)
class Shape:
    """An input of (batch, *sizes, channels), and the arguments of the layer."""

    batch: int
    sizes: tuple[int, ...]
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: str = "same"
    is_tiny: bool = False

    def __str__(self) -> str:
        sizes = "x".join(map(str, (*self.sizes, self.channels)))
        window = f"k{self.kernel} s{self.stride} d{self.dilation}"
        return f"{self.batch}x{sizes}->{self.filters} {window} {self.padding}"

    def spread(self, number: int) -> tuple[int, ...]:
        return (number,) * len(self.sizes)

    def make(self, library: Any) -> Any:
        cls = getattr(library, f"Conv{len(self.sizes)}D")
        window = {"strides": self.stride, "dilation_rate": self.dilation, "padding": self.padding}
        return cls(self.filters, self.kernel, activation="relu", dtype="float32", **window)


SHAPES = (
    Shape(1, (16,), 8, 8, 3, is_tiny=True),
    Shape(8, (128,), 64, 64, 3),
    Shape(32, (100,), 32, 64, 5),
    Shape(8, (500,), 64, 128, 3, stride=2),
    Shape(1, (10000,), 32, 32, 11, padding="valid"),
    Shape(8, (1000,), 32, 32, 5, dilation=4, padding="causal"),
    Shape(8, (256,), 128, 128, 1),
    Shape(1, (4, 8, 8), 8, 8, 3, is_tiny=True),
    Shape(1, (16, 28, 28), 64, 64, 3),
    Shape(2, (8, 14, 14), 128, 128, 3),
    Shape(1, (16, 56, 56), 32, 64, 3, stride=2, padding="valid"),
    Shape(1, (8, 28, 28), 64, 128, 1),
)


class HandWritten(nn.Module):
    """The best module a person would write for inputs of one known size."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        rank = len(shape.sizes)
        kernel, stride, dilation = map(shape.spread, (shape.kernel, shape.stride, shape.dilation))
        sides = padding_per_axis(shape.padding, shape.sizes, kernel, stride, dilation)
        even = all(before == after for before, after in sides)
        self.sides = None if even else to_f_pad_order(sides)
        padding = tuple(after for _, after in sides) if even else shape.spread(0)
        self.is_line, self.is_product = rank == 1, (rank, shape.kernel, shape.stride) == (3, 1, 1)
        window: list[Any] = [kernel, stride, padding, dilation]
        if self.is_line:
            window = [(one, *n) for one, n in zip((1, 1, 0, 1), window, strict=True)]
        convolution: Any = nn.Conv2d if self.is_line else nn.Conv3d
        self.conv = convolution(shape.channels, shape.filters, *window)
        order = torch.channels_last if self.is_line else torch.channels_last_3d
        self.conv.to(memory_format=order)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.is_product:
            y = F.linear(inputs, self.conv.weight.flatten(1), self.conv.bias)
            return torch.relu(y) if torch.is_grad_enabled() else torch.relu_(y)
        x = inputs.movedim(-1, 1)
        x = x.unsqueeze(2) if self.is_line else x
        y = torch.relu_(self.conv(x if self.sides is None else F.pad(x, self.sides)))
        return (y.squeeze(2) if self.is_line else y).movedim(1, -1)


def make_variants(shape: Shape, keras: Any) -> dict[str, Any]:
    """Return the modules by name, with the same weights, which must give the same output."""
    x = torch.randn(shape.batch, *shape.sizes, shape.channels)
    ours, hand = shape.make(layers), HandWritten(shape)
    expected = ours(x)
    with torch.no_grad():
        hand.conv.weight.copy_(ours.weight.reshape(hand.conv.weight.shape))
        hand.conv.bias.copy_(ours.bias)
    found = {"hand-written": hand, "kerastorch": ours}
    if keras is not None:
        found["keras"] = shape.make(keras.layers)
        found["keras"].build(x.shape)
        found["keras"].set_weights(ours.get_weights())
    for name, module in found.items():
        if not torch.allclose(module(x), expected, rtol=1e-4, atol=1e-4):
            sys.exit(f"numbers disagree: {name} at {shape}")
    return found


def make_call(module: Any, shape: Shape, mode: str) -> Callable[[], None]:
    x = torch.randn(shape.batch, *shape.sizes, shape.channels, requires_grad=mode == "train")
    gradient = torch.randn_like(module(x).detach())
    parameters = list(module.parameters())

    def infer() -> None:
        with torch.no_grad():
            module(x)

    def train() -> None:
        module(x).backward(gradient)
        for one in (x, *parameters):
            one.grad = None

    return train if mode == "train" else infer


def main() -> None:
    parser = argparse.ArgumentParser(description="Time kerastorch.layers.Conv1D and Conv3D.")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows with TEXT in their shape")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per row (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    keras = import_keras("cpu")
    gc.freeze()
    ratios: dict[tuple[str, ...], list[float]] = {}
    print(ROW.format("shape", "pass", "hand ms", "kerastorch/hand", "keras/kerastorch"))
    for shape in (one for one in SHAPES if options.only in str(one)):
        variants = make_variants(shape, keras)
        for mode in ("forward", "train"):
            calls = {name: make_call(module, shape, mode) for name, module in variants.items()}
            rounds = interleave(calls, host_timer(CLOCKS["cpu"]), options.seconds, 7)
            to_hand = rounds.ratio("kerastorch", "hand-written")
            of_keras = rounds.ratio("keras", "kerastorch") if keras is not None else None
            milliseconds = f"{rounds.milliseconds('hand-written'):.4f}"
            print(ROW.format(str(shape), mode, milliseconds, str(to_hand), of_keras), flush=True)
            group = "tiny" if shape.is_tiny else f"Conv{len(shape.sizes)}D"
            ratios.setdefault((group, mode, "kerastorch/hand"), []).append(to_hand.median)
            if of_keras is not None:
                ratios.setdefault((group, mode, "keras/kerastorch"), []).append(of_keras.median)
    print("\ngeometric means")
    for key, found in ratios.items():
        print(" ".join(key), f"{geometric_mean(found):.3f}")


if __name__ == "__main__":
    main()
