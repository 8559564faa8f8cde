"""The adapters of torch.nn's recurrent layers and cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..._core.errors import argument_error, short_repr
from ..._core.layout import kernel_to_weight, weight_to_kernel
from ..._core.registry import number_group, to_snake_case
from ...layers.recurrent.gru import swap_gates
from .adapter import Adapter, Config, Kinds, ModuleWeight, View

_NAMES = {
    (nn.LSTM, nn.LSTMCell): "LSTM",
    (nn.GRU, nn.GRUCell): "GRU",
    (nn.RNN, nn.RNNCell): "SimpleRNN",
}
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
    """Return the suffix of the parameters and Keras's group of each cell."""
    if isinstance(module, nn.RNNCellBase):
        return [("", "cell")]
    owner, layers = type(module).__name__, module.num_layers
    if module.proj_size:
        remedy = "Keras has no projections of states."
        raise ValueError(argument_error(owner, "proj_size", "0", module.proj_size, remedy))
    if module.bidirectional:
        if layers > 1:
            remedy = "Keras has a layer for each: make a module for each, too."
            rule = "1 where it is bidirectional"
            raise ValueError(argument_error(owner, "num_layers", rule, layers, remedy))
        return [(f"_l0{suffix}", group) for suffix, group in _DIRECTIONS]
    if layers == 1:
        return [("_l0", "cell")]
    kind, counts = f"{to_snake_case(_find_name(module))}_cell", Counter[str]()
    return [(f"_l{n}", f"cell/cells/{number_group(kind, counts)}") for n in range(layers)]


def _find_name(module: nn.Module) -> str:
    """Return Keras's name of the layer of a module or cell."""
    return next(name for kinds, name in _NAMES.items() if isinstance(module, kinds))


def _choose(module: Any, kinds: Kinds) -> Kinds:
    """Return the layer, and Keras's RNN of such cells; that alone has several of them."""
    if getattr(module, "bidirectional", False):
        return kinds[1:]
    return (kinds[0], "rnn") if getattr(module, "num_layers", 1) == 1 else ("rnn",)


def _choose_of_cell(module: Any, kinds: Kinds) -> Kinds:
    """Return the layer of the cells that a loop may call, and the cell itself."""
    return (kinds[0], "rnn", *kinds[1:])


def _compare(module: Any, config: Config) -> Iterator[str]:
    """Yield the arguments of a Keras layer that a module of torch does not compute."""
    if not getattr(module, "bidirectional", False):
        yield from _compare_cells(module, config)
        return
    mode = config.get("merge_mode", "concat")
    if mode != "concat":
        yield f"it concatenates both directions, where the source has merge_mode={mode!r}"
    for argument in ("layer", "backward_layer"):
        entry = config.get(argument)
        if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
            continue
        yield from _compare_class(module, argument, entry, _find_name(module))
        given = dict(entry["config"])
        if argument == "backward_layer":
            given["go_backwards"] = not given.get("go_backwards", True)
        yield from _compare_one(module, given)


def _compare_class(module: Any, argument: str, entry: Config, name: str) -> Iterator[str]:
    if entry.get("class_name") != name:
        found = short_repr(entry.get("class_name"))
        yield f"it is a {type(module).__name__}, where the source has {argument}={found}"


def _compare_cells(module: Any, config: Config) -> Iterator[str]:
    """Yield the differences from a layer, or from the cells that an RNN of Keras calls."""
    entry = config.get("cell")
    if not isinstance(entry, Mapping):
        yield from _compare_one(module, config)
        return
    inner = entry.get("config")
    cells = inner.get("cells") if isinstance(inner, Mapping) else None
    for one in cells if isinstance(cells, list) else [entry]:
        if isinstance(one, Mapping) and isinstance(one.get("config"), Mapping):
            yield from _compare_class(module, "cell", one, f"{_find_name(module)}Cell")
            shared = {"go_backwards": config.get("go_backwards", False)}
            yield from _compare_one(module, {**one["config"], **shared})


def _compare_one(module: Any, config: Config) -> Iterator[str]:
    own: dict[str, Any] = {"activation": getattr(module, "nonlinearity", "tanh")}
    if not isinstance(module, nn.RNNCellBase):  # whose caller decides
        own["go_backwards"] = False
    if not isinstance(module, (nn.RNN, nn.RNNCell)):
        own["recurrent_activation"] = "sigmoid"
    if isinstance(module, (nn.GRU, nn.GRUCell)):
        own["reset_after"] = True
    defaults = {**own, "activation": "tanh"}
    for argument, value in own.items():
        given = config.get(argument, defaults[argument])
        if given != value:
            what = f"{argument}={value!r}, where the source has {short_repr(given)}"
            yield f"{what}. Use the layer of the same name from kerastorch.layers instead."


def _make_adapters(layer: Any, cell: Any, kind: str, weights: Any) -> tuple[Adapter, Adapter]:
    return (
        Adapter({layer: (kind, "bidirectional")}, weights, _compare, choose=_choose),
        Adapter({cell: (kind, f"{kind}_cell")}, weights, _compare, choose=_choose_of_cell),
    )


RECURRENT_ADAPTERS = (
    *_make_adapters(nn.LSTM, nn.LSTMCell, "lstm", _list_weights),
    *_make_adapters(nn.GRU, nn.GRUCell, "gru", _list_gru_weights),
    *_make_adapters(nn.RNN, nn.RNNCell, "simple_rnn", _list_weights),
)
