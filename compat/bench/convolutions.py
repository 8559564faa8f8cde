"""How fast are the convolutions of every kind?

    python compat/bench/convolutions.py                     # some 10 minutes
    python compat/bench/convolutions.py --only Transpose --seconds 3

Layers with a relu beside the best hand-written torch that was found (see `layers.py`; `conv2d.py`
has Conv2D): sequences are images of height 1 in channels_last memory, volumes permuted views. Of
both sides, only the transposed ones may return a part of a larger tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from layers import cases, compare, first, last
from torch import Tensor, nn
from torch.nn import functional as F

from kerastorch._ops.window_arithmetic import padding_per_axis, to_f_pad_order

CONVOLVE = {2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {2: F.conv_transpose2d, 3: F.conv_transpose3d}
KERAS_BARS = {
    "Conv1D": (2.4, 1.7),
    "Conv3D": (1.4, 1.1),
    "Depthwise": (4.0, 2.0),
    "Separable": (2.8, 1.4),
    "Transpose": (1.3, 1.15),
}


def activate(y: Tensor, complete: bool = False) -> Tensor:
    """Overwrite a new tensor; not a view in training, where that costs more than another new one.

    With `complete`, a part of a larger tensor is not overwritten either, so that the output is
    contiguous.
    """
    if y.requires_grad:
        return torch.relu(y) if y._is_view() else torch.relu_(y)
    order = torch.channels_last if y.ndim == 4 else torch.channels_last_3d
    is_part = complete and not y.is_contiguous(memory_format=order)
    return torch.relu(y) if is_part else torch.relu_(y)


class Hand(nn.Module):
    """A hand-written module: a function of the input as (batch, channels, ...) and the weights."""

    returns_complete = True  # no part of a larger tensor

    def __init__(self, form: Callable[..., Tensor], *weights: Tensor) -> None:
        super().__init__()
        self.form = form
        self.weights = nn.ParameterList(weights)
        self.arguments = tuple(self.weights)  # faster than the list

    def forward(self, inputs: Tensor) -> Tensor:
        x, complete = first(inputs), self.returns_complete
        if x.ndim > 3:
            return last(activate(self.form(x, *self.arguments), complete))
        return last(activate(self.form(x.unsqueeze(2), *self.arguments), complete).squeeze(2))


class Part(Hand):
    """One that may return a part of a larger tensor."""

    returns_complete = False


class Product(Hand):
    """One whose function takes the input as it is."""

    def forward(self, inputs: Tensor) -> Tensor:
        return activate(self.form(inputs, *self.arguments))


def images(layer: Any, shape: tuple[int, ...]) -> tuple[list[Tensor], list[Any]]:
    """Return the weights, and sizes, kernel, strides and dilation, of images or volumes."""
    weights = [one.detach().clone() for one in layer.parameters()]
    window: list[Any] = [shape[1:-1], layer.kernel_size, layer.strides, layer.dilation_rate]
    if len(shape) == 3:
        window = [(1, *given) for given in window]
        weights = [w.unsqueeze(2) if w.ndim > 1 else w for w in weights]
    order = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    orders = [order if w.ndim > 1 else torch.preserve_format for w in weights]
    return [w.clone(memory_format=o) for w, o in zip(weights, orders, strict=True)], window


def convolutions(layer: Any, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    weights, window = images(layer, shape)
    forms = strided(layer, *window)
    found: dict[str, nn.Module] = {name: Hand(form, *weights) for name, form in forms.items()}
    if set(layer.kernel_size) == set(layer.strides) == {1}:
        found["linear"] = Product(lambda x, w, b: F.linear(x, w.flatten(1), b), *weights)
    return found


def strided(layer: Any, sizes: Any, kernel: Any, stride: Any, dilation: Any) -> dict[str, Any]:
    """Return functions of (x, weight, bias) of the convolution, the depthwise one of several."""
    convolve, groups = CONVOLVE[len(sizes)], layer.groups
    if layer.padding == "causal":
        sides = [(0, 0), ((kernel[1] - 1) * dilation[1], 0)]
    else:
        sides = padding_per_axis(layer.padding, sizes, kernel, stride, dilation)
    most = tuple(map(max, sides))
    if all(before == after for before, after in sides):
        return {"plain": lambda x, w, b=None: convolve(x, w, b, stride, most, dilation, groups)}
    pads = to_f_pad_order(sides)

    def padded(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return convolve(F.pad(x, pads), w, b, stride, 0, dilation, groups)

    # More zeros in front move a strided window: whole strides leave its places where they are.
    moved = [-(most[i] - sides[i][0]) % stride[i] for i in range(len(sizes))]
    wide = tuple(p + m for p, m in zip(most, moved, strict=True))
    starts = [(w - sides[i][0]) // stride[i] for i, w in enumerate(wide)]

    def cropped(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = convolve(x, w, b, stride, wide, dilation, groups)
        for axis, start in enumerate(starts):
            total = sizes[axis] + sum(sides[axis]) - (kernel[axis] - 1) * dilation[axis] - 1
            y = y.narrow(2 + axis, start, total // stride[axis] + 1)
        return y

    return {"padded": padded, "cropped": cropped}


def depthwise(layer: Any, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    weights, window = images(layer, shape)
    found = {name: Hand(form, *weights) for name, form in strided(layer, *window).items()}
    times = layer.depth_multiplier
    if times > 1:
        convolve, filters = CONVOLVE[2], weights[0].shape[0]
        padding = [before for before, _ in padding_per_axis(layer.padding, *window)]
        options = window[2], padding, window[3], filters

        def repeated(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return convolve(first(last(x).repeat_interleave(times, -1)), w, b, *options)

        def expanded(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            x = last(x).unsqueeze(-1).expand(*(-1,) * 4, times).flatten(-2)
            return convolve(first(x), w, b, *options)

        found |= {"repeated": Hand(repeated, *weights), "expanded": Hand(expanded, *weights)}
    return found


def separable(layer: Any, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    weights, window = images(layer, shape)
    found: dict[str, nn.Module] = {}
    for name, form in strided(layer, *window).items():

        def both(x: Tensor, d: Tensor, p: Tensor, b: Tensor, form: Any = form) -> Tensor:
            return F.conv2d(form(x, d), p, b)

        def product(x: Tensor, d: Tensor, p: Tensor, b: Tensor, form: Any = form) -> Tensor:
            return first(F.linear(last(form(x, d)), p.flatten(1), b))

        found |= {name: Hand(both, *weights), f"{name}, linear": Hand(product, *weights)}
    return found


def transposed(layer: Any, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    weights, window = images(layer, shape)
    convolve = TRANSPOSED[len(window[0])]
    whole = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(*window, strict=True)]
    same = layer.padding == "same"
    sizes = [n * s for n, s in zip(window[0], window[2], strict=True)] if same else whole
    left = [(full - n) // 2 for full, n in zip(whole, sizes, strict=True)]
    crops = [
        (axis, n)
        for axis, (full, n, cut) in enumerate(zip(whole, sizes, left, strict=True), 2)
        if full - 2 * cut > n
    ]

    def cropped(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y = convolve(x, w, b, window[2], left, 0, 1, window[3])
        for axis, size in crops:
            y = y.narrow(axis, 0, size)
        return y

    found: dict[str, nn.Module] = {"cropped": Part(cropped, *weights)}
    if layer.kernel_size == layer.strides and len(shape) == 4:
        size = layer.strides[0]

        def shuffled(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            y = F.linear(last(x), w.flatten(1).t())
            y = F.pixel_shuffle(first(y), size)
            return y + b[:, None, None]

        found["shuffled"] = Part(shuffled, *weights)
    return found


def window(
    filters: int | None, kernel_size: int, strides: int = 1, padding: str = "same", **more: Any
) -> dict[str, Any]:
    known = {} if filters is None else {"filters": filters}
    known |= {"kernel_size": kernel_size} | ({"strides": strides} if strides > 1 else {})
    return {**known, "padding": padding, "activation": "relu", **more}


CASES = [
    *cases(
        *("Conv1D", "Conv1D", convolutions),
        ((1, 16, 8), window(8, 3)),
        ((8, 128, 64), window(64, 3)),
        ((32, 100, 32), window(64, 5)),
        ((8, 500, 64), window(128, 3, 2)),
        ((1, 10000, 32), window(32, 11, padding="valid")),
        ((8, 1000, 32), window(32, 5, padding="causal", dilation_rate=4)),
        ((8, 256, 128), window(128, 1)),
    ),
    *cases(
        *("Conv3D", "Conv3D", convolutions),
        ((1, 4, 8, 8, 8), window(8, 3)),
        ((1, 16, 28, 28, 64), window(64, 3)),
        ((2, 8, 14, 14, 128), window(128, 3)),
        ((1, 16, 56, 56, 32), window(64, 3, 2, "valid")),
        ((1, 8, 28, 28, 64), window(128, 1)),
    ),
    *cases(
        *("Depthwise", "DepthwiseConv1D", depthwise),
        ((1, 16, 8), window(None, 3)),
        ((8, 256, 64), window(None, 7)),
        ((32, 100, 64), window(None, 3, 2)),
    ),
    *cases(
        *("Depthwise", "DepthwiseConv2D", depthwise),
        ((1, 8, 8, 8), window(None, 3)),
        ((8, 56, 56, 64), window(None, 3)),
        ((8, 28, 28, 128), window(None, 3, 2)),
        ((8, 14, 14, 128), window(None, 5)),
        ((8, 14, 14, 128), window(None, 5, depth_multiplier=2)),
        ((8, 28, 28, 32), window(None, 3, depth_multiplier=2)),
    ),
    *cases(
        *("Separable", "SeparableConv1D", separable),
        ((1, 16, 8), window(8, 3)),
        ((8, 128, 64), window(64, 3)),
        ((32, 100, 64), window(128, 5)),
    ),
    *cases(
        *("Separable", "SeparableConv2D", separable),
        ((1, 8, 8, 8), window(8, 3)),
        ((8, 28, 28, 128), window(128, 3)),
        ((8, 56, 56, 64), window(128, 3, padding="valid")),
        ((8, 28, 28, 64), window(128, 3, 2)),
        ((1, 19, 19, 728), window(728, 3)),
    ),
    *cases(
        *("Transpose", "Conv1DTranspose", transposed),
        ((1, 16, 8), window(8, 3, 2)),
        ((8, 128, 64), window(32, 4, 2)),
        ((8, 128, 64), window(32, 3, 2)),
        ((8, 128, 64), window(32, 2, 2, "valid")),
    ),
    *cases(
        *("Transpose", "Conv2DTranspose", transposed),
        ((1, 8, 8, 8), window(8, 3, 2)),
        ((8, 14, 14, 128), window(64, 3, 2)),
        ((8, 28, 28, 64), window(32, 2, 2, "valid")),
        ((8, 16, 16, 128), window(64, 4, 2)),
        ((8, 16, 16, 64), window(64, 5, 2)),
        ((1, 56, 56, 64), window(64, 3)),
        ((1, 7, 7, 512), window(256, 4, 2)),
    ),
    *cases(
        *("Transpose", "Conv3DTranspose", transposed),
        ((1, 4, 4, 4, 8), window(8, 3, 2)),
        ((1, 8, 14, 14, 64), window(32, 2, 2, "valid")),
        ((1, 8, 14, 14, 32), window(32, 3, 2)),
    ),
]

if __name__ == "__main__":
    compare(CASES, KERAS_BARS, "Time the convolutions of kerastorch.layers.")
