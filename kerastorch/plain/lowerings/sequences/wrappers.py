"""Bidirectional and TimeDistributed."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch

from .... import activations
from ....activations.functions import ELEMENTWISE
from ....layers.activation.activation import ELU, Activation, LeakyReLU, ReLU
from ....layers.core.dense import Dense
from ....layers.core.embedding import Embedding
from ....layers.core.identity import Identity
from ....layers.normalization.batch_norm import BatchNormalization
from ....layers.recurrent.gru import GRU
from ....layers.recurrent.lstm import LSTM
from ....layers.recurrent.simple_rnn import SimpleRNN
from ....layers.regularization.dropout import Dropout
from ....layers.wrappers.bidirectional import Bidirectional
from ....layers.wrappers.time_distributed import TimeDistributed
from ...graph import GraphBuilder, Value
from ...masking import cast_mask
from ...printed import modules as printed
from ...registry import lowers
from .recurrent import (
    _TORCH,
    find_torch_kind,
    finish_sequence,
    get_torch_weights,
    list_units,
    name_states,
    run_units,
    set_unit_weights,
    stack_state,
    zero_outside,
)

# Layers that treat all steps alike when they get the whole sequence.
_OF_ANY_RANK = (Dense, Activation, ReLU, LeakyReLU, ELU, Embedding, Identity)


@lowers(Bidirectional, takes_masks=True)
def lower_bidirectional(
    build: GraphBuilder, layer: Bidirectional, x: Value, initial_state: Any = None, mask: Any = None
) -> Any:
    """Both directions by one module of torch where that computes the same, otherwise by two."""
    forward, backward = layer.forward_layer, layer.backward_layer
    if layer.stateful:
        build.refuse("it is stateful: its states go from call to call")
    mask = None if mask is None else cast_mask(build, mask)
    states = None if initial_state is None else list(initial_state)
    if _is_one_module(layer, masked=mask is not None, with_states=states is not None):
        return _run_both(build, layer, x, states, mask)
    half = len(states or ()) // 2
    starts = (None, None) if states is None else (states[:half], states[half:])
    found = []
    for one, start, name in zip((forward, backward), starts, ("forward", "backward"), strict=True):
        own, steps = x, mask
        if one.go_backwards:
            own = build.method("flip", x, 1)
            steps = None if mask is None else build.name(build.method("flip", mask, 1), "mask")
        sequence = run_units(build, list_units(build, one), own, start, steps, name)
        found.append(finish_sequence(build, one, sequence, steps))
    one, other = found
    inner: list[Value] = []
    if layer.return_state:
        inner = [*one[1:], *other[1:]]
        one, other = one[0], other[0]
    if layer.return_sequences:
        other = build.method("flip", other, 1)
    merged = _merge(build, layer.merge_mode, one, other)
    return [*merged, *inner] if len(merged) + len(inner) > 1 else merged[0]


def _is_one_module(layer: Bidirectional, *, masked: bool, with_states: bool) -> bool:
    """Return whether torch's bidirectional module computes what both layers do."""
    forward, backward = layer.forward_layer, layer.backward_layer
    kinds = [type(one) for one in (forward, backward)]
    if kinds[0] is not kinds[1] or kinds[0] not in (LSTM, GRU, SimpleRNN):
        return False
    if layer.merge_mode != "concat" or forward.go_backwards:
        return False
    if masked and with_states and not layer.return_sequences:
        return False  # without any step the output is 0, but the last state is the first one
    names = ("units", "activation", "use_bias", "dropout", "trainable")
    alike = all(getattr(forward, name) == getattr(backward, name) for name in names)
    known = find_torch_kind(forward)
    same = known is not None and known == find_torch_kind(backward)
    return alike and same and not forward.dropout


def _run_both(build: GraphBuilder, layer: Bidirectional, x: Value, states: Any, mask: Any) -> Any:
    forward, backward = layer.forward_layer, layer.backward_layer
    kind: Any = find_torch_kind(forward)
    weights = [get_torch_weights(one) for one in (forward, backward)]
    is_masked = mask is not None or (build.is_shared and build.has_masks)
    options: Any = {"nonlinearity": "relu"} if forward.activation is activations.relu else {}
    options |= {"bias": forward.use_bias, "batch_first": True, "bidirectional": True}
    module = _TORCH[kind][is_masked](
        weights[0][0].shape[1], forward.units, device="meta", **options
    )
    for unit, own, suffix in zip((forward, backward), weights, ("_l0", "_l0_reverse"), strict=True):
        set_unit_weights(module, unit, suffix, *own)
    arguments: list[Any] = [x]
    if states is not None:
        arguments.append(_stack_states(build, states, kind))
    given = {} if mask is None else {"mask": mask}
    y, last = build.unpack(build.module(module, *arguments, **given), 2)
    parts = name_states(build, build.unpack(last, 2) if kind == "lstm" else [last])
    ends = [[build.function(operator.getitem, one, n) for one in parts] for n in (0, 1)]
    if not layer.return_sequences:
        y = build.function(torch.cat, [ends[0][0], ends[1][0]], dim=-1)
    elif mask is not None:
        y = zero_outside(build, y, mask)
    return [y, *ends[0], *ends[1]] if layer.return_state else y


def _stack_states(build: GraphBuilder, states: list[Value], kind: str) -> Any:
    """Return the first states of both directions as torch takes them."""
    half = len(states) // 2
    stacked = []
    for one, other in zip(states[:half], states[half:], strict=True):
        both = [stack_state(build, one).node, stack_state(build, other).node]
        if both[0] is both[1]:  # the last states of another bidirectional layer
            stacked.append(Value(both[0], (2, *one.shape)))
        else:
            stacked.append(build.function(torch.stack, [one, other]))
    return tuple(stacked) if kind == "lstm" else stacked[0]


def _merge(build: GraphBuilder, mode: str | None, y: Value, back: Value) -> list[Value]:
    if mode is None:
        return [y, back]
    if mode == "concat":
        return [build.function(torch.cat, [y, back], dim=-1)]
    merged = build.function(operator.mul if mode == "mul" else operator.add, y, back)
    return [build.function(operator.truediv, merged, 2) if mode == "ave" else merged]


@lowers(TimeDistributed, layout="any", takes_masks=True)
def lower_time_distributed(
    build: GraphBuilder, layer: TimeDistributed, x: Value, mask: Any = None
) -> Any:
    """A layer called on each step: on all steps as one batch, where it cannot tell."""
    inner: Any = layer.layer
    if mask is not None and layer._layer_takes_masks():
        if not isinstance(mask, Value) or mask.rank < 3:
            build.refuse("the layer inside has a mask of its own")
        mask = build.name(build.method("flatten", cast_mask(build, mask), 0, 1), "mask")
    else:
        mask = None
    if type(inner) is BatchNormalization and inner.trainable and not layer.keras_2:
        return _normalize_each_step(build, inner, x)
    _require_alike(build, layer)
    if _takes_any_rank(inner) and not build.has_merged_steps(x):
        return build.inner(inner, build.as_in_keras(x))
    steps = x.shape[1]
    batch = build.merge_steps(x)
    given = {} if mask is None else {"mask": mask}
    found = build.inner(inner, batch, **given)
    if isinstance(found, list):
        return [build.split_steps(one, steps, x) for one in found]
    return build.split_steps(found, steps, x)


def _normalize_each_step(build: GraphBuilder, inner: BatchNormalization, x: Value) -> Value:
    """Normalize one step after the other: each has batch statistics of its own in training."""
    steps = x.shape[1]
    for target in build.list_targets():  # of an earlier call
        known: Any = build.modules[target]
        build.modules[target] = known.module if type(known) is printed.EachStep else known
    if x.rank == 3:
        x = build.as_in_keras(x)
        step = replace(x, shape=(x.shape[0], x.shape[2]))
        y: Value = build.inner(inner, step)
        _wrap_in_steps(build, y)
        return y
    if steps is None:
        build.refuse("the layer inside normalizes each step by its own statistics in training")
    y = build.inner(inner, build.merge_steps(x))
    node: Any = y.node
    with build.graph.inserting_before(node):
        split = build.graph.call_method("unflatten", (node.args[0], 0, (-1, steps)))
    node.args = (split,)
    _wrap_in_steps(build, y)
    merged = replace(build.method("flatten", y, 0, 1), shape=y.shape)
    return build.split_steps(merged, steps, x)


def _wrap_in_steps(build: GraphBuilder, y: Value) -> None:
    target, kind = str(y.node.target), printed.EachStep
    if type(build.modules[target]) is not kind:
        wrapped: Any = kind
        build.modules[target] = wrapped(build.modules[target])


def _takes_any_rank(inner: Any) -> bool:
    """Return whether a layer computes the same of the whole sequence."""
    if type(inner) is Activation and inner.activation not in ELEMENTWISE:
        return False
    if type(inner) is Dense:
        return inner.activation in ELEMENTWISE or inner.activation is activations.softmax
    return type(inner) in _OF_ANY_RANK or (type(inner) is Dropout and inner.noise_shape is None)


def _require_alike(build: GraphBuilder, layer: TimeDistributed) -> None:
    """Refuse layers for which all steps as one batch are not the same in training."""
    if layer.keras_2:
        return
    for module in layer.layer.modules():
        if isinstance(module, BatchNormalization) and module.trainable:
            build.refuse("the layer inside normalizes each step by its own statistics in training")
        if getattr(module, "noise_shape", None) is not None:
            build.refuse("the layer inside has a noise_shape")
