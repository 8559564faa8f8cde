"""LocallyConnected1D and LocallyConnected2D."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...._ops.window_arithmetic import to_f_pad_order
from ....layers.convolution.local import LocallyConnected1D, LocallyConnected2D, _cover
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
        first = layer.data_format == "channels_first"
        bias = bias.reshape(layer.filters, *outputs) if first else bias.movedim(-1, 0)
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
    layer: Any, channels: int, outputs: Any, axes: list[Any], sides: list[tuple[int, int]]
) -> Tensor:
    """Return the kernel as (filters, channels, *kernel size, *outputs), of any implementation."""
    kernel = layer._tensor("kernel").detach()
    rank, first = layer.rank, layer.data_format == "channels_first"
    window = layer._join(channels, layer.kernel_size)
    if layer.implementation == 2:
        return _cut_windows(layer, kernel, outputs, axes, sides)
    if layer.implementation == 1:
        kernel = kernel.reshape(*outputs, *window, layer.filters)
        kernel = kernel if first else kernel.movedim(-2, rank)  # (*outputs, channels, *size, ...)
        spatial, inside = tuple(range(rank)), tuple(range(rank, 2 * rank + 1))
        return kernel.permute(-1, *inside, *spatial)
    shape = (*layer._join(layer.filters, outputs), *window)
    if layer.padding == "same":
        covered = layer._cross([_cover(*axis, kernel.device) for axis in axes]).expand(shape)
        index = (covered.flatten().cumsum(0) - 1).clamp(min=0)
        kernel = torch.where(covered, kernel[index].reshape(shape), 0)
    kernel = kernel.reshape(shape)
    if not first:
        kernel = kernel.movedim(rank, 0).movedim(-1, rank + 1)
    spatial, inside = tuple(range(1, rank + 1)), tuple(range(rank + 1, 2 * rank + 2))
    return kernel.permute(0, *inside, *spatial)


def _cut_windows(
    layer: Any, kernel: Tensor, outputs: Any, axes: list[Any], sides: list[tuple[int, int]]
) -> Tensor:
    """Cut the window of each position out of a kernel from all inputs to all outputs."""
    rank = layer.rank
    if layer.data_format == "channels_last":  # to (filters, *outputs, channels, *inputs)
        kernel = kernel.movedim(-1, 0).movedim(rank + 1, 1)
        inside = tuple(range(2, rank + 2))
        kernel = kernel.permute(0, *range(rank + 2, 2 * rank + 2), 1, *inside)
    else:
        inside = tuple(range(rank + 1))
        kernel = kernel.permute(*range(rank + 1, 2 * rank + 2), *inside)
    kernel = F.pad(kernel, to_f_pad_order(list(sides)))
    found = []
    for position in product(*map(range, outputs)):
        one = kernel[(slice(None), *position)]  # (filters, channels, *inputs)
        for axis, (at, (_, _, k, s, _)) in enumerate(zip(position, axes, strict=True), 2):
            one = one.narrow(axis, at * s, k)
        found.append(one)
    return torch.stack(found, -1).unflatten(-1, tuple(outputs))
