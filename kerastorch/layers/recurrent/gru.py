"""GRU: a gated recurrent unit over a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import activations
from ..._core.layout import kernel_to_weight, weight_to_kernel
from ..._core.registry import keras_layer
from ..._ops.recurrent.fused import can_fuse, run_gru
from ..._ops.recurrent.loop import States, Step, Wanted
from ..base.weights import Shape, WeightSpec, declare_weight
from .cell import RecurrentCell
from .run import RecurrentRun
from .torch_conversion import RecurrentCounterpart
from .unit import Masks, RecurrentUnit

__all__ = ["GRU", "GRUCell"]


def swap_gates(tensor: Tensor) -> Tensor:
    """Return a copy with the first two of three gates swapped along the first axis.

    Keras's gates are z, r, h, those of torch.nn are r, z, n.
    """
    first, second, third = tensor.chunk(3)
    return torch.cat([second, first, third])


def _compute_kernel(weight: Tensor) -> Tensor:
    return weight_to_kernel(swap_gates(weight))


def _write_kernel(kernel: Tensor) -> list[Tensor]:
    return [swap_gates(kernel_to_weight(kernel))]


def _compute_bias(bias: Tensor, second: Tensor | None = None) -> Tensor:
    swapped = swap_gates(bias)
    return swapped if second is None else torch.stack([swapped, swap_gates(second)])


def _write_bias(bias: Tensor) -> list[Tensor]:
    return [swap_gates(row) for row in bias.reshape(-1, bias.shape[-1])]


def _declare_weights(suffix: str) -> tuple[WeightSpec, ...]:
    """Return the specs of the weights under the names of torch.nn, which end in `suffix`."""
    second = f"bias_hh{suffix}"
    kernel: dict[str, Any] = {"view": _compute_kernel, "write": _write_kernel}
    bias: dict[str, Any] = {"view": _compute_bias, "write": _write_bias, "also": (second,)}
    return (
        declare_weight(f"weight_ih{suffix}", "kernel", **kernel),
        WeightSpec(
            f"weight_hh{suffix}", "recurrent_kernel", "recurrent_initializer",
            "recurrent_regularizer", "recurrent_constraint", **kernel,
        ),
        declare_weight(f"bias_ih{suffix}", "bias", when="use_bias", **bias),
        WeightSpec(second, "second_bias", "bias_initializer", when=("use_bias", "reset_after"),
                   in_keras=False),
    )  # fmt: skip


class GRUUnit(RecurrentUnit):
    """The arithmetic of a gated recurrent unit; the gates are r, z, n, as in torch.nn."""

    fixed_arguments: ClassVar[tuple[str, ...]] = ("units", "use_bias", "reset_after")
    torch_fixed: ClassVar[Mapping[str, Any]] = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "reset_after": True,
    }
    _gates = 3
    reset_after: bool

    @classmethod
    def _add_old_defaults(cls, config: dict[str, Any]) -> None:
        config.setdefault("recurrent_activation", "hard_sigmoid")
        config.setdefault("reset_after", False)

    def _to_torch_shape(self, spec: WeightSpec, shape: Shape) -> Shape:
        """Convert a weight's shape in Keras's order of axes; that of a bias has two rows or one."""
        if spec.name != "bias":
            return shape[::-1]
        if shape[:-1] != ((2,) if self.reset_after else ()):
            raise KeyError(shape)
        return shape[-1:]

    def _sample_masks(self, like: Tensor) -> tuple[Masks, Masks]:
        inputs, states = super()._sample_masks(like)
        return _swap_masks(inputs), _swap_masks(states)

    def _get_second_bias(self, like: Tensor) -> Tensor:
        found: Tensor = self._tensor(self._parameter_names[3])
        return found.to(like.dtype)

    def _make_step(self, like: Tensor, masks: Masks = None) -> Step:
        recurrent = self._weights(like)[1]
        activation, recurrent_activation, n = self.activation, self.recurrent_activation, self.units
        if self.reset_after:
            bias = self._get_second_bias(like) if self.use_bias else like.new_zeros(3 * n)
            add_product = self._as_product(recurrent, masks)

            def step(projected: Tensor, states: States) -> tuple[Tensor, States]:
                h = states[0]
                gates, inner = torch.split(projected, [2 * n, n], -1)
                others, product = torch.split(add_product(bias, h), [2 * n, n], -1)
                r, z = recurrent_activation(gates + others).chunk(2, -1)
                new = activation(inner + r * product)
                h = z * h + (1 - z) * new
                return h, [h]

            return step
        of_gates, of_new = recurrent[: 2 * n], recurrent[2 * n :]
        both = masks[:2] if isinstance(masks, list) else masks
        last = masks[2] if isinstance(masks, list) else masks
        add_gates, add_new = self._as_product(of_gates, both), self._as_product(of_new, None)

        def step_before(projected: Tensor, states: States) -> tuple[Tensor, States]:
            h = states[0]
            gates, inner = torch.split(projected, [2 * n, n], -1)
            r, z = recurrent_activation(add_gates(gates, h)).chunk(2, -1)
            new = activation(add_new(inner, r * (h if last is None else h * last)))
            h = z * h + (1 - z) * new
            return h, [h]

        return step_before

    def _can_fuse(self, x: Tensor) -> bool:
        """Return whether torch's kernel computes what the layer does."""
        return (
            self.reset_after
            and self.activation is activations.tanh
            and self.recurrent_activation is activations.sigmoid
            and can_fuse(x, compiled_kernel=False)
        )

    def _fused(
        self, x: Tensor, states: States, mask: Tensor | None, wanted: Wanted
    ) -> tuple[Tensor, States]:
        kernel, recurrent, bias = self._weights(x)
        weights = [kernel, recurrent]
        if bias is not None:
            weights += [bias, self._get_second_bias(x)]
        return run_gru(x, states[0], weights, mask, wanted)


def _swap_masks(masks: Masks) -> Masks:
    """Return masks of dropout in the order of the gates here, if there is one for each."""
    return [masks[1], masks[0], masks[2]] if isinstance(masks, list) else masks


_CUDNN = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}


@keras_layer(old_names={"CuDNNGRU": _CUDNN})
class GRU(RecurrentRun, GRUUnit, RecurrentCounterpart):
    """A gated recurrent unit (GRU) over the times of a sequence.

    Same as `keras.layers.GRU`, with the exceptions of `LSTM`.

    Args:
        reset_after: Whether the reset gate multiplies the product of the state, as in `nn.GRU`, or
            the state.
        units, activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, kernel_regularizer, recurrent_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, dropout, recurrent_dropout, seed, return_sequences, return_state,
            go_backwards, stateful, unroll, use_cudnn, zero_output_for_mask, input_shape, device,
            **kwargs: As in `LSTM`.

    Shape:
        - Input and output: As in `LSTM`.
        - `weight_ih_l0`: (3 units, features), `weight_hh_l0`: (3 units, units), as in `nn.GRU`.
        - `bias_ih_l0`: (3 units,), and `bias_hh_l0` with `reset_after`; or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(GRU(3, return_sequences=True)(torch.rand(2, 5, 4)).shape)
        (2, 5, 3)
    """

    torch_name = "GRU"
    weight_specs = _declare_weights("_l0")
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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_up(locals())


@keras_layer()
class GRUCell(RecurrentCell, GRUUnit, RecurrentCounterpart):
    """One step of `GRU`.

    Same as `keras.layers.GRUCell`, with the exceptions of `GRU`.

    Args:
        units, activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, kernel_regularizer, recurrent_regularizer,
            bias_regularizer, kernel_constraint, recurrent_constraint, bias_constraint, dropout,
            recurrent_dropout, reset_after, seed, input_shape, device, **kwargs: As in `GRU`.

    Shape:
        - Input: (batch, features), and the states, (batch, units) each.
        - Output: (batch, units), and the list of the next states.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> cell = GRUCell(3)
        >>> output, states = cell(torch.rand(2, 4), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 3), 1)
    """

    torch_name = "GRUCell"
    weight_specs = _declare_weights("")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        reset_after: bool = True,
        seed: int | None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_up(locals())
