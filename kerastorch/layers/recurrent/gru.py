"""GRU: a gated recurrent unit over a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ... import activations
from ..._core.layout import kernel_to_weight, weight_to_kernel
from ..._core.registry import keras_layer
from ..._ops.recurrent.fused import can_fuse, run_gru
from ..._ops.recurrent.loop import MaskedOutput, States, Step
from ..base.weights import Shape, WeightSpec, declare_weight
from .cell import RecurrentCell
from .run import RecurrentRun
from .torch_conversion import RecurrentCounterpart
from .unit import Masks, RecurrentUnit

__all__ = ["GRU", "GRUCell"]


class GRUUnit(RecurrentUnit):
    """The arithmetic of a gated recurrent unit; the gates are z, r, h, as in Keras.

    The weights are stored in Keras's order under names of their own: torch's gates are r, z, n,
    and its module has two biases, so that no view of one is the other.
    """

    weight_specs = (
        declare_weight("kernel", "kernel"),
        WeightSpec(
            "recurrent_kernel", "recurrent_kernel", "recurrent_initializer",
            "recurrent_regularizer", "recurrent_constraint",
        ),
        declare_weight("bias", "bias", when="use_bias"),
    )  # fmt: skip
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

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shapes = super()._weight_shapes(shape, argument)
        size = 3 * self.units
        return {
            name: ((2, size) if self.reset_after else (size,)) if name == "bias" else found[::-1]
            for name, found in shapes.items()
        }

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        kernel = shapes.get("kernel", ())
        return super()._infer_input_shape({"kernel": kernel[::-1]})

    def _weights(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        kernel, recurrent, bias = super()._weights(like)
        return kernel_to_weight(kernel), kernel_to_weight(recurrent), bias

    def _projected_bias(self, bias: Tensor | None) -> Tensor | None:
        return bias[0] if bias is not None and self.reset_after else bias

    def _make_step(self, like: Tensor, masks: Masks = None) -> Step:
        _, recurrent, bias = self._weights(like)
        activation, recurrent_activation, n = self.activation, self.recurrent_activation, self.units
        if self.reset_after:
            own = like.new_zeros(3 * n) if bias is None else bias[1]
            add_product = self._as_product(recurrent, masks)

            def step(projected: Tensor, states: States) -> tuple[Tensor, States]:
                h = states[0]
                gates, inner = torch.split(projected, [2 * n, n], -1)
                others, product = torch.split(add_product(own, h), [2 * n, n], -1)
                z, r = recurrent_activation(gates + others).chunk(2, -1)
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
            z, r = recurrent_activation(add_gates(gates, h)).chunk(2, -1)
            new = activation(add_new(inner, r * (h if last is None else h * last)))
            h = z * h + (1 - z) * new
            return h, [h]

        return step_before

    @classmethod
    def _join_weights(cls, found: Sequence[Tensor | None]) -> list[Tensor | None]:
        swapped = [None if w is None else to_torch_gates(w.detach()) for w in found]
        kernel, recurrent, first, second = swapped
        kernels = [None if w is None else weight_to_kernel(w) for w in (kernel, recurrent)]
        bias = None if first is None or second is None else torch.stack([first, second])
        pairs = zip([*kernels, bias], found, strict=False)
        return [None if w is None else _copy_parameter(w, like) for w, like in pairs]

    @classmethod
    def _split_weights(cls, found: Sequence[Tensor | None]) -> list[Tensor | None]:
        kernel, recurrent, bias = found
        parts = [None if w is None else kernel_to_weight(w) for w in (kernel, recurrent)]
        parts += [None, None] if bias is None else list(bias)
        pairs = zip(parts, (kernel, recurrent, bias, bias), strict=True)
        return [
            None if w is None else _copy_parameter(to_torch_gates(w.detach()), like)
            for w, like in pairs
        ]

    def _can_fuse(self, x: Tensor) -> bool:
        """Return whether torch's kernel computes what the layer does."""
        return (
            self.reset_after
            and self.activation is activations.tanh
            and self.recurrent_activation is activations.sigmoid
            and can_fuse(x, compiled_kernel=False)
        )

    def _fused(
        self, x: Tensor, states: States, mask: Tensor | None, masked_output: MaskedOutput
    ) -> tuple[Tensor, States]:
        kernel, recurrent, bias = self._weights(x)
        weights = [to_torch_gates(kernel), to_torch_gates(recurrent)]
        if bias is not None:
            weights += [to_torch_gates(bias[0]), to_torch_gates(bias[1])]
        y, h = run_gru(x, states[0], weights, mask, masked_output)
        return y, [h]


def _copy_parameter(values: Tensor, like: Any) -> nn.Parameter:
    """Return a parameter of its own memory that is trained where another one is."""
    copied = values.clone(memory_format=torch.contiguous_format)
    return nn.Parameter(copied, like.requires_grad)


def to_torch_gates(tensor: Tensor) -> Tensor:
    """Exchange the first two gates of three along the first axis: z, r, h <-> r, z, n."""
    first, second, third = tensor.chunk(3)
    return torch.cat([second, first, third])


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
        - `kernel`: (features, 3 units), `recurrent_kernel`: (units, 3 units), as in Keras.
        - `bias`: (2, 3 units) with `reset_after`, otherwise (3 units,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(GRU(3, return_sequences=True)(torch.rand(2, 5, 4)).shape)
        (2, 5, 3)
    """

    torch_name = "GRU"
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
