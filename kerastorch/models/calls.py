"""The plain calls of a model's layers, and the slots of their arguments and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from .._core.arrays import to_tensor
from .._core.errors import argument_error
from .._ops.tracing import is_exporting
from ..graph.slots import Slot, fill_slots, list_slots
from ..graph.spec import ModelSpec, TensorRef, iterate_refs, map_refs
from ..graph.structure import flatten, map_structure
from ..layers.base.layer import Layer
from .masks import (
    Masks,
    add_masks,
    carries_masks,
    creates_mask,
    drop_carried_masks,
    get_first_argument,
    name_arguments,
    store_masks,
)

CONSTANT = "_constant_"  # prefix of the buffers for arrays in the config, before the slot


class ModuleCall(NamedTuple):
    """One call of a layer; its arguments have a Slot for each tensor."""

    attribute: str  # the name of the layer's module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[tuple[int | None, int], ...]  # index, None for all as one; slot
    again: tuple[str, ...]  # the modules called before whose layers run again in this call
    # The slots of the only argument, if it is a tensor or a list of them and nothing runs again
    inputs: tuple[int, ...] | None
    is_list: bool  # whether that argument is a list
    reads: tuple[int, ...]  # the slots in all arguments
    dead: tuple[int, ...]  # the slots that no later call reads
    keras_2: bool = False  # whether a file of Keras 1 or 2 says so


class CallPlan(NamedTuple):
    """What a run of a model computes."""

    size: int  # the number of slots
    inputs: Any  # their structure, of the first slots
    constants: tuple[tuple[int, str, Tensor], ...]  # slot, name of the buffer, array
    calls: tuple[ModuleCall, ...]  # in order
    outputs: Any  # their structure


def has_mask(call: ModuleCall) -> bool:
    """Return whether a call has a mask of its own, which then may be that of the output, too."""
    return call.kwargs.get("mask") is not None


def iterate_layers(module: nn.Module) -> Iterator[Layer]:
    """Yield the layers in a module, itself included; shared ones may be repeated."""
    if isinstance(module, Layer):
        yield module
    for child in module._modules.values():
        if child is not None:
            yield from iterate_layers(child)


def call_module(
    call: ModuleCall, modules: Mapping[str, Any], values: list[Any], masks: Masks
) -> None:
    """Call a module, and store the outputs that are used in their slots, and their masks."""
    module, inputs = modules[call.attribute], call.inputs
    if has_mask(call) or any(slot in masks for slot in call.reads) or creates_mask(module):
        y = _call_with_masks(call, modules, values, masks)
    elif inputs is None:
        y = _call_again(call, modules, *fill_slots((call.args, call.kwargs), values))
    else:
        y = module([values[slot] for slot in inputs] if call.is_list else values[inputs[0]])
    for index, slot in call.outputs:
        if index is None or (index == 0 and isinstance(y, Tensor)):
            values[slot] = y
            continue
        parts = [y] if isinstance(y, Tensor) else list(flatten(y))
        if index >= len(parts):
            owner, rule = type(module).__name__, f"{index + 1} at least"
            raise ValueError(argument_error(owner, "outputs", rule, len(parts)))
        values[slot] = parts[index]


def _call_with_masks(
    call: ModuleCall, modules: Mapping[str, Any], values: list[Any], masks: Masks
) -> Any:
    """Call a module with the masks of its inputs; store those of its outputs."""
    module = modules[call.attribute]
    found: Any = []
    args, kwargs = fill_slots((call.args, call.kwargs), values)
    templates = call.args, call.kwargs
    mask = add_masks(module, templates, kwargs, masks, keras_2=call.keras_2)
    if carries_masks(module):
        y = _call_again(call, modules, args, {**kwargs, "output_masks": found})
        found = found[0]
    else:
        y = _call_again(call, modules, args, kwargs)
        if hasattr(module, "compute_mask"):
            first = args[0] if args else kwargs[get_first_argument(module)]
            found = module.compute_mask(first, mask, **_list_options(module, args, kwargs))
    store_masks(call.outputs, found, masks)
    return y


def _list_options(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call on which the output's mask depends."""
    options: tuple[str, ...] = getattr(module, "call_options", ())
    given = {**name_arguments(module.call_arguments, args[1:]), **kwargs} if options else {}
    return {name: given[name] for name in options if name in given}


def _call_again(
    call: ModuleCall, modules: Mapping[str, Any], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    """Call a module with all its arguments; layers that ran before keep their activity losses."""
    kept = _activity_losses(call, modules) if call.again else {}
    found = modules[call.attribute](*args, **kwargs)
    if not is_exporting():  # which records none
        for layer, terms in kept.items():
            layer._activity_losses[:0] = terms
    return found


def _activity_losses(call: ModuleCall, modules: Mapping[str, Any]) -> dict[Layer, list[Tensor]]:
    """Return the activity losses of a module's layers that ran before in this run."""
    terms = {one: one._activity_losses for one in iterate_layers(modules[call.attribute])}
    found = {layer: own[:] for layer, own in terms.items() if own}
    if not found or call.attribute in call.again:
        return found
    before = {layer for name in call.again for layer in iterate_layers(modules[name])}
    return {layer: own for layer, own in found.items() if layer in before}


def plan_sequential(attributes: Mapping[str, str], layers: Mapping[str, nn.Module]) -> CallPlan:
    """Return the calls of a Sequential model: each layer reads the previous one's output.

    `attributes` and `layers` are by the name of the layer; InputLayers are left out.
    """
    drafts = [
        _Draft(attributes[name], layer, (Slot(slot),), {}, ((None, slot + 1),), False)
        for slot, (name, layer) in enumerate(layers.items())
    ]
    last = Slot(len(drafts))
    return CallPlan(len(drafts) + 1, Slot(0), (), _complete_calls(drafts, last), last)


def plan_functional(
    spec: ModelSpec, attributes: Mapping[str, str], layers: Mapping[str, Any]
) -> CallPlan:
    """Return the calls of a Functional model; `attributes` and `layers` are by layer name."""
    slots: dict[TensorRef, Slot] = {}
    constants: list[tuple[int, str, Tensor]] = []

    def slot(ref: TensorRef) -> Slot:
        return slots.setdefault(ref, Slot(len(slots) + len(constants)))

    def to_slot(found: Any) -> Any:
        if isinstance(found, TensorRef):
            return slot(found)
        tensor = to_tensor(found)
        if tensor is None:
            return found
        index = len(slots) + len(constants)
        constants.append((index, f"{CONSTANT}{index}", tensor))
        return Slot(index)

    inputs = map_refs(spec.inputs, slot)
    used: dict[tuple[str, int], list[TensorRef]] = {}
    arguments = [call.arguments for call in spec.calls]
    for ref in sorted({*iterate_refs([arguments, spec.outputs])}):
        used.setdefault(ref[:2], []).append(ref)
    keras_2 = {layer.name for layer in spec.layers if layer.keras_2}
    drafts = []
    for call in spec.calls:
        given = {name: value for name, value in call.kwargs.items() if name != "training"}
        leaves = (TensorRef, np.ndarray, Tensor)
        args, given = drop_carried_masks(layers[call.layer], call.args, given)
        args, kwargs = map_structure(to_slot, (args, given), leaves)
        written = used.get((call.layer, call.number), [])
        outputs = tuple((ref.index, slot(ref).index) for ref in written)
        layer = attributes[call.layer], layers[call.layer]
        drafts.append(_Draft(*layer, args, kwargs, outputs, call.layer in keras_2))
    found = map_refs(spec.outputs, slot)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]  # as Keras's models do
    size, calls = len(slots) + len(constants), _complete_calls(drafts, found)
    return CallPlan(size, inputs, tuple(constants), calls, found)


class _Draft(NamedTuple):
    """A call without what follows from the other calls; see `ModuleCall`."""

    attribute: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[tuple[int | None, int], ...]
    keras_2: bool


def _complete_calls(drafts: Sequence[_Draft], outputs: Any) -> tuple[ModuleCall, ...]:
    """Return the calls of a model, of which these are the outputs."""
    all_reads = [list_slots([draft.args, draft.kwargs]) for draft in drafts]
    last_uses = find_last_uses(all_reads, list_slots(outputs))
    first: dict[Layer, str] = {}  # layer -> the module in which it runs first
    calls = []
    for draft, reads, dead in zip(drafts, all_reads, last_uses, strict=True):
        attribute, module, args, kwargs, written, keras_2 = draft
        layers = list(iterate_layers(module))
        again = tuple(dict.fromkeys(first[layer] for layer in layers if layer in first))
        for layer in layers:
            first.setdefault(layer, attribute)
        only = args[0] if len(args) == 1 and not kwargs and not again else None
        is_list = isinstance(only, list)
        tensors: Any = only if is_list else [only]
        is_direct = bool(tensors) and all(isinstance(one, Slot) for one in tensors)
        inputs = reads if is_direct else None
        calls.append(
            ModuleCall(
                *(attribute, args, kwargs, written, again, inputs, is_list, reads, dead, keras_2)
            )
        )
    return tuple(calls)


def find_last_uses(reads: Sequence[Sequence[int]], kept: Sequence[int]) -> list[tuple[int, ...]]:
    """Return, of the slots that each step reads, those that neither a later step nor `kept` has."""
    last = {slot: n for n, slots in enumerate(reads) for slot in slots}
    return [
        tuple(slot for slot in dict.fromkeys(slots) if last[slot] == n and slot not in kept)
        for n, slots in enumerate(reads)
    ]
