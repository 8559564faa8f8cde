"""LSTM, GRU, SimpleRNN, and RNN over cells."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from .... import activations
from ....layers.recurrent.gru import GRU, GRUCell, GRUUnit
from ....layers.recurrent.lstm import LSTM, LSTMCell, LSTMUnit
from ....layers.recurrent.rnn import RNN, StackedRNNCells
from ....layers.recurrent.simple_rnn import SimpleRNN, SimpleRNNCell
from ...graph import GraphBuilder, Value, iterate_values
from ...masking import cast_mask
from ...printed import recurrent as printed
from ...registry import lowers
from ..activation import _FUNCTIONS
from ..convolution import set_tensors

_ACTIVATIONS: dict[Any, Callable[..., Any]] = {
    **{key: function for key, (function, options) in _FUNCTIONS.items() if not options},
    activations.linear: printed.linear,
    activations.leaky_relu: printed.leaky_relu,
    activations.softmax: printed.softmax,
    activations.log_softmax: printed.log_softmax,
}
_TORCH: dict[str, tuple[Any, Any]] = {
    "lstm": (nn.LSTM, printed.MaskedLSTM),
    "gru": (nn.GRU, printed.MaskedGRU),
    "rnn": (nn.RNN, printed.MaskedRNN),
}


class Sequence(NamedTuple):
    """What a recurrent layer computes: the outputs at all steps, and the last states."""

    outputs: Value
    states: list[Value]  # (batch, units) each


@lowers(LSTM, GRU, SimpleRNN, RNN, takes_masks=True)
def lower_recurrent(
    build: GraphBuilder, layer: Any, x: Value, initial_state: Any = None, mask: Any = None
) -> Any:
    """A recurrent layer: torch's where it computes the same, otherwise a loop over the steps."""
    mask = None if mask is None else cast_mask(build, mask)
    if layer.stateful:
        build.refuse("it is stateful: its states go from call to call")
    given = None
    if initial_state is not None:
        given = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
    steps = mask
    if layer.go_backwards:
        x = build.method("flip", x, 1)
        steps = None if mask is None else build.name(build.method("flip", mask, 1), "mask")
    found = run_units(build, list_units(build, layer), x, given, steps)
    return finish_sequence(build, layer, found, steps)


def list_units(build: GraphBuilder, layer: Any) -> list[Any]:
    """Return the layer, or the cells of an RNN: a stack is one layer after the other."""
    if type(layer) is not RNN:
        return [layer]
    cell = layer.cell
    cells = list(cell.cells) if type(cell) is StackedRNNCells else [cell]
    if any(type(one) not in (LSTMCell, GRUCell, SimpleRNNCell) for one in cells):
        build.refuse("its cell is one of your own")
    return cells


def run_units(
    build: GraphBuilder, units: list[Any], x: Value, states: Any, mask: Any, name: str = ""
) -> Sequence:
    """Go through a sequence with a stack of units; `states` are those of all units in order."""
    given = None if states is None else list(iterate_values(list(states)))
    last: list[Value] = []
    for number, unit in enumerate(units):
        words = [name, str(number + 1) if len(units) > 1 else ""]
        count = len(_names(unit))
        own = None if given is None else given[:count]
        given = None if given is None else given[count:]
        found = run_unit(build, unit, x, own, mask, "_".join(filter(None, words)))
        x, last = found.outputs, [*last, *found.states]
    return Sequence(x, last)


def finish_sequence(build: GraphBuilder, layer: Any, found: Sequence, mask: Value | None) -> Any:
    """Return the outputs that a layer returns."""
    y = found.outputs
    if mask is not None and layer.zero_output_for_mask:
        y = zero_outside(build, y, mask)
    if not layer.return_sequences:
        y = build.function(operator.getitem, y, (slice(None), -1))
    return [y, *found.states] if layer.return_state else y


def zero_outside(build: GraphBuilder, y: Value, mask: Value) -> Value:
    """Return outputs that are 0 where the mask is False."""
    return build.function(operator.mul, y, build.function(operator.getitem, mask, (..., None)))


def run_unit(
    build: GraphBuilder, unit: Any, x: Value, states: Any, mask: Any, name: str = ""
) -> Sequence:
    """Go through a sequence with one unit, a layer or a cell."""
    x = drop_inputs(build, unit, x, name)
    options = {} if mask is None else {"mask": mask}
    module = make_torch_module(build, unit, masked=mask is not None)
    if module is None:
        module = make_loop(build, unit)
        if states is not None:
            options["states"] = tuple(states)
        y, last = build.unpack(build.module(module, x, name=name, **options), 2)
        return Sequence(y, name_states(build, build.unpack(last, len(_names(unit)))))
    arguments = [x]
    if states is not None:
        stacked = [stack_state(build, one) for one in states]
        arguments.append(tuple(stacked) if isinstance(unit, LSTMUnit) else stacked[0])  # type: ignore[arg-type]
    y, last = build.unpack(build.module(module, *arguments, name=name, **options), 2)
    parts = build.unpack(last, 2) if isinstance(unit, LSTMUnit) else [last]
    parts = name_states(build, parts)
    return Sequence(y, [build.function(operator.getitem, one, 0) for one in parts])


def name_states(build: GraphBuilder, parts: list[Value]) -> list[Value]:
    """Call the states h and c in the text."""
    return [build.name(one, name) for one, name in zip(parts, "hc", strict=False)]


def stack_state(build: GraphBuilder, state: Value) -> Value:
    """Return a state with torch's first axis, of layers and directions."""
    node = state.node
    if node.target is operator.getitem and node.args[1] == 0 and "name" in node.args[0].meta:  # type: ignore[union-attr]
        return Value(node.args[0], (1, *state.shape))  # type: ignore[arg-type]
    return build.method("unsqueeze", state, 0)


def drop_inputs(build: GraphBuilder, unit: Any, x: Value, name: str = "") -> Value:
    """Drop inputs for all gates alike; a loop drops them for each gate."""
    rate = get_rate(unit, unit.dropout)
    if not rate or unit._uses_masks_per_gate():
        return x
    return build.module(printed.StepDropout(rate), x, name=f"{name}_dropout".lstrip("_"))


def get_rate(unit: Any, rate: float) -> float:
    """Return a rate of dropout as the layer obeys it."""
    return 0.0 if rate == 1 and not unit._drops_all else rate


def make_torch_module(build: GraphBuilder, unit: Any, *, masked: bool) -> nn.Module | None:
    """Return torch's module of a unit with its weights, None if a loop is needed."""
    kind = find_torch_kind(unit)
    if kind is None:
        return None
    masked = masked or (build.is_shared and build.has_masks)
    kernel, recurrent, bias, second = get_torch_weights(unit)
    options = {"nonlinearity": "relu"} if unit.activation is activations.relu else {}
    size, units = kernel.shape[1], unit.units
    flags: Any = {"bias": bias is not None, "batch_first": True, "device": "meta", **options}
    module: nn.Module = _TORCH[kind][masked](size, units, **flags)
    set_unit_weights(module, unit, "_l0", kernel, recurrent, bias, second)
    return module


def set_unit_weights(
    module: nn.Module, unit: Any, suffix: str, kernel: Any, recurrent: Any, bias: Any, second: Any
) -> None:
    """Give a module of torch the weights of a unit; a second bias of 0 stays 0."""
    frozen = not unit.trainable
    names = ("weight_ih", "weight_hh", "bias_ih")
    own = zip(names, (kernel, recurrent, bias), strict=True)
    set_tensors(module, frozen, **{f"{name}{suffix}": tensor for name, tensor in own})
    is_constant = not isinstance(unit, GRUUnit)
    set_tensors(module, frozen or is_constant, **{f"bias_hh{suffix}": second})


def find_torch_kind(unit: Any) -> str | None:
    """Return which module of torch computes what a unit does, None if there is none."""
    drops_states = get_rate(unit, unit.recurrent_dropout) > 0
    if drops_states or (get_rate(unit, unit.dropout) and unit._uses_masks_per_gate()):
        return None
    if isinstance(unit, LSTMUnit) or isinstance(unit, GRUUnit):
        usual = unit.activation is activations.tanh
        usual = usual and unit.recurrent_activation is activations.sigmoid
        if isinstance(unit, LSTMUnit):
            return "lstm" if usual else None
        return "gru" if usual and unit.reset_after else None
    return "rnn" if unit.activation in (activations.tanh, activations.relu) else None


def get_torch_weights(unit: Any) -> tuple[Any, Any, Any, Any]:
    """Return the four weights of torch's module."""
    like = unit._tensor(unit.weight_specs[0].parameter)
    kernel, recurrent, bias = (None if w is None else w.detach() for w in unit._weights(like))
    second = None if bias is None else torch.zeros_like(bias)
    if isinstance(unit, GRUUnit) and bias is not None:
        second = unit._get_second_bias(like).detach()
    return kernel, recurrent, bias, second


def make_loop(build: GraphBuilder, unit: Any) -> nn.Module:
    """Return the printed module of a unit, which computes step after step."""
    like = unit._tensor(unit.weight_specs[0].parameter)
    kernel, recurrent, bias = unit._weights(like)
    options: dict[str, Any] = {"activation": get_activation(build, unit.activation)}
    kind: Any = printed.RNNLoop
    if isinstance(unit, (LSTMUnit, GRUUnit)):
        options["gate_activation"] = get_activation(build, unit.recurrent_activation)
        kind = printed.LSTMLoop
    if isinstance(unit, GRUUnit):
        kind = printed.GRULoop if unit.reset_after else printed.ResetBeforeGRU
    per_gate = unit._uses_masks_per_gate()
    options["dropout"] = get_rate(unit, unit.dropout) if per_gate else 0.0
    options["recurrent_dropout"] = get_rate(unit, unit.recurrent_dropout)
    with torch.device("meta"):
        module: Any = kind(kernel.shape[1], unit.units, bias=bias is not None, **options)
    frozen = not unit.trainable
    if kind is printed.GRULoop and bias is not None:
        set_tensors(module.recurrent, frozen, bias=unit._get_second_bias(like))
    set_tensors(module.input, frozen, weight=kernel, bias=bias)
    set_tensors(module.recurrent, frozen, weight=recurrent)
    return module  # type: ignore[no-any-return]


def get_activation(build: GraphBuilder, activation: Any) -> Callable[..., Any]:
    """Return the function of an activation."""
    found = _ACTIVATIONS.get(activation)
    if found is None:
        build.refuse("its activation is a function of your own")
    return found


def _names(unit: Any) -> str:
    return "hc" if isinstance(unit, LSTMUnit) else "h"
