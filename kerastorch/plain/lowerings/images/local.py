"""LocallyConnected1D and LocallyConnected2D."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...._core.layout import to_channels_second
from ...._ops.window_arithmetic import to_f_pad_order
from ....layers.convolution.local import Axis, LocallyConnected1D, LocallyConnected2D, _cover
from ...graph import GraphBuilder, Value
from ...printed import modules as printed
from ...registry import lowers
from ..activation import activate
from ..convolution import set_tensors
from ..padding import pad_sides


@lowers(LocallyConnected1D, LocallyConnected2D, layout="channels_second")
def lower_locally_connected(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """The windows of the input times the kernel of each position; a sequence is one row."""
    channels, sizes = layer._split(x.shape)
    outputs = layer._split(layer._output_shape(x.shape))[1]
    axes = layer._list_axes(sizes, outputs)
    sides = [(b, max((o - 1) * s + k - b - n, 0)) for n, o, k, s, b in axes]
    if any(amount for amounts in sides for amount in amounts):
        x = pad_sides(build, x, sides)
    weight = _list_windows(layer, channels, outputs, axes, sides)
    bias = layer._tensor("bias")
    if bias is not None:
        if layer.data_format == "channels_first":
            bias = bias.reshape(layer.filters, *outputs)
        else:
            bias = to_channels_second(bias.unsqueeze(0), -1)[0]
    row = (1,) if layer.rank == 1 else ()
    local = printed.LocallyConnected2d(
        channels,
        layer.filters,
        (*row, *outputs),
        (*row, *layer.kernel_size),
        (*row, *layer.strides),
        bias=bias is not None,
    )
    weight = weight.flatten(1 + layer.rank + 1).flatten(1, layer.rank + 1)
    bias = None if bias is None else bias.reshape(layer.filters, *row, *outputs)
    set_tensors(local, not layer.trainable, weight=weight, bias=bias)
    if row:
        x = build.method("unsqueeze", x, 2)
    y = build.module(local, x)
    if row:
        y = build.method("squeeze", y, 2)
    return activate(build, layer.activation, y)


def _list_windows(
    layer: Any, channels: int, outputs: Any, axes: list[Axis], sides: list[tuple[int, int]]
) -> Tensor:
    """Return the kernel as (filters, channels, *kernel size, *outputs), of any implementation."""
    kernel: Tensor = layer._tensor("kernel").detach()
    positions, inside = "pq"[: layer.rank], "xy"[: layer.rank]
    output, window = "".join(layer._join("f", positions)), "".join(layer._join("c", inside))
    windows = layer._join(channels, layer.kernel_size)
    if layer.implementation == 2:
        whole = torch.einsum(f"{window}{output}->{positions}fc{inside}", kernel)
        return _cut_windows(whole, outputs, axes, sides)
    if layer.implementation == 1:
        kernel, order = kernel.reshape(*outputs, *windows, -1), f"{positions}{window}f"
    else:
        kernel, order = _spread(layer, kernel, outputs, windows, axes), f"{output}{window}"
    return torch.einsum(f"{order}->fc{inside}{positions}", kernel)


def _spread(layer: Any, kernel: Tensor, outputs: Any, windows: Any, axes: list[Axis]) -> Tensor:
    """Return the list of weights as (filters and outputs, window), 0 for the padding."""
    shape = (*layer._join(layer.filters, outputs), *windows)
    if layer.padding == "same":
        tables = [_cover(*axis, kernel.device) for axis in axes]
        covered: Tensor = layer._cross(tables).expand(shape)
        index = (covered.flatten().cumsum(0) - 1).clamp(min=0)
        kernel = torch.where(covered, kernel[index].reshape(shape), 0)
    return kernel.reshape(shape)


def _cut_windows(
    kernel: Tensor, outputs: Any, axes: list[Axis], sides: list[tuple[int, int]]
) -> Tensor:
    """Cut the window of each position out of a kernel (*outputs, filters, channels, *inputs)."""
    kernel = F.pad(kernel, to_f_pad_order(list(sides)))
    found = []
    for position in product(*map(range, outputs)):
        one = kernel[position]
        for axis, (at, (_, _, k, s, _)) in enumerate(zip(position, axes, strict=True), 2):
            one = one.narrow(axis, at * s, k)
        found.append(one)
    return torch.stack(found, -1).reshape(*found[0].shape, *outputs)
