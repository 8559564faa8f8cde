"""SimpleRNN: a fully connected recurrent layer: the output is the next state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ... import activations
from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from ..._ops.recurrent.loop import States, Step
from .cell import RecurrentCell
from .run import RecurrentRun
from .torch_conversion import RecurrentCounterpart
from .unit import Masks, RecurrentUnit, declare_weights

__all__ = ["SimpleRNN", "SimpleRNNCell"]


class SimpleRNNCounterpart(RecurrentCounterpart):
    """The counterpart in torch.nn, which has two activations."""

    def _make_torch(self, owner: str, **options: Any) -> nn.Module:
        activation: Any = cast(Any, self).activation
        if activation not in (activations.tanh, activations.relu):
            raise ValueError(argument_error(owner, "activation", "tanh or relu", activation))
        return super()._make_torch(owner, nonlinearity=activation.__name__, **options)


class SimpleRNNUnit(RecurrentUnit):
    """The arithmetic of a fully connected recurrent layer."""

    torch_arguments: ClassVar[Mapping[str, str]] = {
        **RecurrentCounterpart.torch_arguments,
        "nonlinearity": "activation",
    }
    _gates = 1
    _drops_all = True

    def _make_step(self, like: Tensor, masks: Masks = None) -> Step:
        add_product, activation = self._as_product(self._weights(like)[1], masks), self.activation

        def step(projected: Tensor, states: States) -> tuple[Tensor, States]:
            h = activation(add_product(projected, states[0]))
            return h, [h]

        return step


@keras_layer()
class SimpleRNN(RecurrentRun, SimpleRNNUnit, SimpleRNNCounterpart):
    """A fully connected recurrent layer over the times of a sequence.

    Same as `keras.layers.SimpleRNN`, with the exceptions of `LSTM`; a rate of 1 drops all. As in
    Keras 3, the argument `activity_regularizer` does nothing but in a model of Keras 2; assigned to
    the layer, it works.

    Args:
        activation: The activation of the state; a name or a callable.
        units, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout,
            return_sequences, return_state, go_backwards, stateful, unroll, seed,
            zero_output_for_mask, input_shape, device, **kwargs: As in `LSTM`.

    Shape:
        - Input and output: As in `LSTM`.
        - `weight_ih_l0`: (units, features), `weight_hh_l0`: (units, units), as in `nn.RNN`.
        - `bias_ih_l0`: (units,), or None; `bias_hh_l0` is a buffer of zeros.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(SimpleRNN(3)(torch.rand(2, 5, 4)).shape)
        (2, 3)
    """

    torch_name = "RNN"
    weight_specs = declare_weights("_l0")
    differs_in_keras_2 = True
    _never_in_config = ("seed",)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        *,
        zero_output_for_mask: bool = False,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        obeyed = activity_regularizer if self.keras_2 else None  # Keras 3 leaves it out
        self._set_up({**locals(), "activity_regularizer": obeyed})
        self.keras_2 = obeyed is not None  # the only difference


@keras_layer()
class SimpleRNNCell(RecurrentCell, SimpleRNNUnit, SimpleRNNCounterpart):
    """One step of `SimpleRNN`.

    Same as `keras.layers.SimpleRNNCell`, with the exceptions of `SimpleRNN`.

    Args:
        units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout,
            seed, input_shape, device, **kwargs: As in `SimpleRNN`.

    Shape:
        - Input: (batch, features), and the states, (batch, units) each.
        - Output: (batch, units), and the list of the next states.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> cell = SimpleRNNCell(3)
        >>> output, states = cell(torch.rand(2, 4), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 3), 1)
    """

    torch_name = "RNNCell"
    weight_specs = declare_weights("")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_up(locals())
