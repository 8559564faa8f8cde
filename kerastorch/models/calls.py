"""The plain calls of a model's layers, and the slots of their arguments and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from .._core.arrays import to_tensor
from .._core.errors import argument_error
from .._ops.tracing import is_exporting
from ..graph.spec import ModelSpec, TensorRef, iterate_refs, map_refs
from ..graph.structure import flatten, map_structure
from ..layers.base.layer import Layer


class Slot(NamedTuple):
    """The index of a tensor in the list of values of a run."""

    index: int  # type: ignore[assignment]


class ModuleCall(NamedTuple):
    """One call of a layer.

    Attributes:
        attribute: The name of the layer's module.
        args: The positional arguments with a Slot for each tensor.
        kwargs: The keyword arguments.
        outputs: The index of each output that is used, None for all as one, and its slot.
        again: The modules called before that contain layers which run again in this call.
        inputs: The slots in the only argument, if that is a tensor or a list of tensors and
            `again` is empty; else None.
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


class CallPlan(NamedTuple):
    """What a run of a model computes.

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


def fill_slots(template: Any, values: Sequence[Any]) -> Any:
    """Return a structure with each Slot replaced by its value."""
    if isinstance(template, Slot):
        return values[template.index]
    if isinstance(template, (list, tuple)):
        found = [fill_slots(inner, values) for inner in template]
        return tuple(found) if isinstance(template, tuple) else found
    if isinstance(template, dict):
        return {key: fill_slots(inner, values) for key, inner in template.items()}
    return template


def list_slots(structure: Any) -> tuple[int, ...]:
    """Return the slots in a structure."""
    return tuple(slot.index for slot in flatten(structure, Slot))


def iterate_layers(module: nn.Module) -> Iterator[Layer]:
    """Yield the layers in a module, itself included; shared ones may be repeated."""
    if isinstance(module, Layer):
        yield module
    for child in module._modules.values():
        if child is not None:
            yield from iterate_layers(child)


def call_module(call: ModuleCall, modules: Mapping[str, Any], values: list[Any]) -> None:
    """Call a module, and store the outputs that are used in their slots."""
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
            raise ValueError(argument_error(owner, "outputs", rule, len(parts)))
        values[slot] = parts[index]


def _call_again(call: ModuleCall, modules: Mapping[str, Any], values: list[Any]) -> Any:
    """Call a module with all its arguments; layers that ran before keep their activity losses."""
    kept = _activity_losses(call, modules) if call.again else {}
    found = modules[call.attribute](
        *fill_slots(call.args, values), **fill_slots(call.kwargs, values)
    )
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

    Args:
        attributes: The modules' attributes by layer name.
        layers: The modules in order, without InputLayers.
    """
    again = _find_run_again((attributes[name], layer) for name, layer in layers.items())
    calls = [
        _make_call(attributes[name], (Slot(slot),), {}, ((None, slot + 1),), again[slot])
        for slot, name in enumerate(layers)
    ]
    last = Slot(len(calls))
    return CallPlan(len(calls) + 1, Slot(0), (), _with_last_uses(calls, last), last)


def plan_functional(
    spec: ModelSpec, attributes: Mapping[str, str], layers: Mapping[str, Any]
) -> CallPlan:
    """Return the calls of a Functional model.

    Args:
        spec: The model's config.
        attributes: The modules' attributes by layer name.
        layers: The modules by layer name.
    """
    slots: dict[TensorRef, Slot] = {}
    constants: list[tuple[int, Tensor]] = []

    def slot(ref: TensorRef) -> Slot:
        return slots.setdefault(ref, Slot(len(slots) + len(constants)))

    def to_slot(found: Any) -> Any:
        if isinstance(found, TensorRef):
            return slot(found)
        tensor = to_tensor(found)
        if tensor is None:
            return found
        constants.append((len(slots) + len(constants), tensor))
        return Slot(constants[-1][0])

    inputs = map_refs(spec.inputs, slot)
    again = _find_run_again((attributes[call.layer], layers[call.layer]) for call in spec.calls)
    used = {
        *iterate_refs([[list(call.args), call.kwargs] for call in spec.calls]),
        *iterate_refs(spec.outputs),
    }
    indexes: dict[tuple[str, int], list[int]] = {}
    for ref in sorted(used):
        indexes.setdefault(ref[:2], []).append(ref.index)
    calls = []
    for call, before in zip(spec.calls, again, strict=True):
        given = {name: value for name, value in call.kwargs.items() if name != "training"}
        leaves = (TensorRef, np.ndarray, Tensor)
        args, kwargs = map_structure(to_slot, (tuple(call.args), given), leaves)
        outputs = tuple(
            (index, slot(TensorRef(call.layer, call.number, index)).index)
            for index in indexes.get((call.layer, call.number), [])
        )
        calls.append(_make_call(attributes[call.layer], args, kwargs, outputs, before))
    found = map_refs(spec.outputs, slot)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]  # as Keras's models do
    size = len(slots) + len(constants)
    return CallPlan(size, inputs, tuple(constants), _with_last_uses(calls, found), found)


def _make_call(
    attribute: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    outputs: tuple[tuple[int | None, int], ...],
    again: tuple[str, ...],
) -> ModuleCall:
    only = args[0] if len(args) == 1 and not kwargs and not again else None
    is_list = isinstance(only, list)
    tensors: Any = only if is_list else [only]
    direct = bool(tensors) and all(isinstance(one, Slot) for one in tensors)
    inputs = tuple(one.index for one in tensors) if direct else None
    reads = list_slots([list(args), kwargs])
    return ModuleCall(attribute, args, kwargs, outputs, again, inputs, is_list, reads, ())


def _with_last_uses(calls: Sequence[ModuleCall], outputs: Any) -> tuple[ModuleCall, ...]:
    dead = find_last_uses([call.reads for call in calls], list_slots(outputs))
    return tuple(call._replace(dead=slots) for call, slots in zip(calls, dead, strict=True))


def find_last_uses(reads: Sequence[Sequence[int]], kept: Sequence[int]) -> list[tuple[int, ...]]:
    """Return, of the slots that each step reads, those that neither a later step nor `kept` has."""
    last = {slot: n for n, slots in enumerate(reads) for slot in slots}
    return [
        tuple(slot for slot in dict.fromkeys(slots) if last[slot] == n and slot not in kept)
        for n, slots in enumerate(reads)
    ]


def _find_run_again(modules: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, ...]]:
    """Return, for each module in order, the modules in which its layers first ran before."""
    first: dict[Layer, str] = {}
    found = []
    for name, module in modules:
        layers = list(iterate_layers(module))
        found.append(tuple(dict.fromkeys(first[layer] for layer in layers if layer in first)))
        for layer in layers:
            first.setdefault(layer, name)
    return found
