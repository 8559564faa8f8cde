"""Flatten, Reshape and Permute."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from torch import Tensor

from ..._core import arguments
from ..._core.errors import argument_error
from ..._core.layout import permute_axes, to_channels_last
from ..._core.registry import keras_layer
from ..base.stateless import StatelessLayer, resolve_data_format
from ..base.weights import Sizes

__all__ = ["Flatten", "Permute", "Reshape"]


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
    _output_rank = 2

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = resolve_data_format(type(self).__name__, data_format)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None."""
        batch, *rest = arguments.as_shape_of_any_rank(
            type(self).__name__, "input_shape", input_shape, 1
        )
        sizes = [n for n in rest if n is not None]
        return (batch, prod(sizes) if len(sizes) == len(rest) else None)

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim < 2:
            if x.ndim == 0:
                self._refuse("inputs", "of 1 dimension or more", tuple(x.shape))
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

    def __init__(self, target_shape: Iterable[int | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        rule = "sizes >= 0, of which one may be -1 for what remains"
        if not isinstance(target_shape, Iterable):
            raise TypeError(argument_error(owner, "target_shape", rule, target_shape))
        given = tuple(target_shape)
        try:
            sizes = tuple(None if n is None else operator.index(n) for n in given)
        except TypeError:
            self._refuse("target_shape", rule, given)
        inferred = [n for n in sizes if n is None or n == -1]
        if len(inferred) > 1 or any(n is not None and n < -1 for n in sizes):
            self._refuse("target_shape", rule, given)
        self.target_shape = sizes

    @property
    def _output_rank(self) -> int | None:
        return len(self.target_shape) + 1

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None."""
        batch, *rest = arguments.as_shape_of_any_rank(
            type(self).__name__, "input_shape", input_shape, 1
        )
        if None in rest or None in self.target_shape:
            return (batch, *(None if n == -1 else n for n in self.target_shape))
        return (batch, *self._resolve_target("input_shape", input_shape))

    def _resolve_target(self, argument: str, shape: Sequence[Any]) -> tuple[int, ...]:
        """Return the target shape for a known input shape, with -1 replaced."""
        size, known = prod(shape[1:]), prod([n for n in self.target_shape if n not in (None, -1)])
        inferred = None in self.target_shape or -1 in self.target_shape
        if (known == 0 or size % known) if inferred else size != known:
            rule = f"a shape of as many elements as {self.target_shape}, without the batch"
            self._refuse(argument, rule, tuple(shape))
        rest = size // known if inferred else 0
        return tuple(rest if n is None or n == -1 else n for n in self.target_shape)

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim == 0:
            self._refuse("inputs", "of 1 dimension or more", tuple(x.shape))
        return x.reshape(x.shape[0], *self._resolve_target("inputs", x.shape))


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

    def __init__(self, dims: Iterable[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rule = "the integers from 1 on, each once"
        if not isinstance(dims, Iterable):
            raise TypeError(argument_error(type(self).__name__, "dims", rule, dims))
        given = tuple(dims)
        try:
            axes = tuple(map(operator.index, given))
        except TypeError:
            self._refuse("dims", rule, given)
        if sorted(axes) != list(range(1, len(axes) + 1)):
            self._refuse("dims", rule, given)
        self.dims = axes
        self._order = (0, *axes)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None."""
        rank = len(self._order)
        owner = type(self).__name__
        shape = arguments.as_shape(owner, "input_shape", input_shape, rank, dims=self.dims)
        return tuple(shape[axis] for axis in self._order)

    def _compute(self, x: Tensor) -> Tensor:
        if x.ndim != len(self._order):
            rule = f"of {len(self._order)} dimensions"
            self._refuse("inputs", rule, tuple(x.shape), dims=self.dims)
        return permute_axes(x, self._order)
