"""Every layer with inputs of several sizes, so that what is traced at one size is run at others.

The sizes are even and odd, so that the padding of a strided "same" is another at each; none is
square, and none repeats a size of another axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kerastorch import layers
from kerastorch.activations.serialization import ACTIVATIONS
from tests.layers.contract import batch
from tests.layers.convolution_cases import CONV2D

Shape = tuple[int, ...]
WARNINGS = (  # of torch: that its ways out are old, that they use what is old, and of each check
    "ignore:`torch.jit.* is deprecated:DeprecationWarning",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    "ignore:.*Converting a tensor to a Python:torch.jit.TracerWarning",
)
SIZES = ((2, 8, 9), (3, 9, 12), (1, 11, 8), (4, 12, 10))  # (batch, height, width), traced first
LAST = tuple((n, h, w, 3) for n, h, w in SIZES)
FIRST = tuple((n, 3, h, w) for n, h, w in SIZES)
SQUEEZED = tuple((n, 1, 1, 3) for n, _, _ in SIZES)


@dataclass(frozen=True)
class Sized:
    """A module and shapes that it takes.

    Attributes:
        name: What pytest shows.
        make: Makes the module.
        shapes: For each input, its shapes; the first of each is that to trace.
        merges: Whether the module takes its inputs in a list.
    """

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[Shape, ...], ...] = (LAST,)
    merges: bool = False

    def module(self, device: str = "cpu") -> nn.Module:
        """Return the module built and in eval mode, its moving statistics no more as they start."""
        torch.manual_seed(0)
        module = self.make().to(device).train()
        with torch.no_grad():
            module(*self.arguments(0, device))
        return module.eval()

    def arguments(self, index: int, device: str = "cpu") -> tuple[Any, ...]:
        """Return what to call the module with, for one of the sizes."""
        found = [batch(shapes[index], seed=i).to(device) for i, shapes in enumerate(self.shapes)]
        return (found,) if self.merges else tuple(found)

    @property
    def moving(self) -> tuple[Any, ...]:
        """The `dynamic_shapes` for `torch.export`: the axes along which the shapes differ."""
        dims = [
            {
                axis: torch.export.Dim.DYNAMIC
                for axis, sizes in enumerate(zip(*shapes, strict=True))
                if len(set(sizes)) > 1
            }
            for shapes in self.shapes
        ]
        return (dims,) if self.merges else tuple(dims)

    @property
    def others(self) -> range:
        """The indices of the sizes that are not traced."""
        return range(1, len(self.shapes[0]))


class Doubled(nn.Module):
    """An activation of one's own, with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def _conv2d() -> list[Sized]:
    """Return each way of padding and grouping, with each kind of activation by turns."""
    turns = ("relu", "softmax", "silu", None)
    found = []
    for turn, case in enumerate(CONV2D):
        channels = case.channels
        shapes = tuple(
            (n, channels, h, w) if case.channels_first else (n, h, w, channels) for n, h, w in SIZES
        )
        arguments = {**case.arguments, "activation": turns[turn % len(turns)]}
        made = partial(layers.Conv2D, bias_initializer="random_normal", **arguments)
        found.append(Sized(f"Conv2D-{case.name}", made, (shapes,)))
    return found


_strided = partial(layers.Conv2D, 4, (2, 3), (2, 3), "same", bias_initializer="random_normal")
ACTIVATIONS = [
    Sized(f"Conv2D-{name}", partial(_strided, activation=name))
    for name in sorted(ACTIVATIONS.table)
    if name != "threshold"  # has no defaults
]
_WINDOWS = [
    Sized(
        f"{name}-{padding}-{size}-{strides}".replace(" ", ""),
        partial(getattr(layers, name), size, strides, padding, data_format),
        (FIRST if data_format else LAST,),
    )
    for name in ("MaxPooling2D", "AveragePooling2D")
    for padding, size, strides, data_format in (
        ("valid", (2, 3), (2, 1), None),
        ("same", (3, 2), (1, 1), None),
        ("same", (2, 3), (3, 2), None),
        ("same", (3, 2), (2, 3), "channels_first"),
    )
]
_normal = {"gamma_initializer": "random_normal", "beta_initializer": "random_normal"}
_OTHERS = [
    Sized("Conv2D-lora", partial(_strided, lora_rank=2, activation="softmax")),
    Sized("Conv2D-module", partial(_strided, activation=Doubled())),
    Sized("Conv2D-callable", partial(_strided, activation=torch.cos)),
    Sized("Dense", partial(layers.Dense, 4, "relu", bias_initializer="random_normal")),
    Sized("Dense-softmax", partial(layers.Dense, 4, "softmax", lora_rank=2)),
    Sized("BatchNormalization", partial(layers.BatchNormalization, **_normal)),
    Sized("BatchNormalization-first", partial(layers.BatchNormalization, 1, **_normal), (FIRST,)),
    Sized("Normalization", partial(layers.Normalization, mean=[1, 2, 3], variance=[2, 3, 4])),
    Sized("Rescaling", partial(layers.Rescaling, [1.0, 2.0, 3.0], 1)),
    Sized("GlobalAveragePooling2D", layers.GlobalAveragePooling2D),
    Sized("GlobalMaxPooling2D", partial(layers.GlobalMaxPooling2D, keepdims=True)),
    Sized("ZeroPadding2D", partial(layers.ZeroPadding2D, ((1, 2), (3, 0)))),
    Sized("Cropping2D", partial(layers.Cropping2D, ((1, 2), (1, 0)))),
    Sized("UpSampling2D", partial(layers.UpSampling2D, (2, 3))),
    Sized(
        "UpSampling2D-bilinear",
        partial(layers.UpSampling2D, (2, 3), interpolation="bilinear"),
    ),
    Sized("Flatten", layers.Flatten),
    Sized("Flatten-first", partial(layers.Flatten, "channels_first"), (FIRST,)),
    Sized("Reshape", partial(layers.Reshape, (-1, 3))),
    Sized("Permute", partial(layers.Permute, (3, 1, 2))),
    Sized("Activation", partial(layers.Activation, "softmax")),
    Sized("ReLU", partial(layers.ReLU, 1.0, 0.1, 0.2)),
    Sized("LeakyReLU", layers.LeakyReLU),
    Sized("PReLU", partial(layers.PReLU, "random_normal", shared_axes=[1, 2])),
    Sized("ELU", layers.ELU),
    Sized("Softmax", partial(layers.Softmax, (1, -1))),
    Sized("Dropout", partial(layers.Dropout, 0.5)),
    Sized("SpatialDropout2D", partial(layers.SpatialDropout2D, 0.5)),
    Sized("InputLayer", partial(layers.InputLayer, (None, None, 3))),
]
_MERGES = [
    Sized(name, getattr(layers, name), (LAST, SQUEEZED), merges=True)
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
] + [Sized("Concatenate", partial(layers.Concatenate, 1), (LAST, LAST), merges=True)]
SIZED = [*_conv2d(), *ACTIVATIONS, *_WINDOWS, *_OTHERS, *_MERGES]


NAMES = {one.name: one for one in SIZED}


def each(*quick: str) -> pytest.MarkDecorator:
    """Return the parametrization by the table; but for those named, it belongs to the sweep."""
    assert set(quick) <= set(NAMES)
    rows = [
        pytest.param(one, id=one.name, marks=() if one.name in quick else pytest.mark.sweep)
        for one in SIZED
    ]
    return pytest.mark.parametrize("one", rows)


def assert_same_numbers(found: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    """Compare to a part of the largest number."""
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=relative, atol=relative * scale)
