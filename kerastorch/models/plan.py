"""What a Functional model does at a call: its steps, and where their results are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from .._core.arrays import from_array
from ..graph.spec import Call, ModelSpec, TensorRef, mapped, refs
from ..layers.base.layer import Layer
from .held import Held


class Slot(NamedTuple):
    """The place of a tensor in the list of those that a call of the model has at hand."""

    place: int


class Details(NamedTuple):
    """What a call of a layer needs that is no call inside the model.

    Attributes:
        args: The positional arguments with a Slot in each tensor's place.
        kwargs: The keyword arguments.
        outputs: Which outputs are kept, None for all there is as one, and in which slot.
        again: The modules called before, by their names, that have layers which run here again.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[tuple[int | None, int], ...]
    again: tuple[str, ...]


class Step(NamedTuple):
    """One call of a layer.

    Attributes:
        attribute: The name of the layer's module.
        only: The slots in the only argument, where that is a tensor or a list of tensors; else
            None, and where `details.again` has any.
        is_list: Whether that argument is a list.
        whole: The slot of the output where that is one tensor and the only one kept; else None.
        dead: The slots that no later step needs.
        once: Those of them that no other step needs, either.
        details: What else there is.
    """

    attribute: str
    only: tuple[int, ...] | None
    is_list: bool
    whole: int | None
    dead: tuple[int, ...]
    once: tuple[int, ...]
    details: Details


class Plan(NamedTuple):
    """What a call of the model does.

    Attributes:
        size: The number of slots.
        inputs: The structure of the inputs; their slots come first.
        constants: The arrays in the arguments, and their slots.
        steps: The calls in order.
        outputs: The structure of the outputs.
    """

    size: int
    inputs: Any
    constants: tuple[tuple[int, Tensor], ...]
    steps: tuple[Step, ...]
    outputs: Any


def filled(template: Any, values: Held) -> Any:
    """Return a structure with each Slot replaced by the tensor in its place."""
    if isinstance(template, Slot):
        return values[template.place]
    if isinstance(template, (list, tuple)):
        found = [filled(inner, values) for inner in template]
        return tuple(found) if isinstance(template, tuple) else found
    if isinstance(template, dict):
        return {key: filled(inner, values) for key, inner in template.items()}
    return template


def flat(outputs: Any) -> Iterator[Any]:
    """Yield the tensors of a structure in Keras's order, in which the keys of dicts are sorted."""
    if isinstance(outputs, Mapping):
        for key in sorted(outputs, key=str):
            yield from flat(outputs[key])
    elif isinstance(outputs, (list, tuple)):
        for inner in outputs:
            yield from flat(inner)
    else:
        yield outputs


def plan_of(spec: ModelSpec, attributes: Mapping[str, str], layers: Mapping[str, Any]) -> Plan:
    """Return what a Functional model does at a call.

    Args:
        spec: What its config says.
        attributes: The modules' names by the layers'.
        layers: The modules by the layers' names.
    """
    return _Planner().plan(spec, attributes, layers)


def steps_of(attributes: Mapping[str, str], layers: Mapping[str, nn.Module]) -> tuple[Step, ...]:
    """Return what a Sequential model does at a call: each slot is read into the next.

    Args:
        attributes: The modules' names by the layers'.
        layers: The modules by the layers' names, without inputs.
    """
    return tuple(
        Step(
            attribute=attributes[name],
            only=None if again else (slot,),
            is_list=False,
            whole=slot + 1,
            dead=(slot,),
            once=(slot,),
            details=Details((Slot(slot),), {}, ((None, slot + 1),), again),
        )
        for slot, (name, again) in enumerate(
            zip(layers, _run_again((attributes[n], one) for n, one in layers.items()), strict=True)
        )
    )


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


def layers_in(module: nn.Module) -> Iterator[Layer]:
    """Yield the layers in a module, itself included; one that it has twice may come twice."""
    if isinstance(module, Layer):
        yield module
    for child in module._modules.values():
        if child is not None:
            yield from layers_in(child)


class _Planner:
    def __init__(self) -> None:
        self.slots: dict[TensorRef, int] = {}
        self.constants: list[tuple[int, Tensor]] = []
        self.size = 0

    def slot(self, ref: TensorRef) -> Slot:
        if ref not in self.slots:
            self.slots[ref] = self.new()
        return Slot(self.slots[ref])

    def new(self) -> int:
        self.size += 1
        return self.size - 1

    def template(self, structure: Any) -> Any:
        """Return a structure with a Slot for each tensor and each array."""
        return self._with_constants(mapped(structure, self.slot))

    def _with_constants(self, structure: Any) -> Any:
        if isinstance(structure, Slot):
            return structure
        if isinstance(structure, (np.ndarray, Tensor)):
            tensor = from_array(structure)
            if tensor is not None:
                slot = Slot(self.new())
                self.constants.append((slot.place, tensor))
                return slot
        if isinstance(structure, (list, tuple)):
            found = [self._with_constants(inner) for inner in structure]
            return tuple(found) if isinstance(structure, tuple) else found
        if isinstance(structure, Mapping):
            return {key: self._with_constants(inner) for key, inner in structure.items()}
        return structure

    def plan(
        self, spec: ModelSpec, attributes: Mapping[str, str], layers: Mapping[str, Any]
    ) -> Plan:
        inputs = mapped(spec.inputs, self.slot)
        layers_again = _run_again((attributes[c.layer], layers[c.layer]) for c in spec.calls)
        used = set(refs([[list(call.args), call.kwargs] for call in spec.calls]))
        used |= set(refs(spec.outputs))
        indexes: dict[tuple[str, int], list[int]] = {}
        for ref in sorted(used):
            indexes.setdefault(ref[:2], []).append(ref.index)
        last = self._last_uses(spec)
        reads = Counter(ref for call in spec.calls for ref in _used_by(call))
        steps = []
        for number, (call, again) in enumerate(zip(spec.calls, layers_again, strict=True)):
            args = tuple(self.template(arg) for arg in call.args)
            kwargs = {k: self.template(v) for k, v in call.kwargs.items() if k != "training"}
            only = args[0] if len(args) == 1 and not kwargs else None
            kept = indexes.get((call.layer, call.number), [])
            outputs = tuple(
                (index, self.slot(TensorRef(call.layer, call.number, index)).place)
                for index in kept
            )
            steps.append(
                Step(
                    attribute=attributes[call.layer],
                    only=None if again else _slots(only),
                    is_list=isinstance(only, list),
                    whole=outputs[0][1] if [index for index, _ in outputs] == [0] else None,
                    dead=tuple(self.slots[ref] for ref in last.get(number, ())),
                    once=tuple(self.slots[ref] for ref in last.get(number, ()) if reads[ref] == 1),
                    details=Details(args, kwargs, outputs, again),
                )
            )
        outputs = mapped(spec.outputs, self.slot)
        if isinstance(outputs, list) and len(outputs) == 1:
            outputs = outputs[0]  # as Keras's models do
        return Plan(self.size, inputs, tuple(self.constants), tuple(steps), outputs)

    def _last_uses(self, spec: ModelSpec) -> dict[int, list[TensorRef]]:
        """Return the tensors that a step is the last to use, by the step's number."""
        last: dict[TensorRef, int] = {}
        for number, call in enumerate(spec.calls):
            for ref in _used_by(call):
                last[ref] = number
        for ref in refs(spec.outputs):
            last.pop(ref, None)
        found: dict[int, list[TensorRef]] = {}
        for ref, number in last.items():
            found.setdefault(number, []).append(ref)
        return found


def _slots(argument: Any) -> tuple[int, ...] | None:
    """Return the slots in an argument that is one, or a list of nothing else; else None."""
    if isinstance(argument, Slot):
        return (argument.place,)
    found = argument if isinstance(argument, list) else []
    slots = tuple(one.place for one in found if isinstance(one, Slot))
    return slots if slots and len(slots) == len(found) else None


def _used_by(call: Call) -> Iterator[TensorRef]:
    return refs([list(call.args), call.kwargs])
