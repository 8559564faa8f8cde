"""Flatten, Reshape, Permute and RepeatVector."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..._core.arguments import as_positive_int
from ..._core.layout import permute_axes, to_channels_last
from ..._core.registry import keras_layer
from ..base.stateless import StatelessLayer, resolve_data_format
from ..base.weights import Sizes

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


@keras_layer()
class Flatten(StatelessLayer):
    """Flattens the input, all but the batch.

    Same as `keras.layers.Flatten`: with "channels_first" the channels are moved to the end first,
    so that a `Dense` that follows has the same weights in either format.

    Args:
        data_format: "channels_last" or "channels_first"; by default that of `kerastorch.config`.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input: (batch, ...).
        - Output: (batch, product of the rest); (batch, 1) for an input (batch,).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> tuple(Flatten()(np.zeros((2, 10, 64))).shape)
        (2, 640)
    """

    is_flat = True
    _least_rank = 1
    _output_rank = 2

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = resolve_data_format(type(self).__name__, data_format)

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        return (shape[0], None if None in shape[1:] else prod(shape[1:]))

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim < 2:
            self._require_rank(x)
            return x.unsqueeze(1)
        if self.data_format == "channels_first":
            x = to_channels_last(x)
        return x.flatten(1)


@keras_layer()
class Reshape(StatelessLayer):
    """Reshapes the input, all but the batch.

    Same as `keras.layers.Reshape`. See `Flatten` for further arguments.

    Args:
        target_shape: The shape of one output sample. One size may be -1 or None: it is inferred.
        **kwargs: As in `Flatten`.

    Shape:
        - Input: (batch, ...).
        - Output: (batch, *target_shape).

    Raises:
        TypeError: `target_shape` is not iterable.
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> tuple(Reshape((-1, 2, 2))(np.zeros((5, 12))).shape)
        (5, 3, 2, 2)
    """

    _least_rank = 1

    def __init__(self, target_shape: Iterable[int | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rule = "sizes >= 0, of which one may be -1 for what remains"
        sizes = _check_integers(self, "target_shape", target_shape, rule)
        inferred = [n for n in sizes if n is None or n == -1]
        if len(inferred) > 1 or any(n is not None and n < -1 for n in sizes):
            self._refuse_argument("target_shape", rule, sizes)
        self.target_shape = sizes

    @property
    def _output_rank(self) -> int | None:  # type: ignore[override]
        return len(self.target_shape) + 1

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        batch, *rest = shape
        if None in rest or None in self.target_shape:
            return (batch, *(None if n == -1 else n for n in self.target_shape))
        return (batch, *self._resolve_target(shape, argument))

    def _resolve_target(self, shape: Sequence[Any], argument: str) -> tuple[int, ...]:
        """Return the target shape for a known input shape, with -1 replaced."""
        size, known = prod(shape[1:]), prod([n for n in self.target_shape if n not in (None, -1)])
        inferred = None in self.target_shape or -1 in self.target_shape
        if (known == 0 or size % known) if inferred else size != known:
            rule = f"a shape of as many elements as {self.target_shape}, without the batch"
            self._refuse_argument(argument, rule, tuple(shape))
        rest = size // known if inferred else 0
        return tuple(rest if n is None or n == -1 else n for n in self.target_shape)

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim == 0:
            self._require_rank(x)
        return x.reshape(x.shape[0], *self._resolve_target(x.shape, "inputs"))


@keras_layer()
class Permute(StatelessLayer):
    """Permutes the axes of the input, all but the batch.

    Same as `keras.layers.Permute`. The output is a view of the input.

    Args:
        dims: The input axis of each output axis, counted from 1, since the batch stays first:
            (2, 1) swaps the last two axes of 3-D inputs.
        **kwargs: As in `Flatten`.

    Shape:
        - Input: (batch, ...), of `len(dims) + 1` dimensions.
        - Output: (batch, ...), the sizes in the order of `dims`.

    Raises:
        TypeError: `dims` is not iterable.
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> tuple(Permute((2, 1))(np.zeros((5, 10, 64))).shape)
        (5, 64, 10)
    """

    _shape_arguments = ("dims",)

    def __init__(self, dims: Iterable[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rule = "the integers from 1 on, each once"
        self.dims: Any = _check_integers(self, "dims", dims, rule)
        if set(self.dims) != set(range(1, len(self.dims) + 1)):
            self._refuse_argument("dims", rule, self.dims)
        self._order = (0, *self.dims)

    @property
    def _input_rank(self) -> int:
        return len(self._order)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        return tuple(shape[axis] for axis in self._order)

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim != len(self._order):
            self._require_rank(x)
        return permute_axes(x, self._order)


@keras_layer()
class RepeatVector(StatelessLayer):
    """Repeats each sample, a vector, as the steps of a sequence.

    Same as `keras.layers.RepeatVector`.

    Args:
        n: How often, an integer.
        **kwargs: As in `Flatten`.

    Shape:
        - Input: (batch, features).
        - Output: (batch, n, features).

    Raises:
        TypeError: `n` is no integer.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> RepeatVector(2)(torch.arange(3).reshape(1, 3))
        tensor([[[0, 1, 2],
                 [0, 1, 2]]])
    """

    returns_new_tensor = True
    _gradient_needs_output = False
    _input_rank = 2
    _output_rank = 3

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(n, int) or isinstance(n, bool):
            self._refuse_argument("n", "a positive integer", n, error=TypeError)
        self.n = as_positive_int(type(self).__name__, "n", n)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        return (shape[0], self.n, *shape[1:])

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            self._require_rank(x)
        repeated = x.unsqueeze(1).expand(-1, self.n, -1)
        return repeated.clone(memory_format=torch.contiguous_format)


def _check_integers(layer: StatelessLayer, argument: str, value: Any, rule: str) -> Any:
    """Return an iterable of integers, or None, as a tuple, or raise."""
    if not isinstance(value, Iterable):
        layer._refuse_argument(argument, rule, value, error=TypeError)
    given = tuple(value)
    try:
        return tuple(None if n is None else operator.index(n) for n in given)
    except TypeError:
        layer._refuse_argument(argument, rule, given)
