"""The program that a lowered model runs instead of the plain calls of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules import module as torch_module

from .._core.layout import CHANNELS_LAST, permute_axes
from .._ops.tracing import is_autocast_enabled, is_compiling_static
from .calls import ModuleCall
from .masks import creates_mask

WITHOUT_GRADIENTS, WITH_GRADIENTS, COMPILED = range(3)  # the modes of a run
FAILURES = (IndexError, RuntimeError, ValueError)  # what a computation raises

Options = Mapping[str, Any]
PlainCall = Callable[[ModuleCall, list[Any]], None]


class Instruction(NamedTuple):
    """One step of a program.

    A value in Keras's layout is stored in its slot, with channels as axis 1 in `slot + size`.
    """

    number: int  # the index of the call that it computes or prepares
    call: ModuleCall | None = None  # the plain call to make
    attribute: str | None = None  # or the module whose `_compute` runs
    function: Callable[..., Any] | None = None  # or what else runs
    inputs: tuple[int, ...] = ()  # the slots of the input
    is_list: bool = False  # whether it is a list of them
    output: int = 0  # the slot of the output
    options: tuple[Options, Options, Options] = ({}, {}, {})  # keyword arguments in each mode
    dead: tuple[int, ...] = ()  # the slots that no later instruction reads


class Program(NamedTuple):
    """The instructions that replace a model's plain calls until a layer is changed.

    A change of a layer changes its state number.
    """

    size: int  # the number of slots in Keras's layout
    instructions: tuple[Instruction, ...]  # none if nothing can be lowered
    # Attribute, state number and whether there are hooks, of each layer of `kerastorch.layers`
    layers: tuple[tuple[str, int, bool], ...]
    others: tuple[tuple[str, type], ...]  # attribute and class of each other module
    unmasked: tuple[str, ...]  # the attributes of the models inside, none of which creates masks
    deferred: tuple[tuple[int, int], ...]  # the indices of paddings, and of the calls that do them

    def is_current(self, modules: Mapping[str, Any]) -> bool:
        """Return whether no layer was changed since the model was lowered."""
        for attribute, state, hooked in self.layers:
            module = modules.get(attribute)
            if getattr(module, "_state", 0) != state or has_hooks(module) != hooked:
                return False
        for attribute, kind in self.others:
            if type(modules.get(attribute)) is not kind:
                return False
        return not any(creates_mask(modules[attribute]) for attribute in self.unmasked)

    def run(
        self, values: list[Any], modules: Mapping[str, Any], mode: int, call_module: PlainCall
    ) -> int | None:
        """Compute all values in place.

        Returns:
            The index of the call that failed, all before it being done; None after success.
        """
        for instruction in self.instructions:
            number, call, attribute, function, inputs, is_list, output, options, dead = instruction
            if call is not None:
                call_module(call, values)
            else:
                compute: Any = function if attribute is None else modules[attribute]._compute
                x = [values[slot] for slot in inputs] if is_list else values[inputs[0]]
                try:
                    values[output] = compute(x, **options[mode])
                except FAILURES:
                    return number
                del x
            for slot in dead:
                values[slot] = None
        return None

    def restore(self, values: list[Any], failed: int) -> tuple[int, ...]:
        """Move all values to Keras's layout, for plain calls from the failed one on.

        Returns:
            The indices of the padding calls that were deferred to that call or later ones.
        """
        for slot in range(self.size):
            moved = values[self.size + slot]
            if values[slot] is None and moved is not None:
                values[slot] = permute_axes(moved, CHANNELS_LAST[moved.ndim - 2])
        return tuple(padding for padding, reader in self.deferred if padding < failed <= reader)


def has_hooks(module: Any) -> bool:
    """Return whether a module has hooks."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def select_mode(inputs: Sequence[Any]) -> int | None:
    """Return the mode for a run on these inputs of the model, None for plain calls."""
    if (
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
        or any(isinstance(x, Tensor) and is_autocast_enabled(x.device.type) for x in inputs)
    ):
        return None
    if torch.compiler.is_compiling():
        fixed = all(isinstance(x, Tensor) and is_compiling_static(x) for x in inputs)
        return COMPILED if fixed else None
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return None
    return WITH_GRADIENTS if torch.is_grad_enabled() else WITHOUT_GRADIENTS
