"""Layers that make one tensor of a list of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ..._core.arguments import shape as checked_shape
from ..._core.errors import problem
from ..._core.layout import CHANNELS_FIRST
from ..._core.registry import keras_layer
from ..._ops.tracing import by_element
from ..base.stateless import Sizes, Weightless

__all__ = ["Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"]


class Merge(Weightless):
    """A layer that is called on a list of tensors."""

    compute_layout = "any"
    takes_list = True
    returns_new_tensor = True  # of several tensors; a list of one is never lowered

    def _gradient_needs_output(self) -> bool:
        return False

    def _merged_shape(self, argument: str, shapes: list[Sizes]) -> Sizes:
        """Return the output's shape, or raise where the shapes do not go together."""
        raise NotImplementedError

    def _list(self, argument: str, value: Any, of: str) -> Sequence[Any]:
        if not isinstance(value, (list, tuple)) or not value:
            self._refuse(argument, f"a list of {of}", value)
        return value

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Sizes:
        """Return the output's shape for a list of inputs' shapes; None stays None."""
        owner, shapes = type(self).__name__, []
        for given in self._list("input_shape", input_shape, "shapes"):
            if not isinstance(given, (list, tuple)):
                self._refuse("input_shape", "a list of shapes", input_shape)
            rank = max(len(given), 1)
            shapes.append(checked_shape(owner, "input_shape", given, rank))
        return self._merged_shape("input_shape", shapes)

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        prepare = super()._prepare_input
        return [prepare(x) for x in self._list("inputs", inputs, "tensors")]


class Elementwise(Merge):
    """A merge of element with element.

    Sizes of 1 are repeated, but for the batch; a tensor of fewer axes gets the missing ones, of
    size 1, behind its batch. A subclass says what makes one of two.
    """

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        """Return what the layer makes of two tensors."""
        raise NotImplementedError

    def _compute(self, x: list[Tensor]) -> Tensor:
        y, *others = self._align(x)
        for other in others:
            y = by_element(self._joined, y, other)
        return y

    def _merged_shape(self, argument: str, shapes: list[Sizes]) -> Sizes:
        rank = max(len(shape) for shape in shapes)
        if not all(shapes):
            self._refuse(argument, "tensors with a batch", shapes)
        full = [(shape[0], *(1,) * (rank - len(shape)), *shape[1:]) for shape in shapes]
        batches = [shape[0] for shape in full if shape[0] is not None]
        if any(n != batches[0] for n in batches):  # in a set, sizes being traced would differ
            self._refuse(argument, "of one batch size", shapes)
        merged = list(full[0])
        for shape in full[1:]:
            for axis, (ours, theirs) in enumerate(zip(merged, shape, strict=True)):
                if axis and ours is not None and theirs is not None:
                    if ours != theirs and 1 not in (ours, theirs):
                        self._refuse(argument, "of sizes that are equal or 1", shapes)
                    merged[axis] = theirs if ours == 1 else ours
                else:
                    merged[axis] = None
        return (batches[0] if batches else None, *merged[1:])

    def _align(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return tensors of one rank and dtype, or raise where the shapes do not go together."""
        kind, shape = tensors[0].dtype, tensors[0].shape
        if shape and all(x.dtype is kind and x.shape == shape for x in tensors):  # the usual case
            return tensors
        kind = reduce(torch.promote_types, [x.dtype for x in tensors])
        self._merged_shape("inputs", [tuple(x.shape) for x in tensors])
        rank = max(x.ndim for x in tensors)
        return [x.to(kind)[(slice(None), *(None,) * (rank - x.ndim))] for x in tensors]


@keras_layer()
class Add(Elementwise):
    """The sum of a list of tensors.

    Same as `keras.layers.Add`.

    Args:
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: a list of (batch, ...) whose sizes are equal or 1.
        - Output: (batch, ...), the larger size of each axis.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import torch
        >>> Add()([torch.tensor([[1, 2]]), torch.tensor([[3, 4]])])
        tensor([[4, 6]])
    """

    overwrites_input = True

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        return y + x

    def _compute(self, x: list[Tensor], *, inplace: int | None = None) -> Tensor:
        if inplace is not None and len(x) == 2:
            y, other = x[inplace], x[1 - inplace]
            if y.shape == other.shape:
                return y.add_(other)
        return Elementwise._compute(self, x)  # quicker than by `super`


@keras_layer()
class Subtract(Elementwise):
    """The first of two tensors less the second.

    Same as `keras.layers.Subtract`. `Add` says what shapes and arguments it takes; booleans cannot
    be subtracted from booleans.

    Example:
        >>> import torch
        >>> Subtract()([torch.tensor([[1, 2]]), torch.tensor([[3, 3]])])
        tensor([[-2, -1]])
    """

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        return y - x

    def _list(self, argument: str, value: Any, of: str) -> Sequence[Any]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            self._refuse(argument, f"a list of two {of}", value)
        return value


@keras_layer()
class Multiply(Elementwise):
    """The product of a list of tensors.

    Same as `keras.layers.Multiply`. `Add` says what shapes and arguments it takes.

    Example:
        >>> import torch
        >>> Multiply()([torch.tensor([[1, 2]]), torch.tensor([[3, 4]])])
        tensor([[3, 8]])
    """

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        return y * x


@keras_layer()
class Average(Elementwise):
    """The mean of a list of tensors.

    Same as `keras.layers.Average`. Integers are added in their own type, in which a sum may wrap
    around, and then divided, which gives float64, or float32 for types of 16 bits or less, as on
    TensorFlow. `Add` says what shapes and arguments it takes.

    Example:
        >>> import torch
        >>> Average()([torch.tensor([[1, 2]]), torch.tensor([[3, 3]])])
        tensor([[2.0000, 2.5000]], dtype=torch.float64)
    """

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        return y + x

    def _compute(self, x: list[Tensor]) -> Tensor:
        total = super()._compute(x)
        if not total.is_floating_point():  # as TensorFlow divides integers
            total = total.double() if total.dtype.itemsize > 2 else total.float()
        return total / len(x)


@keras_layer()
class Maximum(Elementwise):
    """The largest of the elements in each place of a list of tensors.

    Same as `keras.layers.Maximum`, except that float64 stays float64. `Add` says what shapes and
    arguments it takes.

    Example:
        >>> import torch
        >>> Maximum()([torch.tensor([[1, 5]]), torch.tensor([[3, 4]])])
        tensor([[3, 5]])
    """

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.maximum(y, x)


@keras_layer()
class Minimum(Elementwise):
    """The smallest of the elements in each place of a list of tensors.

    Same as `keras.layers.Minimum`, except that float64 stays float64. `Add` says what shapes and
    arguments it takes.

    Example:
        >>> import torch
        >>> Minimum()([torch.tensor([[1, 5]]), torch.tensor([[3, 4]])])
        tensor([[1, 4]])
    """

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.minimum(y, x)


@keras_layer()
class Concatenate(Merge):
    """A list of tensors behind one another along one axis.

    Same as `keras.layers.Concatenate`.

    Args:
        axis: The axis; it may be the batch.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: a list of tensors whose sizes are equal but along `axis`.
        - Output: the same with the sum of their sizes along `axis`.

    Raises:
        TypeError: `axis` is no integer.
        ValueError: another argument is refused.

    Example:
        >>> import torch
        >>> Concatenate()([torch.tensor([[1, 2]]), torch.tensor([[3]])])
        tensor([[1, 2, 3]])
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        try:
            self.axis = operator.index(axis)
        except TypeError:
            raise TypeError(problem(type(self).__name__, "axis", "an integer", axis)) from None

    def _merged_shape(self, argument: str, shapes: list[Sizes]) -> Sizes:
        first, axis = shapes[0], self.axis
        if not -len(first) <= axis < len(first):
            rule = "an axis of the inputs"
            message = problem(type(self).__name__, "axis", rule, axis, "", shapes=shapes)
            raise IndexError(message)
        along: int | None = 0
        for shape in shapes:
            if len(shape) != len(first) or any(
                ours != theirs and None not in (ours, theirs) and place != axis % len(first)
                for place, (ours, theirs) in enumerate(zip(first, shape, strict=True))
            ):
                rule = f"a list of shapes that are equal but along axis {axis}"
                self._refuse(argument, rule, shapes)
            size = shape[axis]
            along = None if along is None or size is None else along + size
        merged = list(first)
        merged[axis] = along
        return tuple(merged)

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        tensors = super()._prepare_input(inputs)
        shapes = [x.shape for x in tensors]
        if self.axis in (-1, len(shapes[0]) - 1):  # the usual case, in less time
            rest = shapes[0][:-1]
            if shapes[0] and all(shape[:-1] == rest for shape in shapes):
                return tensors
        self._merged_shape("inputs", [tuple(shape) for shape in shapes])
        return tensors

    def _compute(self, x: list[Tensor], *, axis: int | None = None) -> Tensor:
        return torch.cat(x, self.axis if axis is None else axis)

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        inside = -rank <= self.axis < rank
        return {"axis": CHANNELS_FIRST[rank - 2].index(self.axis % rank)} if inside else {}

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"axis={self.axis}"
