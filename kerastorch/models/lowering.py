"""Lowering: decide once about a model what a run need not decide.

- Feature maps stay (batch, channels, *spatial) between layers.
- An activation, a sum or a product overwrites an input that nothing reads afterwards, in training
  only if nothing else reads it and no gradient needs it.
- A convolution or a pooling does the padding of the ZeroPadding2D before it.

This applies to layers of exactly the classes of `kerastorch.layers`, without hooks or an activity
regularizer, on inputs of their compute dtype. All other layers are called plainly, and so are all
layers of a model in which there are masks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST, permute_axes
from .._core.registry import is_registered as is_registered_class
from ..graph.slots import list_slots
from .calls import CallPlan, ModuleCall, find_last_uses, has_mask
from .masks import carries_masks, creates_mask
from .program import WITH_GRADIENTS, WITHOUT_GRADIENTS, Instruction, Options, Program, has_hooks


class ValueFacts(NamedTuple):
    """What is known about a value."""

    rank: int
    dtype: torch.dtype
    overwritable: frozenset[int] = frozenset()  # in these modes, by its only reader
    nonnegative: bool = False  # whether no element is below 0


def is_registered(module: Any) -> bool:
    """Return whether a module's class is one of `kerastorch.layers` and no subclass."""
    return is_registered_class(type(module))


class Lowering:
    """Makes the program for plain calls, the current modules and what is known of the inputs."""

    def __init__(
        self, plan: CallPlan, modules: Mapping[str, Any], inputs: Sequence[ValueFacts | None]
    ) -> None:
        self.plan, self.modules = plan, modules
        self.facts = {slot: facts for slot, facts in enumerate(inputs) if facts is not None}
        self.instructions: list[Instruction] = []
        self.available = set(range(plan.size))  # slots, or slot + size with channels as axis 1
        self.outputs = list_slots(plan.outputs)
        self.reads = Counter(slot for call in plan.calls for slot in call.reads)
        self.reads.update(self.outputs)
        self.last = {slot: n for n, call in enumerate(plan.calls) for slot in call.reads}
        self.held = set(self.outputs)  # slots whose value is kept, or part of another value
        self.padded: dict[int, tuple[int, tuple[int, ...]]] = {}  # output -> input and padding
        self.deferred: list[tuple[int, int]] = []

    def make_program(self) -> Program:
        """Return the program."""
        for number, call in enumerate(self.plan.calls):
            layer = self.modules.get(call.attribute)
            is_lowered = self.may_compute(call, layer) and (
                self.defer_padding(number, call, layer) or self.add_compute(number, call, layer)
            )
            if not is_lowered:
                self.add_call(number, call)
        for slot in self.outputs:
            self.add_move(len(self.plan.calls), slot, False)
        dead = find_last_uses([one.inputs for one in self.instructions], self.outputs)
        steps = [one._replace(dead=d) for one, d in zip(self.instructions, dead, strict=True)]
        names = dict.fromkeys(call.attribute for call in self.plan.calls)
        modules: dict[str, Any] = {name: self.modules.get(name) for name in names}
        masked = any(map(creates_mask, modules.values()))
        masked = masked or any(has_mask(call) for call in self.plan.calls)
        if masked or all(one.attribute is None for one in steps):
            steps = []
        inside = () if masked else (name for name, one in modules.items() if carries_masks(one))
        own = {name: one for name, one in modules.items() if is_registered(one)}
        layers = tuple((name, one._state, self.has_user_hooks(one)) for name, one in own.items())
        others = tuple((name, type(one)) for name, one in modules.items() if name not in own)
        return Program(
            *(self.plan.size, tuple(steps), layers, others, tuple(inside), tuple(self.deferred))
        )

    @staticmethod
    def has_user_hooks(module: Any) -> bool:
        """Return whether a module has hooks, apart from a lazy layer's own."""
        return has_hooks(module) and module.built

    def may_compute(self, call: ModuleCall, layer: Any) -> bool:
        """Return whether the class of a layer alone defines what this call computes."""
        return (
            call.inputs is not None
            and is_registered(layer)
            and layer._compiled_call_impl is None
            and "forward" not in vars(layer)
            and layer.activity_regularizer is None
            and layer._is_lowerable()
            and not self.has_user_hooks(layer)
            and call.is_list is layer.takes_list
            and (not call.is_list or len(call.reads) > 1)
            and len(call.outputs) == 1
            and call.outputs[0][0] in (None, 0)
        )

    def add_call(self, number: int, call: ModuleCall) -> None:
        """Make a plain call, on values in Keras's layout."""
        for slot in dict.fromkeys(call.reads):
            self.add_move(number, slot, False)
        self.held.update(call.reads)
        self.instructions.append(Instruction(number, call, inputs=call.reads))

    def add_move(self, number: int, slot: int, first: bool) -> int:
        """Return the slot of a value with channels as axis 1, or in Keras's layout."""
        size = self.plan.size
        target = slot + size if first else slot
        if target not in self.available:
            self.available.add(target)
            source, orders = (slot, CHANNELS_FIRST) if first else (slot + size, CHANNELS_LAST)
            function = partial(permute_axes, dims=orders[self.facts[slot].rank - 2])
            self.instructions.append(
                Instruction(number, function=function, inputs=(source,), output=target)
            )
        return target

    def add_compute(self, number: int, call: ModuleCall, layer: Any) -> bool:
        """Run a layer's `_compute` if possible; return whether it is."""
        slots = tuple(self.padded.get(slot, (slot,))[0] for slot in call.reads)
        facts = self.require_inputs(number, slots, layer)
        if facts is None:
            return False
        rank, layout, axis = facts.rank, layer.compute_layout, layer._channel_axis
        last = axis in (-1, rank - 1)
        first = layout == "any" and last and slots[0] + self.plan.size in self.available
        if layout == "channels_first" and axis not in (1, 1 - rank):
            first = last and rank - 2 in CHANNELS_FIRST
            if not first:
                return False
        options = layer._channels_first_arguments(rank) if first and layout == "any" else {}
        if call.reads[0] in self.padded:
            options = {**options, "padding": self.padded[call.reads[0]][1]}
        inputs = tuple(self.add_move(number, slot, first) for slot in slots)
        ((_, output),) = call.outputs
        rank = rank if layer._output_rank is None else layer._output_rank
        moved = first and rank > 2
        self.available.discard(output)
        target = output + self.plan.size if moved else output
        self.available.add(target)
        overwritable = self.output_modes(number, slots, layer)
        self.facts[output] = ValueFacts(rank, facts.dtype, overwritable, layer._is_nonnegative())
        by_mode = self.inplace_options(number, options, slots, layer)
        if not layer.returns_new_tensor:
            self.held.update(slots)
        step = Instruction(number, attribute=call.attribute, inputs=inputs, is_list=call.is_list)
        self.instructions.append(step._replace(output=target, options=by_mode))
        return True

    def require_inputs(self, number: int, slots: Sequence[int], layer: Any) -> ValueFacts | None:
        """Return what is known of a layer's inputs, None if they need its `forward`."""
        dtype = getattr(torch, layer.compute_dtype)
        rank = layer._input_rank
        if len(slots) == 1 and rank is not None and slots[0] not in self.facts:
            # From a user's module, or undeclared: checked in the run.
            self.facts[slots[0]] = ValueFacts(rank, dtype)
            function = partial(_require_kind, rank=rank, dtype=dtype)
            self.instructions.append(
                Instruction(number, function=function, inputs=(slots[0],), output=slots[0])
            )
        facts = self.facts.get(slots[0])
        if facts is None or facts.dtype is not dtype or rank not in (None, facts.rank):
            return None
        others = [self.facts.get(slot) for slot in slots[1:]]
        alike = all(one is not None and one[:2] == facts[:2] for one in others)
        return facts if alike else None

    def output_modes(self, number: int, slots: Sequence[int], layer: Any) -> frozenset[int]:
        """Return the modes in which the only reader of a layer's output may overwrite it."""
        if layer.returns_new_tensor:
            needed = layer._gradient_needs_output
            return frozenset({WITHOUT_GRADIENTS} if needed else {WITHOUT_GRADIENTS, WITH_GRADIENTS})
        # May be the input itself.
        return self.modes_to_overwrite(number, slots[0]) & {WITHOUT_GRADIENTS}

    def modes_to_overwrite(self, number: int, slot: int) -> frozenset[int]:
        """Return the modes in which a call may overwrite a slot that it reads."""
        modes: frozenset[int] = self.facts[slot].overwritable if slot in self.facts else frozenset()
        if self.reads[slot] == 1:
            return modes
        is_last = self.last.get(slot) == number and self.plan.calls[number].reads.count(slot) == 1
        return modes & {WITHOUT_GRADIENTS} if is_last and slot not in self.held else frozenset()

    def inplace_options(
        self, number: int, options: Options, slots: Sequence[int], layer: Any
    ) -> tuple[Options, Options, Options]:
        """Return the options in each mode, where possible with that to overwrite an input."""
        found = [options, options, options]
        for mode in (WITHOUT_GRADIENTS, WITH_GRADIENTS) if layer.overwrites_input else ():
            modes = [self.modes_to_overwrite(number, slot) for slot in slots]
            free = [n for n, allowed in enumerate(modes) if mode in allowed]
            if free:
                found[mode] = {**options, "inplace": free[0] if layer.takes_list else True}
        return found[0], found[1], found[2]

    def defer_padding(self, number: int, call: ModuleCall, layer: Any) -> bool:
        """Fuse padding into the reader of its output if possible; return whether it is."""
        padding, slot, output = layer._symmetric_padding(), call.reads[0], call.outputs[0][1]
        if padding is None or self.reads[output] != 1 or output in self.outputs:
            return False
        reading = next(n for n, one in enumerate(self.plan.calls) if output in one.reads)
        reader_call = self.plan.calls[reading]
        reader: Any = self.modules.get(reader_call.attribute)
        # Nothing may overwrite the unpadded value before the reader runs.
        if reading > number + 1 and not self.modes_to_overwrite(number, slot):
            return False
        if not (
            self.may_compute(reader_call, reader)
            and reader._channel_axis == layer._channel_axis
            and reader.compute_dtype == layer.compute_dtype
            and reader._can_pad(padding, slot in self.facts and self.facts[slot].nonnegative)
            and self.require_inputs(number, (slot,), layer) is not None
        ):
            return False
        self.padded[output] = slot, padding
        self.deferred.append((number, reading))
        return True


def _require_kind(x: Any, rank: int, dtype: torch.dtype) -> Any:
    """Return a value of this rank and dtype; another needs the layer's `forward`."""
    if isinstance(x, Tensor) and x.ndim == rank and x.dtype is dtype:
        return x
    raise ValueError("of another rank or dtype")
