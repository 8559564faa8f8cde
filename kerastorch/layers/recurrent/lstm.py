"""LSTM: a long short-term memory over a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import activations
from ..._core.registry import keras_layer
from ..._ops.recurrent.fused import can_fuse, run_lstm
from ..._ops.recurrent.loop import States, Step, Wanted
from .cell import RecurrentCell
from .run import RecurrentRun
from .torch_conversion import RecurrentCounterpart
from .unit import Masks, RecurrentUnit, declare_weights

__all__ = ["LSTM", "LSTMCell"]


class LSTMUnit(RecurrentUnit):
    """The arithmetic of a long short-term memory; the gates are i, f, c, o, as in torch.nn."""

    torch_fixed: ClassVar[Mapping[str, Any]] = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
    }
    _gates = 4
    _state_count = 2
    unit_forget_bias: bool

    @classmethod
    def _add_old_defaults(cls, config: dict[str, Any]) -> None:
        config.setdefault("recurrent_activation", "hard_sigmoid")

    def _fill(self, spec: Any, view: Tensor) -> None:
        """Fill the bias of the forget gate with ones if that is wanted."""
        if spec.name != "bias" or not self.unit_forget_bias:
            super()._fill(spec, view)
            return
        n = self.units
        super()._fill(spec, view[:n])
        with torch.no_grad():
            view[n : 2 * n] = 1
        super()._fill(spec, view[2 * n :])

    def _make_step(self, like: Tensor, masks: Masks = None) -> Step:
        add_product = self._as_product(self._weights(like)[1], masks)
        activation, recurrent_activation = self.activation, self.recurrent_activation
        axis = self._channel_axis

        def step(projected: Tensor, states: States) -> tuple[Tensor, States]:
            h, c = states
            i, f, g, o = add_product(projected, h).chunk(4, axis)
            c = recurrent_activation(f) * c + recurrent_activation(i) * activation(g)
            h = recurrent_activation(o) * activation(c)
            return h, [h, c]

        return step

    def _can_fuse(self, x: Tensor) -> bool:
        """Return whether torch's kernel computes what the layer does."""
        return (
            self.activation is activations.tanh
            and self.recurrent_activation is activations.sigmoid
            and can_fuse(x, compiled_kernel=True)
        )

    def _fused(
        self, x: Tensor, states: States, mask: Tensor | None, wanted: Wanted
    ) -> tuple[Tensor, States]:
        kernel, recurrent, bias = self._weights(x)
        weights = [kernel, recurrent]
        if bias is not None:
            second = self._tensor(self._parameter_names[3])
            weights += [bias, second if second.dtype is bias.dtype else second.to(bias)]
        return run_lstm(x, states, weights, mask, wanted)


@keras_layer(old_names={"CuDNNLSTM": {"activation": "tanh", "recurrent_activation": "sigmoid"}})
class LSTM(RecurrentRun, LSTMUnit, RecurrentCounterpart):
    """A long short-term memory (LSTM) over the times of a sequence.

    Same as `keras.layers.LSTM`, except that `layer.train()` and `layer.eval()` turn dropout on and
    off, that `unroll` and `use_cudnn` change nothing, and that a rate of 1 drops nothing, as in
    Keras's loop. Torch's fused kernel computes tanh and sigmoid, with masks, too; a loop does all
    else.

    Args:
        units: The size of the state and the output.
        activation: The activation of the candidate and the output; a name or a callable.
        recurrent_activation: The activation of the gates.
        use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, input_shape, device,
            **kwargs: As in `Conv2D`.
        recurrent_initializer, recurrent_regularizer, recurrent_constraint: Of the kernel that
            multiplies the state.
        unit_forget_bias: Whether the bias of the forget gate starts at 1.
        dropout: The fraction of the inputs to drop in training, the same at all times.
        recurrent_dropout: That of the states.
        seed: An integer that makes dropout reproducible, or None.
        return_sequences: Whether to return the outputs at all times instead of the last one.
        return_state: Whether to return the last states, too.
        go_backwards: Whether to go from the end of the sequence to its start.
        stateful: Whether the last states of a call are the first ones of the next.
        unroll, use_cudnn: Accepted, since Keras has them.
        zero_output_for_mask: Whether the output is 0 where the mask is False; otherwise it is the
            previous one.

    Shape:
        - Input: (batch, time, features).
        - Output: (batch, units), or (batch, time, units) with `return_sequences`.
        - `weight_ih_l0`: (4 units, features), `weight_hh_l0`: (4 units, units), as in `nn.LSTM`.
        - `bias_ih_l0`: (4 units,), or None; `bias_hh_l0` is a buffer of zeros.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(LSTM(3, return_sequences=True)(torch.rand(2, 5, 4)).shape)
        (2, 5, 3)
    """

    torch_name = "LSTM"
    weight_specs = declare_weights("_l0")
    _never_in_config = ("use_cudnn",)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_up(locals())


@keras_layer()
class LSTMCell(RecurrentCell, LSTMUnit, RecurrentCounterpart):
    """One step of `LSTM`.

    Same as `keras.layers.LSTMCell`, with the exceptions of `LSTM`.

    Args:
        units, activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, unit_forget_bias, kernel_regularizer,
            recurrent_regularizer, bias_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, dropout, recurrent_dropout, seed, input_shape, device, **kwargs: As in
            `LSTM`.

    Shape:
        - Input: (batch, features), and the states, (batch, units) each.
        - Output: (batch, units), and the list of the next states.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> cell = LSTMCell(3)
        >>> output, states = cell(torch.rand(2, 4), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 3), 2)
    """

    torch_name = "LSTMCell"
    weight_specs = declare_weights("")
    _config_keys_first = (
        "units",
        "activation",
        "recurrent_activation",
        "use_bias",
        "unit_forget_bias",
    )

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
