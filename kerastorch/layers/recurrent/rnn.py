"""RNN and StackedRNNCells: layers over the times of a sequence that call a cell."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from ..._core.registry import keras_layer, number_group, to_snake_case
from ..._ops.recurrent.loop import States, Step, scan
from ..._ops.tracing import is_autocast_enabled
from ..base import nesting
from ..base.owner import LayerOwner, nest_groups
from .layer import RecurrentLayer, convert_states
from .unit import RecurrentUnit, read_states

__all__ = ["RNN", "StackedRNNCells"]

Constants = list[Tensor] | None


@keras_layer()
class StackedRNNCells(LayerOwner):
    """Cells one above the other, as one cell: each takes the output of the one before.

    Same as `keras.layers.StackedRNNCells`.

    Args:
        cells: The cells.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: `cells` is no list of cells.

    Example:
        >>> import torch
        >>> from kerastorch.layers import GRUCell
        >>> layer = RNN(StackedRNNCells([GRUCell(3), GRUCell(2)]))
        >>> tuple(layer(torch.rand(4, 5, 6)).shape)
        (4, 2)
    """

    argument_namespaces: ClassVar = {"cells": nesting}
    nested_arguments: ClassVar[tuple[str, ...]] = ("cells",)
    fixed_arguments: ClassVar[tuple[str, ...]] = ("cells",)
    call_arguments: ClassVar[tuple[str, ...]] = ("states",)
    removed_arguments: ClassVar[tuple[str, ...]] = ("activity_regularizer",)
    old_settings: ClassVar[tuple[str, ...]] = ("reverse_state_order",)
    reverse_state_order = False  # whether the states are listed from the last cell to the first
    cells: Any

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(cells, (list, tuple, nn.ModuleList)) or not cells:
            self._refuse_argument("cells", "a list of cells", cells)
        made = [nesting.get(cell) for cell in cells]
        for cell in made:
            require_cell(self, "cells", cell)
        self.cells = nn.ModuleList(made)
        self._register_weights(None)

    def _list_owned(self) -> list[Any]:
        return list(self.cells)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        return self._order([list_sizes(cell) for cell in self.cells])

    @property
    def output_size(self) -> Any:
        """The size of the output of the last cell."""
        return get_output_size(self.cells[-1])

    def get_initial_state(self, batch_size: int) -> list[States]:
        """Return states of zeros for each cell."""
        return self._order([cell.get_initial_state(batch_size) for cell in self.cells])

    def _order(self, states: Sequence[Any]) -> list[Any]:
        """Return the states of the cells in the order of the layer, or the other way round."""
        return list(reversed(states) if self.reverse_state_order else states)

    @classmethod
    def upgrade_config_of_standalone_keras(
        cls, config: dict[str, Any], version: tuple[int, int]
    ) -> dict[str, Any]:
        """Add `reverse_state_order` for Keras before 2.2, which has no such argument."""
        return {**config, "reverse_state_order": True} if version < (2, 2) else config

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the groups of the weights of each cell."""
        counts: Counter[str] = Counter()
        found = []
        for cell in config["cells"]:
            group = number_group(to_snake_case(cell["class_name"]), counts)
            found += nest_groups(f"cells/{group}", cell)
        return found

    def _build(self, input_shape: Any, argument: str = "input_shape") -> None:
        shape = tuple(input_shape)
        for cell in self.cells:
            if not getattr(cell, "built", True):
                cell.build(shape)
            shape = (shape[0], get_output_size(cell))

    def _make_step(self, like: Tensor, constants: Constants = None) -> Step:
        """Return one step through all cells; those that take constants get them."""
        steps = [make_cell_step(cell, like, constants) for cell in self.cells]

        def step(x: Tensor, states: States) -> tuple[Tensor, States]:
            new = []
            for one, state in zip(steps, self._order(states), strict=True):
                x, own = one(x, state)
                new.append(own)
            return x, self._order(new)

        return step

    def forward(self, inputs: Any, states: Any) -> tuple[Tensor, States]:  # type: ignore[override]
        """Compute one step of all cells; see `LSTMCell`."""
        first = self._find_first_tensor()
        x = self._as_tensor(inputs)
        x = x if first is None else x.to(first.dtype)
        return self._make_step(x)(x, read_states(self, "states", states, x, self.state_size))


@keras_layer()
class RNN(LayerOwner, RecurrentLayer):
    """A layer over the times of a sequence that calls a cell, or a list of them.

    Same as `keras.layers.RNN`, with the exceptions of `LSTM`.

    Args:
        cell: A cell, or a list of cells, which is a `StackedRNNCells`. A cell of your own is a
            module with `state_size` whose `forward(inputs, states)` returns output and states. It
            may have an argument `constants`, too: the list of a call's `constants`, as in Keras 2.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask,
            input_shape, **kwargs: As in `LSTM`.

    Shape:
        - Input: (batch, time, features).
        - Output: As in `LSTM`. The states of a stack are one list a cell.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> from kerastorch.layers import LSTMCell
        >>> tuple(RNN(LSTMCell(3))(torch.rand(2, 5, 4)).shape)
        (2, 3)
    """

    call_arguments = (*RecurrentLayer.call_arguments, "constants")
    argument_namespaces: ClassVar = {"cell": nesting}
    nested_arguments: ClassVar[tuple[str, ...]] = ("cell",)
    old_settings = (*RecurrentLayer.old_settings, "num_constants")
    num_constants = 0  # of the tensors that a call in a file of Keras 2 lists
    fixed_arguments: ClassVar[tuple[str, ...]] = ("cell",)
    cell: Any

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        *,
        input_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        require_cell(self, "cell", cell)
        self.cell = cell
        self._register_weights(None, input_shape)

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the groups of the weights of the cell."""
        return nest_groups("cell", config["cell"])

    def _list_owned(self) -> list[Any]:
        return [self.cell]

    @property
    def state_size(self) -> Any:
        """The size of the state, or a list of the sizes of several."""
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        """The size of the output at one time."""
        return get_output_size(self.cell)

    def _build(self, input_shape: Any, argument: str = "input_shape") -> None:
        shape = self._check_shape(input_shape, argument)
        if not self.built:
            self.cell.build((shape[0], shape[-1]))

    def _prepare_input(self, inputs: Any) -> Tensor:
        x = self._as_tensor(inputs)
        return self._cast(x, x.dtype)[0]

    def _require_fit(self, x: Tensor) -> None:
        """Raise a ValueError for an input whose last size the first cell does not fit."""
        cell = self.cell.cells[0] if isinstance(self.cell, StackedRNNCells) else self.cell
        if isinstance(cell, RecurrentUnit):
            cell._require_size(x, "sequences", self)

    def forward(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, constants: Any = None
    ) -> Any:
        """Go through a sequence; see `LSTM`.

        Args:
            sequences: A tensor or array (batch, time, features).
            initial_state: The first state, or a list of them; by default zeros.
            mask: A tensor (batch, time), False at the steps to leave out.
            constants: A tensor, or a list of them, that the cell gets at each step.

        Raises:
            ValueError: An argument has another shape, the sequence no step, or the cell takes no
                constants.
        """
        found = self._read_constants(constants)
        return self._go_through(sequences, initial_state, mask, constants=found)

    def _read_constants(self, constants: Any) -> Constants:
        if constants is None or (isinstance(constants, (list, tuple)) and not constants):
            return None
        if not isinstance(self.cell, StackedRNNCells) and not takes_constants(self.cell):
            rule = "left out: the cell's `forward` has no argument `constants`"
            self._refuse_argument("constants", rule, constants, cell=self.cell)
        given = constants if isinstance(constants, (list, tuple)) else [constants]
        return [self._prepare_input(one) for one in given]

    def _run(
        self, x: Tensor, states: States, mask: Tensor | None, **given: Any
    ) -> tuple[Tensor, States]:
        y, states = self._run_cell(x, states, mask, **given)
        if is_autocast_enabled(x.device.type):
            return y, states
        return y.to(x.dtype), convert_states(states, x)  # the cell may compute in another dtype

    def _run_cell(
        self, x: Tensor, states: States, mask: Tensor | None, constants: Constants = None
    ) -> tuple[Tensor, States]:
        cell: Any = self.cell
        wanted = self._wanted
        if not isinstance(cell, RecurrentUnit):
            return scan(make_cell_step(cell, x, constants), x, states, mask, wanted)
        x = cell._cast_input(x)
        states = convert_states(states, x)
        inputs, recurrent = cell._sample_masks(x)
        if recurrent is None and not isinstance(inputs, list) and cell._can_fuse(x):
            x = x if inputs is None else x * inputs[:, None]
            return cell._fused(x, states, mask, wanted)
        step = cell._make_step(x, recurrent)
        return scan(step, cell._project(x, inputs), states, mask, wanted)


def require_cell(owner: Any, argument: str, cell: Any) -> None:
    """Refuse what is no cell."""
    if not isinstance(cell, nn.Module) or not hasattr(cell, "state_size"):
        rule = "a cell: a module that has `state_size`"
        owner._refuse_argument(argument, rule, cell)


def list_sizes(cell: Any) -> list[Any]:
    """Return the sizes of a cell's states."""
    sizes = cell.state_size
    return list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]


def get_output_size(cell: Any) -> Any:
    """Return the size of a cell's output: by default that of its first state."""
    found = getattr(cell, "output_size", None)
    return list_sizes(cell)[0] if found is None else found


def takes_constants(cell: Any) -> bool:
    """Return whether a cell has an argument for the constants of a call."""
    return "constants" in inspect.signature(cell.forward).parameters


def make_cell_step(cell: Any, like: Tensor, constants: Constants = None) -> Step:
    """Return a step of a cell for an input that is not projected, with masks for one call."""
    if isinstance(cell, StackedRNNCells):
        return cell._make_step(like, constants)
    if not isinstance(cell, RecurrentUnit):
        if constants is not None and takes_constants(cell):
            return lambda x, states: cell(x, states, constants=constants)
        return lambda x, states: cell(x, states)
    size = cell._weights(like)[0].shape[1]
    like = cell._cast_input(like.new_empty(like.shape[0], size))
    inputs, recurrent = cell._sample_masks(like)
    step = cell._make_step(like, recurrent)

    def cast_and_step(x: Tensor, states: States) -> tuple[Tensor, States]:
        return step(cell._project(x.to(like), inputs), convert_states(states, like))

    return cast_and_step
