"""The adapters of torch.nn's recurrent layers, of one layer and one or two directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..._core.errors import argument_error, short_repr
from ..._core.layout import kernel_to_weight, weight_to_kernel
from ...layers.recurrent.gru import swap_gates
from .adapter import Adapter, Config, ModuleWeight, View

_NAMES = {"LST": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}  # by the start of `mode`
_DIRECTIONS = (("", "forward_layer/cell"), ("_reverse", "backward_layer/cell"))


def _list_weights(module: Any) -> list[ModuleWeight]:
    """Return the weights of a module with Keras's single bias: the sum of torch's two."""
    return [weight for suffix, group in _parts(module) for weight in _of_one(module, suffix, group)]


def _of_one(module: Any, suffix: str, group: str) -> list[ModuleWeight]:
    first, second = f"bias_ih{suffix}", f"bias_hh{suffix}"

    def add(bias: Tensor) -> Tensor:
        total: Tensor = bias + getattr(module, second).to(bias.device)
        return total

    zero = (second, torch.zeros_like)
    return [
        ModuleWeight(f"weight_ih{suffix}", "kernel", weight_to_kernel, group=group),
        ModuleWeight(f"weight_hh{suffix}", "recurrent_kernel", weight_to_kernel, group=group),
        ModuleWeight(first, "bias", add, group=group, write=_copy, also=(zero,)),
    ]


def _list_gru_weights(module: Any) -> list[ModuleWeight]:
    """Return the weights of a GRU: torch's gates are r, z, n, Keras's z, r, h."""
    return [weight for suffix, group in _parts(module) for weight in _of_gru(module, suffix, group)]


def _of_gru(module: Any, suffix: str, group: str) -> list[ModuleWeight]:
    first, second = f"bias_ih{suffix}", f"bias_hh{suffix}"

    def join(bias: Tensor) -> Tensor:
        other: Tensor = getattr(module, second).to(bias.device)
        return torch.stack([swap_gates(bias), swap_gates(other)])

    def view(weight: Tensor) -> Tensor:
        return weight_to_kernel(swap_gates(weight))

    def write(kernel: Tensor) -> Tensor:
        return swap_gates(kernel_to_weight(kernel))

    of_second = (second, _take_bias(1))
    names = ("kernel", "recurrent_kernel")
    kernels = zip((f"weight_ih{suffix}", f"weight_hh{suffix}"), names, strict=True)
    return [
        *(ModuleWeight(own, name, view, group=group, write=write) for own, name in kernels),
        ModuleWeight(first, "bias", join, group=group, write=_take_bias(0), also=(of_second,)),
    ]


def _copy(bias: Tensor) -> Tensor:
    return bias


def _take_bias(row: int) -> View:
    return lambda bias: swap_gates(bias[row])


def _parts(module: Any) -> list[tuple[str, str]]:
    """Return the suffix of the parameters and Keras's group of each direction."""
    for argument, rule in (("num_layers", 1), ("proj_size", 0)):
        if getattr(module, argument, rule) != rule:
            remedy = "Keras has a layer for each: make a module for each, too."
            remedy = remedy if argument == "num_layers" else "Keras has no projections of states."
            given, owner = getattr(module, argument), type(module).__name__
            raise ValueError(argument_error(owner, argument, str(rule), given, remedy))
    if module.bidirectional:
        return [(f"_l0{suffix}", group) for suffix, group in _DIRECTIONS]
    return [("_l0", "cell")]


def _compare(module: Any, config: Config) -> Iterator[str]:
    """Yield the arguments of a Keras layer that a module of torch does not compute."""
    if not module.bidirectional:
        yield from _compare_one(module, config)
        return
    mode = config.get("merge_mode", "concat")
    if mode != "concat":
        yield f"it concatenates both directions, where the source has merge_mode={mode!r}"
    for argument in ("layer", "backward_layer"):
        entry = config.get(argument)
        if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
            continue
        if entry.get("class_name") != _NAMES[module.mode[:3]]:
            found = short_repr(entry.get("class_name"))
            yield f"it is a {type(module).__name__}, where the source has {argument}={found}"
        given = dict(entry["config"])
        if argument == "backward_layer":
            given["go_backwards"] = not given.get("go_backwards", True)
        yield from _compare_one(module, given)


def _compare_one(module: Any, config: Config) -> Iterator[str]:
    own = {"activation": getattr(module, "nonlinearity", "tanh"), "go_backwards": False}
    if not isinstance(module, nn.RNN):
        own["recurrent_activation"] = "sigmoid"
    if isinstance(module, nn.GRU):
        own["reset_after"] = True
    defaults = {**own, "activation": "tanh"}
    for argument, value in own.items():
        given = config.get(argument, defaults[argument])
        if given != value:
            what = f"{argument}={value!r}, where the source has {short_repr(given)}"
            yield f"{what}. Use the layer of the same name from kerastorch.layers instead."


RECURRENT_ADAPTERS = (
    Adapter({nn.LSTM: ("lstm", "bidirectional")}, _list_weights, _compare),
    Adapter({nn.GRU: ("gru", "bidirectional")}, _list_gru_weights, _compare),
    Adapter({nn.RNN: ("simple_rnn", "bidirectional")}, _list_weights, _compare),
)
