"""Lowering: what is decided once about a model, so that a call need not ask.

- Feature maps stay (batch, channels, *spatial) from layer to layer.
- An activation or a sum overwrites its input where nothing else reads that: in training only what
  no gradient needs.
- A convolution or a pooling adds the zeros of the ZeroPadding2D before it.

That is for layers of exactly the classes of `kerastorch.layers`, without hooks or an activity
regularizer, on inputs of their compute dtype. Everything else is called as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved
from .._core.registry import LAYERS
from ..layers.base.layer import Layer
from .calls import Calls, ModuleCall, last_uses, slots_in
from .program import WITH_GRADIENTS, WITHOUT_GRADIENTS, Instruction, Options, Program, has_hooks


class Facts(NamedTuple):
    """What is known of a value.

    Attributes:
        rank: The number of axes.
        dtype: The dtype.
        overwritable: The modes in which nothing but its single reader needs it.
        nonnegative: Whether no element is below 0.
    """

    rank: int
    dtype: torch.dtype
    overwritable: frozenset[int] = frozenset()
    nonnegative: bool = False


def lower(plan: Calls, modules: Mapping[str, Any], inputs: Sequence[Facts | None]) -> Program:
    """Return the program of a model for the layers that it has now.

    Args:
        plan: The plain calls.
        modules: The modules by their attributes.
        inputs: What is known of the inputs.
    """
    return _Lowering(plan, modules, inputs).program()


def is_registered(module: Any) -> bool:
    """Return whether a module is a layer of exactly a class of `kerastorch.layers`."""
    return LAYERS.get(type(module).__name__) is type(module)


def is_eligible(module: Any) -> bool:
    """Return whether nothing but its class says what a module does, apart from hooks."""
    return (
        is_registered(module)
        and module._compiled_call_impl is None
        and "forward" not in vars(module)
        and module.activity_regularizer is None
        and module._is_lowerable()
    )


class _Lowering:
    def __init__(
        self, plan: Calls, modules: Mapping[str, Any], inputs: Sequence[Facts | None]
    ) -> None:
        self.plan, self.modules = plan, modules
        self.facts = {slot: facts for slot, facts in enumerate(inputs) if facts is not None}
        self.instructions: list[Instruction] = []
        self.available = set(range(plan.size))  # slots, and slot + size where channels are axis 1
        self.outputs = slots_in(plan.outputs)
        self.reads = Counter(slot for call in plan.calls for slot in call.reads)
        self.reads.update(self.outputs)
        self.padded: dict[int, tuple[int, tuple[int, ...]]] = {}  # output -> input and zeros
        self.deferred: list[tuple[int, int]] = []

    def program(self) -> Program:
        for number, call in enumerate(self.plan.calls):
            layer = self.modules.get(call.attribute)
            if call.inputs is None or not self.may_compute(call, layer):
                self.call(number, call)
            elif not self.defer_padding(number, call, layer) and not self.compute(
                number, call, layer
            ):
                self.call(number, call)
        for slot in self.outputs:
            self.move(len(self.plan.calls), slot, False)
        lowered = any(one.attribute is not None for one in self.instructions)
        names = [call.attribute for call in self.plan.calls]
        modules: dict[str, Any] = {name: self.modules.get(name) for name in names}
        own = {name: one for name, one in modules.items() if is_registered(one)}
        return Program(
            self.plan.size,
            self.with_last_uses() if lowered else (),
            tuple((name, one._state, self.hooked(one)) for name, one in own.items()),
            tuple((name, type(one)) for name, one in modules.items() if name not in own),
            tuple(self.deferred),
        )

    @staticmethod
    def hooked(module: Any) -> bool:
        """Return whether a module has hooks, apart from those of a lazy layer."""
        return has_hooks(module) and module.built

    def may_compute(self, call: ModuleCall, layer: Any) -> bool:
        return (
            is_eligible(layer)
            and not self.hooked(layer)
            and call.is_list is layer.takes_list
            and (not call.is_list or len(call.reads) > 1)
            and len(call.outputs) == 1
            and call.outputs[0][0] in (None, 0)
        )

    # The instructions

    def call(self, number: int, call: ModuleCall) -> None:
        """Call a module as it is, on what has Keras's layout."""
        for slot in dict.fromkeys(call.reads):
            self.move(number, slot, False)
        self.instructions.append(Instruction(number, call, inputs=call.reads))

    def move(self, number: int, slot: int, first: bool) -> int:
        """Return the slot of a value with its channels as axis 1, or in Keras's layout."""
        size = self.plan.size
        target = slot + size if first else slot
        if target not in self.available:
            self.available.add(target)
            source, orders = (slot, CHANNELS_FIRST) if first else (slot + size, CHANNELS_LAST)
            order = orders[self.facts[slot].rank - 2]
            function = partial(axes_moved, dims=order)
            self.instructions.append(
                Instruction(number, function=function, inputs=(source,), output=target)
            )
        return target

    def compute(self, number: int, call: ModuleCall, layer: Any) -> bool:
        """Let a layer's `_compute` run; return whether it can."""
        slots: Any = call.inputs
        slots = tuple(self.padded[slot][0] if slot in self.padded else slot for slot in slots)
        facts = self.expect(number, slots, layer)
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
        inputs = tuple(self.move(number, slot, first) for slot in slots)
        ((_, output),) = call.outputs
        rank = rank if layer._output_rank is None else layer._output_rank
        moved = first and rank > 2
        self.available.discard(output)
        target = output + self.plan.size if moved else output
        self.available.add(target)
        self.facts[output] = Facts(
            rank, facts.dtype, self.overwritable(slots, layer), layer._is_nonnegative()
        )
        modes = self.inplace_options(options, slots, layer)
        self.instructions.append(
            Instruction(
                number,
                attribute=call.attribute,
                inputs=inputs,
                is_list=call.is_list,
                output=target,
                options=modes,
            )
        )
        return True

    def expect(self, number: int, slots: Sequence[int], layer: Any) -> Facts | None:
        """Return what is known of a layer's inputs; None where they need its `forward`."""
        dtype = getattr(torch, layer.compute_dtype)
        rank = layer.input_rank
        if len(slots) == 1 and rank is not None and slots[0] not in self.facts:
            # Of a module of the user's, or undeclared: to be checked when it is there.
            self.facts[slots[0]] = Facts(rank, dtype)
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

    # What may be overwritten

    def overwritable(self, slots: Sequence[int], layer: Any) -> frozenset[int]:
        """Return the modes in which the only reader of a layer's output may overwrite it."""
        if layer.returns_new_tensor:
            needed = layer._gradient_needs_output()
            return frozenset({WITHOUT_GRADIENTS} if needed else {WITHOUT_GRADIENTS, WITH_GRADIENTS})
        return self.spare(slots[0]) & {WITHOUT_GRADIENTS}  # it may be the input

    def spare(self, slot: int) -> frozenset[int]:
        """Return the modes in which the reader of a slot may overwrite it."""
        single = slot in self.facts and self.reads[slot] == 1
        return self.facts[slot].overwritable if single else frozenset()

    def inplace_options(
        self, options: Options, slots: Sequence[int], layer: Any
    ) -> tuple[Options, Options, Options]:
        found = [options, options, options]
        if layer.overwrites_input:
            for mode in (WITHOUT_GRADIENTS, WITH_GRADIENTS):
                index = next((i for i, slot in enumerate(slots) if mode in self.spare(slot)), None)
                if index is not None:
                    inplace = index if layer.takes_list else True
                    found[mode] = {**options, "inplace": inplace}
        return found[0], found[1], found[2]

    # Padding

    def defer_padding(self, number: int, call: ModuleCall, layer: Any) -> bool:
        """Let the reader of a padded value add the zeros by itself; return whether it can."""
        padding, slot, output = layer._symmetric_padding(), call.reads[0], call.outputs[0][1]
        if padding is None or self.reads[output] != 1 or output in self.outputs:
            return False
        reading = next(n for n, one in enumerate(self.plan.calls) if output in one.reads)
        reader_call = self.plan.calls[reading]
        reader = self.modules.get(reader_call.attribute)
        # Until the reader runs, nothing may overwrite what is to be padded.
        if reading > number + 1 and not self.spare(slot):
            return False
        if reader_call.inputs is None or not self.may_compute(reader_call, reader):
            return False
        if not isinstance(reader, Layer) or reader._channel_axis != layer._channel_axis:
            return False
        if reader.compute_dtype != layer.compute_dtype:
            return False
        nonnegative = slot in self.facts and self.facts[slot].nonnegative
        if not reader._can_pad(padding, nonnegative):
            return False
        if self.expect(number, (slot,), layer) is None:
            return False
        self.padded[output] = slot, padding
        self.deferred.append((number, reading))
        return True

    def with_last_uses(self) -> tuple[Instruction, ...]:
        dead = last_uses([one.inputs for one in self.instructions], self.outputs)
        both = zip(self.instructions, dead, strict=True)
        return tuple(one._replace(dead=slots) for one, slots in both)


def _require_kind(x: Any, rank: int, dtype: torch.dtype) -> Any:
    """Return a value of a rank and dtype; of any other the layer's `forward` must be called."""
    if isinstance(x, Tensor) and x.ndim == rank and x.dtype is dtype:
        return x
    raise ValueError("of another rank or dtype")
