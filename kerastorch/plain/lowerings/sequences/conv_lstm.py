"""ConvLSTM1D, ConvLSTM2D and ConvLSTM3D."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch

from ....layers.recurrent.conv_lstm import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from ...graph import GraphBuilder, Value
from ...masking import cast_mask
from ...printed import recurrent as printed_recurrent
from ...registry import lowers
from ...text.constructors import shorten
from ..convolution import set_tensors
from .recurrent import get_activation, get_rate, name_states

printed: Any = printed_recurrent


@lowers(ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, takes_masks=True)
def lower_conv_lstm(
    build: GraphBuilder, layer: Any, x: Value, initial_state: Any = None, mask: Any = None
) -> Any:
    """A loop over the steps; it has the channels as axis 2 of the sequence."""
    if layer.stateful:
        build.refuse("it is stateful: its states go from call to call")
    moved = layer.data_format == "channels_last"
    if moved:
        is_back = x.node.target == "movedim" and x.node.args[1:] == (2, -1)
        x = Value(x.node.args[0], x.shape) if is_back else build.method("movedim", x, -1, 2)  # type: ignore[arg-type]
    options: dict[str, Any] = {}
    if initial_state is not None:
        arrange = build.as_channels_second if moved else build.as_in_keras
        options["states"] = tuple(arrange(state) for state in initial_state)
    steps = None if mask is None else cast_mask(build, mask)
    if layer.go_backwards:
        x = build.method("flip", x, 1)
        steps = None if steps is None else build.name(build.method("flip", steps, 1), "mask")
    if steps is not None:
        options["mask"] = steps
    y, last = build.unpack(build.module(_make_module(build, layer), x, **options), 2)
    states = name_states(build, build.unpack(last, 2))
    if steps is not None and layer.zero_output_for_mask:
        wide = build.function(operator.getitem, steps, (..., *(None,) * (layer.rank + 1)))
        y = build.function(operator.mul, y, wide)
    if not layer.return_sequences:
        y = replace(build.function(operator.getitem, y, (slice(None), -1)), moved=moved)
    elif moved:
        y = build.method("movedim", y, 2, -1)
    states = [replace(one, moved=moved) for one in states]
    return [y, *states] if layer.return_state else y


def _make_module(build: GraphBuilder, layer: Any) -> Any:
    like = layer._tensor("weight_ih")
    kernel, recurrent, bias = layer._weights(like)
    options = {
        "stride": shorten(layer.strides),
        "padding": layer.padding,
        "dilation": shorten(layer.dilation_rate),
        "bias": bias is not None,
        "activation": get_activation(build, layer.activation),
        "gate_activation": get_activation(build, layer.recurrent_activation),
        "dropout": get_rate(layer, layer.dropout),
        "recurrent_dropout": get_rate(layer, layer.recurrent_dropout),
    }
    channels = kernel.shape[1]
    with torch.device("meta"):
        module = printed.ConvLSTM(
            layer.rank, channels, layer.filters, shorten(layer.kernel_size), **options
        )
    frozen = not layer.trainable
    set_tensors(module.input, frozen, weight=kernel, bias=bias)
    set_tensors(module.recurrent, frozen, weight=recurrent)
    return module
