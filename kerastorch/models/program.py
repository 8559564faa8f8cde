"""The program that a lowered model runs in place of the plain calls of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules import module as torch_module

from .._core.layout import CHANNELS_LAST, axes_moved
from .._ops.tracing import is_compiling_one_size, under_autocast
from .calls import ModuleCall

WITHOUT_GRADIENTS, WITH_GRADIENTS, COMPILED = range(3)  # the modes of a run
FAILURES = (IndexError, RuntimeError, ValueError)  # what a computation raises

Options = Mapping[str, Any]


class Instruction(NamedTuple):
    """One step of a program.

    Values are kept by slot: the one at `slot` in Keras's layout, the same with its channels as
    axis 1 at `slot + size`.

    Attributes:
        number: The number of the call that it stands for, or prepares.
        call: The call that is made as it is; else None.
        attribute: The module whose `_compute` runs; else None.
        function: What runs where neither is given.
        inputs: The slots of the input.
        is_list: Whether the input is a list of them.
        output: The slot of the output.
        options: The keyword arguments in each mode.
        dead: The slots that no later instruction reads.
    """

    number: int
    call: ModuleCall | None = None
    attribute: str | None = None
    function: Callable[..., Any] | None = None
    inputs: tuple[int, ...] = ()
    is_list: bool = False
    output: int = 0
    options: tuple[Options, Options, Options] = ({}, {}, {})
    dead: tuple[int, ...] = ()


class Program(NamedTuple):
    """What a model runs in place of its plain calls, as long as its layers are what they were.

    Attributes:
        size: The number of slots in Keras's layout; there are as many with channels as axis 1.
        instructions: What to do, in order; none where nothing can be lowered.
        layers: The layers of `kerastorch.layers` that are called: the module's name, the state,
            which is another number after a change, and whether the layer has hooks.
        others: The names and the classes of the other modules.
        deferred: The calls of padding that later calls do, and these calls' numbers.
    """

    size: int
    instructions: tuple[Instruction, ...]
    layers: tuple[tuple[str, int, bool], ...]
    others: tuple[tuple[str, type], ...]
    deferred: tuple[tuple[int, int], ...]

    def is_current(self, modules: Mapping[str, Any]) -> bool:
        """Return whether the layers are what they were when the model was lowered."""
        for attribute, state, hooked in self.layers:
            module = modules.get(attribute)
            if getattr(module, "_state", 0) != state or has_hooks(module) != hooked:
                return False
        for attribute, kind in self.others:
            if type(modules.get(attribute)) is not kind:
                return False
        return True

    def run(
        self,
        values: list[Any],
        modules: Mapping[str, Any],
        mode: int,
        call_module: Callable[[ModuleCall, list[Any]], None],
    ) -> int | None:
        """Compute all values.

        Args:
            values: The inputs and constants in their slots; the others' get what is computed.
            modules: The modules by their attributes.
            mode: One of the modes of a run.
            call_module: Calls a module as it is.

        Returns:
            The number of the call whose computation failed, before which all was done; or None.
        """
        for (
            number,
            call,
            attribute,
            function,
            inputs,
            is_list,
            output,
            options,
            dead,
        ) in self.instructions:
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

    def deferred_at(self, number: int) -> tuple[int, ...]:
        """Return the calls before one that have not run: paddings that later calls were to do."""
        return tuple(padding for padding, reader in self.deferred if padding < number <= reader)

    def restore(self, values: list[Any]) -> None:
        """Give all values Keras's layout."""
        for slot in range(self.size):
            moved = values[self.size + slot]
            if values[slot] is None and moved is not None:
                values[slot] = axes_moved(moved, CHANNELS_LAST[moved.ndim - 2])


def has_hooks(module: Any) -> bool:
    """Return whether a module has hooks."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def select_mode(inputs: Sequence[Any]) -> int | None:
    """Return the mode in which a program may run now; None where the layers must be called.

    Args:
        inputs: Those of the model.
    """
    if (
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
        or any(isinstance(x, Tensor) and under_autocast(x.device.type) for x in inputs)
    ):
        return None
    if torch.compiler.is_compiling():
        fixed = all(isinstance(x, Tensor) and is_compiling_one_size(x) for x in inputs)
        return COMPILED if fixed else None
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return None
    return WITH_GRADIENTS if torch.is_grad_enabled() else WITHOUT_GRADIENTS
