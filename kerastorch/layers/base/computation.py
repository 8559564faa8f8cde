"""Computation: what a layer computes, and what lets a model call `_compute` alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ..._core.errors import argument_error

if TYPE_CHECKING:
    from .functional import Function


class Computation:
    """The computation of a layer, and what it declares about it.

    A lowered model calls `_compute` instead of `forward`, within these declarations. The defaults
    are right for any layer whose `forward` is the template.
    """

    # Of `_compute`: that of the user, "channels_first" with the channels as axis 1, or "any".
    compute_layout = "as_given"
    rank: ClassVar[int | None] = None  # the number of spatial axes, if there are any
    takes_list = False  # the input is a list of tensors
    # `_compute` has the argument `inplace`: whether it may overwrite its input, or which of a list.
    overwrites_input = False
    returns_new_tensor = False  # the output is neither the input nor a view of it
    _gradient_needs_output = True  # the output must not be overwritten in training
    _output_rank: int | None = None  # the rank of the output if it differs from the input's
    _orders: tuple[Any, Any] | None = None  # axis permutations to `compute_layout` and back
    supports_masking = False  # the output has the mask of the input
    masks_of_keras_2 = False  # whether masks are those of Keras 1 and 2: in a model of theirs
    # Settings of Keras 1 or 2 that the constructor lacks: true, false or a number in a config
    old_settings: ClassVar[tuple[str, ...]] = ()
    # Of `call_arguments`, those that `compute_output_shape` and `compute_mask` take, too
    call_options: ClassVar[tuple[str, ...]] = ()
    # Keras 3 stores the first weight of the layer inside in the layer's own group, too.
    repeats_inner_weight = False
    # Of `call_arguments`, those after whose shapes the layer is built, too
    shape_arguments: ClassVar[tuple[str, ...]] = ()
    carried_masks: ClassVar[tuple[str, ...]] = ()  # arguments that no node of a model may give
    creates_mask = False  # the output may have a mask where no input has one

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output, None if it has none.

        A mask is a boolean tensor (batch, steps) in which False marks a step to leave out. Models
        of `load_model` carry the masks from layer to layer; other code calls this method and
        passes the result as the argument `mask` of the layers that take it.

        Args:
            inputs: The input of the layer, or its list of inputs.
            mask: The mask of the input, or a list with a mask or None for each.
        """
        return mask if self.supports_masking else None

    @classmethod
    def upgrade_call(
        cls, args: list[Any], kwargs: dict[str, Any], config: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Convert the arguments of a call in a file of Keras 1 or 2 to those of `forward`.

        `config` is that of the layer.
        """
        return args, kwargs

    @classmethod
    def upgrade_config_of_standalone_keras(
        cls, config: dict[str, Any], version: tuple[int, int]
    ) -> dict[str, Any]:
        """Convert a config from a file of Keras 1.x to 2.3 that is not TensorFlow's own."""
        return config

    @property
    def is_sample_wise(self) -> bool:
        """Whether an output depends on its own sample and call alone, in the present mode.

        Random numbers may differ by sample where they have no seed.
        """
        return not (
            getattr(self, "training", True) and getattr(self, "depends_on_training_mode", True)
        )

    @property
    def output_count(self) -> int:
        """The number of tensors that `forward` returns."""
        return 1

    def _find_input_shape(self: Any, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        """Return the shape, or those of several inputs, to build for at a call, and its name."""
        name = next(iter(inspect.signature(self.forward).parameters))  # "inputs" of most
        x = args[0] if args else kwargs.get(name)
        if self.takes_list and isinstance(x, (list, tuple)):
            return [tuple(self._as_tensor(one).shape) for one in x], name
        return self._as_tensor(x).shape, name

    def _as_real_tensor(self: Any, value: Any, argument: str) -> Tensor:
        """Convert an argument after the first to a tensor; refuse one of complex numbers."""
        x: Tensor = self._as_tensor(value, argument)
        if x.is_complex():
            self._refuse_argument(argument, "a tensor of real numbers", x.dtype)
        return x

    @property
    def _input_rank(self) -> int | None:
        """The rank of the input; None for any."""
        return None if self.rank is None else self.rank + 2

    @property
    def _channel_axis(self) -> int:
        """The channel axis in the layout of the user."""
        return 1 if getattr(self, "data_format", None) == "channels_first" else -1

    def _compute(self, x: Any) -> Tensor:
        """Compute the output for an input of the compute dtype, in `compute_layout`."""
        raise NotImplementedError

    def _as_function(self) -> Function | None:
        """Return what a built layer computes before its activation; None if no function has it.

        `compare` exchanges the weights and the geometry of it, to find a mistake.
        """
        return None

    def _is_lowerable(self) -> bool:
        """Return whether `forward` is `_compute` and nothing else for an input of its dtype."""
        return True

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        """Return the arguments of `_compute` for channels-first inputs, with layout "any"."""
        return {}

    def _is_nonnegative(self) -> bool:
        """Return whether no output is below 0."""
        return False

    def _symmetric_padding(self) -> tuple[int, ...] | None:
        """Return the zeros on both sides of each axis, for a layer that only adds these."""
        return None

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        """Return whether `_compute` takes such `padding`, for an input >= 0 or any other one."""
        return False


def move_states(
    cls: Any, args: list[Any], kwargs: dict[str, Any], config: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Convert a call on a list: a sequence, its first states, and `num_constants` constants.

    Raises:
        ValueError: The config counts more constants than there are tensors.
    """
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    count = config.get("num_constants") or 0
    if not args or type(args[0]) not in (list, tuple):  # a reference to a tensor is a named tuple
        return args, kwargs
    first, *others = args[0]
    if type(count) is not int or not 0 <= count <= len(others):
        rule = f"an integer from 0 to {len(others)}, the number of tensors after the sequence"
        raise ValueError(argument_error(cls.__name__, "num_constants", rule, count))
    states, constants = others[: len(others) - count], others[len(others) - count :]
    if states:
        kwargs["initial_state"] = states
    if constants:
        kwargs["constants"] = constants
    return [first, *args[1:]], kwargs
