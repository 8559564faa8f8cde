"""Bidirectional: a recurrent layer in both directions of time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.errors import list_shapes
from ..._core.registry import keras_layer
from ..base import nesting
from ..base.computation import move_states
from ..base.layer import Layer
from ..base.owner import Groups, nest_groups, require_module
from .wrapper import Wrapper

__all__ = ["Bidirectional"]

MERGE_MODES = ("sum", "mul", "ave", "concat", None)
_SHARED = ("stateful", "return_sequences", "return_state")


@keras_layer()
class Bidirectional(Wrapper):
    """A recurrent layer from the start of a sequence to its end, and another one back.

    Same as `keras.layers.Bidirectional`, except that `weights`, which Keras 3 ignores, are refused,
    and that `stateful` and `return_state` work together. With `return_sequences` the outputs where
    the mask is False are 0, whatever `zero_output_for_mask` says.

    Args:
        layer: The recurrent layer. A copy of it with initial weights is `forward_layer`.
        merge_mode: How the two outputs become one: "concat" along the last axis, "sum", "ave",
            "mul", or None for both of them.
        weights: None; call `set_weights` after the build.
        backward_layer: The layer for the other direction; by default a copy of `layer` with
            `go_backwards=True`.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input: (batch, time, features).
        - Output: (batch, units) or (batch, time, units) as of the inner layers, with the sum of
          their units for "concat"; then the states of the forward layer and those of the backward
          one with `return_state`.

    Raises:
        ValueError: An argument is invalid, or the two layers do not fit together.
        TypeError: A layer is not a recurrent one.

    Example:
        >>> import torch
        >>> from kerastorch.layers import LSTM
        >>> tuple(Bidirectional(LSTM(3))(torch.rand(2, 5, 4)).shape)
        (2, 6)
    """

    argument_namespaces: ClassVar[Mapping[str, Any]] = {"layer": nesting, "backward_layer": nesting}
    nested_arguments: ClassVar[tuple[str, ...]] = ("layer", "backward_layer")
    forced_arguments: ClassVar[tuple[str, ...]] = ("zero_output_for_mask",)
    call_arguments: ClassVar[tuple[str, ...]] = ("initial_state", "mask", "constants")
    depends_on_training_mode = True
    first_argument = "sequences"
    differs_in_keras_2 = True
    old_settings: ClassVar[tuple[str, ...]] = ("repeats_output", "num_constants")
    num_constants = 0  # as in RNN
    repeats_output = False  # whether masked steps repeat it or the state: in Keras 1 to 2.3
    _config_keys_first = ("merge_mode",)
    _never_in_config = ("weights",)
    forward_layer: Any
    backward_layer: Any

    upgrade_call = classmethod(move_states)

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if merge_mode not in MERGE_MODES:
            self._refuse_argument("merge_mode", f"one of {MERGE_MODES}", merge_mode)
        if weights is not None:
            remedy = "Call `set_weights` after the build."
            self._refuse_argument("weights", "None", weights, remedy)
        layer, other = nesting.get(layer), nesting.get(backward_layer)
        wanted = ("go_backwards", *_SHARED)
        require_module(self, "layer", layer, *wanted)
        forward = _copy_layer(layer, "forward", self.keras_2)
        if other is None:
            other = _copy_layer(layer, "backward", self.keras_2)
            other.go_backwards = not layer.go_backwards if self.keras_2 else True
        else:
            require_module(self, "backward_layer", other, *wanted)
        self._require_fitting(layer, other)
        for one in () if self.repeats_output else (forward, other):
            if getattr(one, "zero_output_for_mask", None) is not None:
                one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self.forward_layer, self.backward_layer = forward, other
        self._register_weights(None, input_shape)

    def _on_argument_change(self, argument: str) -> None:
        """Refuse another `layer`, of which there are copies."""
        if argument == "layer":
            value = self._modules.pop("layer", None)
            remedy = "Assign `forward_layer` and `backward_layer`."
            self._refuse_argument(argument, "left unchanged", value, remedy, error=AttributeError)
        super()._on_argument_change(argument)

    def _require_fitting(self, forward: Any, backward: Any) -> None:
        """Refuse two layers of one direction, or of different outputs."""
        if bool(forward.go_backwards) == bool(backward.go_backwards):
            related = {"layer": forward, "backward_layer": backward}
            rule = "True for one of the layers only"
            self._refuse_argument("go_backwards", rule, forward.go_backwards, **related)
        for name in _SHARED:
            one, other = getattr(forward, name), getattr(backward, name)
            if bool(one) != bool(other):
                related = {"layer": forward, "backward_layer": backward}
                self._refuse_argument(name, "the same in both layers", (one, other), **related)

    @property
    def layer(self) -> Any:
        """The forward layer, as Keras's config has it."""
        return self.forward_layer

    @property
    def return_sequences(self) -> bool:
        """Whether the outputs at all times are returned."""
        return bool(self.forward_layer.return_sequences)

    @property
    def return_state(self) -> bool:
        """Whether the last states are returned, too."""
        return bool(self.forward_layer.return_state)

    @property
    def stateful(self) -> bool:
        """Whether the last states of a call are the first ones of the next."""
        return bool(self.forward_layer.stateful)

    @property
    def states(self) -> tuple[Any, ...] | None:
        """The states of both layers after a call with `stateful`, otherwise None."""
        found = [getattr(layer, "states", None) for layer in self._list_owned()]
        return (*found[0], *found[1]) if found[0] and found[1] else None

    @property
    def output_count(self) -> int:
        """The number of tensors that `forward` returns."""
        states = [getattr(layer, "output_count", 1) - 1 for layer in self._list_owned()]
        return (2 if self.merge_mode is None else 1) + sum(states)

    @property
    def _input_rank(self) -> int | None:
        return getattr(self.forward_layer, "_input_rank", None)

    @classmethod
    def upgrade_config_of_standalone_keras(
        cls, config: dict[str, Any], version: tuple[int, int]
    ) -> dict[str, Any]:
        """Add `repeats_output`."""
        return {**config, "repeats_output": True}

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> Groups:
        """Return the groups of the weights of both layers."""
        backward = config.get("backward_layer") or config["layer"]
        return [
            *nest_groups("forward_layer", config["layer"]),
            *nest_groups("backward_layer", backward),
        ]

    def _list_owned(self) -> list[Any]:
        return [self.forward_layer, self.backward_layer]

    def _build(self, input_shape: Any, argument: str = "input_shape") -> None:
        shape = self._check_shape(input_shape, argument)
        for layer in self._list_owned():
            if not getattr(layer, "built", True):
                layer.build(shape)

    def forward(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, constants: Any = None
    ) -> Any:
        """Go through a sequence in both directions.

        Args:
            sequences: A tensor or array (batch, time, features).
            initial_state: The list of the first states of the forward layer, then of the backward
                one; by default zeros.
            mask: A tensor (batch, time), False at the steps to leave out.
            constants: Of both layers, as in `RNN`.

        Returns:
            The merged output, or both with `merge_mode=None`; with `return_state` a tuple of it
            and the last states.

        Raises:
            ValueError: An argument has another shape, or the sequence no step.
        """
        x = self._prepare_input(sequences)
        self._require_rank(x)
        starts = self._split_states(initial_state)
        given = {} if constants is None else {"constants": constants}
        takers = [getattr(one, "call_arguments", ()) for one in self._list_owned()]
        if given and not all("constants" in names for names in takers):
            rule = "left out: only an RNN takes them"
            self._refuse_argument("constants", rule, constants, layer=self.layer)

        def run() -> list[Any]:
            return self._call_both(
                lambda layer, start: layer(x, initial_state=start, mask=mask, **given), starts
            )

        y, back = self._call_inner("sequences", x, run, mask=mask, initial_state=initial_state)
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*y[1:], *back[1:])
            y, back = y[0], back[0]
        if self.return_sequences:
            back = back.flip(0 if getattr(self.forward_layer, "time_major", False) else 1)
        merged = self._merge(self._cast_output(y), self._cast_output(back))
        outputs = (*merged, *states) if len(merged) + len(states) > 1 else merged[0]
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _merge(self, y: Tensor, back: Tensor) -> tuple[Tensor, ...]:
        if self.merge_mode == "concat":
            return (torch.cat([y, back], -1),)
        if self.merge_mode == "mul":
            return (y * back,)
        if self.merge_mode is None:
            return y, back
        return (y + back if self.merge_mode == "sum" else (y + back) / 2,)

    def _call_both(self, function: Callable[[Any, Any], Any], starts: Sequence[Any]) -> list[Any]:
        """Call a function on each layer and its states; where one refuses, both keep their own."""
        pairs = list(zip(self._list_owned(), starts, strict=True))
        if not self.stateful:
            return [function(layer, start) for layer, start in pairs]
        kept = [(layer, layer.states) for layer, _ in pairs if hasattr(layer, "states")]
        try:
            return [function(layer, start) for layer, start in pairs]
        except Exception:
            for layer, states in kept:
                layer.states = states
            raise

    def _split_states(self, given: Any, argument: str = "initial_state") -> tuple[Any, Any]:
        """Return the first states of each layer."""
        if given is None:
            return None, None
        if not isinstance(given, (list, tuple)) or not given or len(given) % 2:
            rule = "a list of the states of the forward layer and as many of the backward one"
            self._refuse_argument(argument, rule, list_shapes(given))
        half = len(given) // 2
        return given[:half], given[half:]

    def reset_states(self, states: Any = None) -> None:
        """Forget the states of a stateful layer, or replace them.

        Args:
            states: The states, as `initial_state`; None for zeros.

        Raises:
            ValueError: The states do not fit.
            AttributeError: The layers are not stateful.
        """
        starts = self._split_states(states, "states")
        self._call_both(lambda layer, own: layer.reset_states(own), starts)

    def reset_state(self) -> None:
        """Forget the states of a stateful layer."""
        self.reset_states()

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs: that of the sequence, and None for the states."""
        first = mask[0] if isinstance(mask, (list, tuple)) else mask
        count = 2 if self.merge_mode is None else 1
        own = [first if self.return_sequences else None] * count
        found = own + [None] * (self.output_count - count)
        return found if len(found) > 1 else found[0]

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """Return the shape of the output, or a tuple of the shapes of several.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        shape = self._check_shape(sequences_shape, "sequences_shape")
        one, other = (layer.compute_output_shape(shape) for layer in self._list_owned())
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*one[1:], *other[1:])
            one, other = one[0], other[0]
        if self.merge_mode is None:
            return (tuple(one), tuple(other), *states)
        last = one[-1] + other[-1] if self.merge_mode == "concat" else one[-1]
        merged = (*one[:-1], last)
        return (merged, *states) if states else merged

    def extra_repr(self) -> str:
        """Return the merge mode and the dtype."""
        return ", ".join(self._format_non_defaults(merge_mode="concat"))


def _copy_layer(layer: Any, prefix: str, keras_2: bool) -> Any:
    """Return a copy of a layer with initial weights and no states."""
    made = copy.deepcopy(layer)
    if getattr(made, "states", None) is not None:
        made.states = None
    if isinstance(made, Layer):
        if list(made.parameters()) and made.built:
            made.reset_parameters()
        name = layer.name if keras_2 else layer.name.removeprefix(f"{prefix}_")
        made.name = f"{prefix}_{name}"
    return made
