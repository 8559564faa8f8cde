"""The calls of a model's layers, and the slots that their arguments and outputs are kept in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from .._core.arrays import from_array
from .._core.errors import problem
from .._ops.tracing import is_exporting
from ..graph.spec import ModelSpec, TensorRef, mapped, refs
from ..layers.base.layer import Layer


class Slot(NamedTuple):
    """Where a tensor is kept: its index in the list of values of a call of the model."""

    index: int  # type: ignore[assignment]


class ModuleCall(NamedTuple):
    """One call of a layer.

    Attributes:
        attribute: The name of the layer's module.
        args: The positional arguments with a Slot for each tensor.
        kwargs: The keyword arguments.
        outputs: Which outputs are kept, None for all as one, and in which slot.
        again: The modules called before, by their names, that have layers which run here again.
        inputs: The slots in the only argument, where that is a tensor or a list of tensors; else
            None, and where `again` has any.
        is_list: Whether that argument is a list.
        reads: The slots in all arguments.
        dead: The slots that no later call reads.
    """

    attribute: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[tuple[int | None, int], ...]
    again: tuple[str, ...]
    inputs: tuple[int, ...] | None
    is_list: bool
    reads: tuple[int, ...]
    dead: tuple[int, ...]


class Calls(NamedTuple):
    """What a call of a model does.

    Attributes:
        size: The number of slots.
        inputs: The structure of the inputs; their slots come first.
        constants: The arrays in the arguments, and their slots.
        calls: The calls of layers in order.
        outputs: The structure of the outputs.
    """

    size: int
    inputs: Any
    constants: tuple[tuple[int, Tensor], ...]
    calls: tuple[ModuleCall, ...]
    outputs: Any


def fill(template: Any, values: Sequence[Any]) -> Any:
    """Return a structure with each Slot replaced by its value."""
    if isinstance(template, Slot):
        return values[template.index]
    if isinstance(template, (list, tuple)):
        found = [fill(inner, values) for inner in template]
        return tuple(found) if isinstance(template, tuple) else found
    if isinstance(template, dict):
        return {key: fill(inner, values) for key, inner in template.items()}
    return template


def flatten(structure: Any) -> Iterator[Any]:
    """Yield the leaves of a structure in Keras's order, in which the keys of dicts are sorted."""
    if isinstance(structure, Mapping):
        for key in sorted(structure, key=str):
            yield from flatten(structure[key])
    elif isinstance(structure, (list, tuple)) and not isinstance(structure, Slot):
        for inner in structure:
            yield from flatten(inner)
    else:
        yield structure


def slots_in(structure: Any) -> tuple[int, ...]:
    """Return the slots in a structure."""
    return tuple(one.index for one in flatten(structure) if isinstance(one, Slot))


def layers_in(module: nn.Module) -> Iterator[Layer]:
    """Yield the layers in a module, itself included; one that it has twice may come twice."""
    if isinstance(module, Layer):
        yield module
    for child in module._modules.values():
        if child is not None:
            yield from layers_in(child)


def call_module(call: ModuleCall, modules: Mapping[str, Any], values: list[Any]) -> None:
    """Call a module, and put the outputs that are kept into their slots."""
    module, inputs = modules[call.attribute], call.inputs
    if inputs is None:
        y = _call_again(call, modules, values)
    else:
        y = module([values[slot] for slot in inputs] if call.is_list else values[inputs[0]])
    for index, slot in call.outputs:
        if index is None or (index == 0 and isinstance(y, Tensor)):
            values[slot] = y
            continue
        parts = [y] if isinstance(y, Tensor) else list(flatten(y))
        if index >= len(parts):
            owner, rule = type(module).__name__, f"{index + 1} at least"
            raise ValueError(problem(owner, "outputs", rule, len(parts)))
        values[slot] = parts[index]


def _call_again(call: ModuleCall, modules: Mapping[str, Any], values: list[Any]) -> Any:
    """Call a module with all its arguments; layers that have run keep their activity terms."""
    kept = _activity_losses(call, modules) if call.again else {}
    found = modules[call.attribute](
        *[fill(one, values) for one in call.args], **fill(call.kwargs, values)
    )
    if not is_exporting():  # nothing was added to them
        for layer, terms in kept.items():
            layer._activity_losses[:0] = terms
    return found


def _activity_losses(call: ModuleCall, modules: Mapping[str, Any]) -> dict[Layer, list[Tensor]]:
    """Return the activity terms of the layers in a module that ran in one of others before."""
    terms = {one: one._activity_losses for one in layers_in(modules[call.attribute])}
    found = {layer: own[:] for layer, own in terms.items() if own}
    if not found or call.attribute in call.again:
        return found
    before = {layer for name in call.again for layer in layers_in(modules[name])}
    return {layer: own for layer, own in found.items() if layer in before}


def plan_sequential(attributes: Mapping[str, str], layers: Mapping[str, nn.Module]) -> Calls:
    """Return what a Sequential model does: each call reads the output of the one before.

    Args:
        attributes: The modules' names by the layers'.
        layers: The modules by the layers' names, without inputs.
    """
    again = _run_again((attributes[name], layer) for name, layer in layers.items())
    calls = [
        _call(attributes[name], (Slot(slot),), {}, ((None, slot + 1),), again[slot])
        for slot, name in enumerate(layers)
    ]
    last = Slot(len(calls))
    return Calls(len(calls) + 1, Slot(0), (), _with_last_uses(calls, last), last)


def plan_functional(
    spec: ModelSpec, attributes: Mapping[str, str], layers: Mapping[str, Any]
) -> Calls:
    """Return what a Functional model does.

    Args:
        spec: What its config says.
        attributes: The modules' names by the layers'.
        layers: The modules by the layers' names.
    """
    slots: dict[TensorRef, Slot] = {}
    constants: list[tuple[int, Tensor]] = []

    def slot(ref: TensorRef) -> Slot:
        return slots.setdefault(ref, Slot(len(slots) + len(constants)))

    def with_constants(structure: Any) -> Any:
        if isinstance(structure, (np.ndarray, Tensor)):
            tensor = from_array(structure)
            if tensor is not None:
                constants.append((len(slots) + len(constants), tensor))
                return Slot(constants[-1][0])
        if isinstance(structure, (list, tuple)) and not isinstance(structure, Slot):
            found = [with_constants(inner) for inner in structure]
            return tuple(found) if isinstance(structure, tuple) else found
        if isinstance(structure, Mapping):
            return {key: with_constants(inner) for key, inner in structure.items()}
        return structure

    inputs = mapped(spec.inputs, slot)
    again = _run_again((attributes[call.layer], layers[call.layer]) for call in spec.calls)
    used = {*refs([[list(call.args), call.kwargs] for call in spec.calls]), *refs(spec.outputs)}
    indexes: dict[tuple[str, int], list[int]] = {}
    for ref in sorted(used):
        indexes.setdefault(ref[:2], []).append(ref.index)
    calls = []
    for call, before in zip(spec.calls, again, strict=True):
        args = with_constants(mapped(call.args, slot))
        given = {name: value for name, value in call.kwargs.items() if name != "training"}
        kwargs = with_constants(mapped(given, slot))
        outputs = tuple(
            (index, slot(TensorRef(call.layer, call.number, index)).index)
            for index in indexes.get((call.layer, call.number), [])
        )
        calls.append(_call(attributes[call.layer], args, kwargs, outputs, before))
    found = mapped(spec.outputs, slot)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]  # as Keras's models do
    size = len(slots) + len(constants)
    return Calls(size, inputs, tuple(constants), _with_last_uses(calls, found), found)


def _call(
    attribute: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    outputs: tuple[tuple[int | None, int], ...],
    again: tuple[str, ...],
) -> ModuleCall:
    only = args[0] if len(args) == 1 and not kwargs and not again else None
    is_list = isinstance(only, list)
    tensors: list[Any] = only if isinstance(only, list) else [only]
    alone = bool(tensors) and all(isinstance(one, Slot) for one in tensors)
    inputs = tuple(one.index for one in tensors) if alone else None
    reads = slots_in([list(args), kwargs])
    return ModuleCall(attribute, args, kwargs, outputs, again, inputs, is_list, reads, ())


def _with_last_uses(calls: Sequence[ModuleCall], outputs: Any) -> tuple[ModuleCall, ...]:
    dead = last_uses([call.reads for call in calls], slots_in(outputs))
    return tuple(call._replace(dead=slots) for call, slots in zip(calls, dead, strict=True))


def last_uses(reads: Sequence[Sequence[int]], kept: Sequence[int]) -> list[tuple[int, ...]]:
    """Return, for the slots that each step reads, those of them that no later step reads.

    Args:
        reads: The slots.
        kept: Those that are read at the end.
    """
    last = {slot: n for n, slots in enumerate(reads) for slot in slots}
    return [
        tuple(slot for slot in dict.fromkeys(slots) if last[slot] == n and slot not in kept)
        for n, slots in enumerate(reads)
    ]


def _run_again(modules: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, ...]]:
    """Return, for modules that run one after the other, where the layers in each ran before."""
    first: dict[Layer, str] = {}
    found = []
    for name, module in modules:
        layers = list(layers_in(module))
        found.append(tuple(dict.fromkeys(first[layer] for layer in layers if layer in first)))
        for layer in layers:
            first.setdefault(layer, name)
    return found
