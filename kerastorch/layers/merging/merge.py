"""Layers that merge a list of tensors into one."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.registry import keras_layer
from ..._ops.tracing import elementwise_channels_first
from ..base.masks import list_masks, to_mask
from ..base.stateless import StatelessLayer
from ..base.weights import Sizes

__all__ = ["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"]


class Merge(StatelessLayer):
    """A layer that is called on a list of tensors."""

    supports_masking = True
    compute_layout = "any"
    takes_list = True
    returns_new_tensor = True  # not for a list of one tensor, which is never lowered
    _gradient_needs_output = False
    _least_rank = 1
    _count: ClassVar[int | None] = None  # of the tensors, if it is fixed

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where any mask is True, or None if an input has no mask.

        Keras 2 leaves out inputs without a mask, and takes where all masks are True.
        """
        masks = [] if mask is None else list_masks(self, mask, len(inputs))
        given = [one.bool() for one in masks if one is not None]
        if not given or not (self.masks_of_keras_2 or len(given) == len(masks)):
            return None
        return reduce(torch.logical_and if self.masks_of_keras_2 else torch.logical_or, given)

    def _check_list(self, argument: str, value: Any, of: str) -> Any:
        count = self._count
        if not isinstance(value, (list, tuple)) or not value or count not in (None, len(value)):
            rule = f"a list of {of}" if count is None else f"a list of {count} {of}"
            self._refuse_argument(argument, rule, value)
        return value

    def _check_shape(self, shape: Any, argument: str = "input_shape", batch: bool = True) -> Any:
        shapes = self._check_list(argument, shape, "shapes")
        if not all(isinstance(one, (list, tuple)) for one in shapes):
            self._refuse_argument(argument, "a list of shapes", shape)
        check = super()._check_shape
        return [check(one, argument, batch) for one in shapes]

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        prepare = super()._prepare_input
        return [prepare(x) for x in self._check_list("inputs", inputs, "tensors")]


class Elementwise(Merge):
    """An elementwise merge with broadcasting; missing axes come after the batch."""

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def _compute(self, x: list[Tensor]) -> Tensor:
        y, *others = self._align(x)
        for other in others:
            y = elementwise_channels_first(self._combine, y, other)
        return y

    def _output_shape(self, shapes: Any, argument: str = "input_shape") -> Sizes:
        rank = max(len(shape) for shape in shapes)
        if not all(shapes):
            self._refuse_argument(argument, "tensors with a batch", shapes)
        full = [(shape[0], *(1,) * (rank - len(shape)), *shape[1:]) for shape in shapes]
        batches = [shape[0] for shape in full if shape[0] is not None]
        if any(n != batches[0] for n in batches):  # no set: traced sizes would differ in it
            self._refuse_argument(argument, "of one batch size", shapes)
        merged = list(full[0])
        for shape in full[1:]:
            for axis, (ours, theirs) in enumerate(zip(merged, shape, strict=True)):
                if axis and ours is not None and theirs is not None:
                    if ours != theirs and 1 not in (ours, theirs):
                        self._refuse_argument(argument, "of sizes that are equal or 1", shapes)
                    merged[axis] = theirs if ours == 1 else ours
                else:
                    merged[axis] = None
        return (batches[0] if batches else None, *merged[1:])

    def _align(self, tensors: list[Tensor]) -> list[Tensor]:
        """Convert tensors to one rank and dtype, or raise if the shapes do not match."""
        dtype, shape = tensors[0].dtype, tensors[0].shape
        if shape and all(x.dtype is dtype and x.shape == shape for x in tensors):  # the usual case
            return tensors
        dtype = reduce(torch.promote_types, [x.dtype for x in tensors])
        self._output_shape([tuple(x.shape) for x in tensors], "inputs")
        rank = max(x.ndim for x in tensors)
        return [x.to(dtype)[(slice(None), *(None,) * (rank - x.ndim))] for x in tensors]


class MaskedElementwise(Elementwise):
    """An elementwise merge that leaves masked entries out, except in models of Keras 2."""

    call_arguments = ("mask",)

    def forward(self, inputs: Any, mask: Any = None) -> Tensor:
        """Merge a list of tensors.

        Args:
            inputs: The tensors.
            mask: A list with a mask (batch, steps) or None for each; the entries of a tensor that
                its mask leaves out do not count.

        Raises:
            ValueError: The layer does not accept such inputs or masks.
        """
        if mask is None or self.masks_of_keras_2:
            return super().forward(inputs)
        given = self._prepare_input(inputs)
        masks = list_masks(self, mask, len(given))
        x = self._align(given)
        # As in Keras, one that lacks axes loses its mask.
        kept = [m if y.ndim == z.ndim else None for m, y, z in zip(masks, given, x, strict=True)]
        outputs = self._merge_masked(x, [self._expand(*pair) for pair in zip(kept, x, strict=True)])
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _expand(self, mask: Any, x: Tensor) -> Tensor | None:
        """Return a mask with the shape of its tensor."""
        if mask is None:
            return None
        return to_mask(self, mask, x.shape[:-1], x.device).unsqueeze(-1).expand(x.shape)

    def _merge_masked(self, tensors: list[Tensor], masks: list[Tensor | None]) -> Tensor:
        """Merge tensors, each with a mask of its shape or None."""
        y, valid = tensors[0], masks[0]
        for x, mask in zip(tensors[1:], masks[1:], strict=True):
            if mask is not None:
                x = torch.where(mask, x, y)
            if valid is not None:
                y = torch.where(valid, y, x)
            valid = None if mask is None or valid is None else valid | mask
            y = self._combine(y, x)
        return y


@keras_layer()
class Add(Elementwise):
    """Adds a list of tensors.

    Same as `keras.layers.Add`.

    Args:
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: a list of tensors (batch, ...) whose sizes are equal or 1.
        - Output: (batch, ...), the larger size of each axis.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> Add()([torch.tensor([[1, 2]]), torch.tensor([[3, 4]])])
        tensor([[4, 6]])
    """

    overwrites_input = True

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def _compute(self, x: list[Tensor], *, inplace: int | None = None) -> Tensor:
        if inplace is not None and len(x) == 2:
            y, other = x[inplace], x[1 - inplace]
            if y.shape == other.shape:
                return y.add_(other)
        return Elementwise._compute(self, x)  # faster than `super`


@keras_layer()
class Subtract(Elementwise):
    """Subtracts the second of two tensors from the first.

    Same as `keras.layers.Subtract`. Two boolean tensors are refused. See `Add` for the arguments.

    Example:
        >>> import torch
        >>> Subtract()([torch.tensor([[1, 2]]), torch.tensor([[3, 3]])])
        tensor([[-2, -1]])
    """

    _count = 2

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        return x - y


@keras_layer()
class Multiply(MaskedElementwise):
    """Multiplies a list of tensors.

    Same as `keras.layers.Multiply`. See `Add` for the arguments.

    Example:
        >>> import torch
        >>> Multiply()([torch.tensor([[1, 2]]), torch.tensor([[3, 4]])])
        tensor([[3, 8]])
    """

    overwrites_input = True  # without gradients, which need it

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y

    def _compute(self, x: list[Tensor], *, inplace: int | None = None) -> Tensor:
        if inplace is not None and len(x) == 2 and not torch.is_grad_enabled():
            y, other = x[inplace], x[1 - inplace]
            fits = tuple(map(max, y.shape, other.shape)) == y.shape  # both have one rank
            if fits and y.shape[0] == other.shape[0]:
                return y.mul_(other)
        return Elementwise._compute(self, x)

    def _merge_masked(self, tensors: list[Tensor], masks: list[Tensor | None]) -> Tensor:
        pairs = zip(tensors, masks, strict=True)
        y = reduce(operator.mul, [x if m is None else torch.where(m, x, 1) for x, m in pairs])
        given = [mask for mask in masks if mask is not None]
        return torch.where(reduce(operator.or_, given), y, 0) if len(given) == len(masks) else y


@keras_layer()
class Average(Elementwise):
    """Averages a list of tensors.

    Same as `keras.layers.Average`. Integers are added in their own dtype, in which a sum may wrap
    around, and the mean is float64, or float32 for dtypes of 16 bits or less, as on TensorFlow.
    See `Add` for the arguments.

    Example:
        >>> import torch
        >>> Average()([torch.tensor([[1, 2]]), torch.tensor([[3, 3]])])
        tensor([[2.0000, 2.5000]], dtype=torch.float64)
    """

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def _compute(self, x: list[Tensor]) -> Tensor:
        total = super()._compute(x)
        if not total.is_floating_point():  # as TensorFlow divides integers
            total = total.double() if total.dtype.itemsize > 2 else total.float()
        return total / len(x)


@keras_layer()
class Maximum(MaskedElementwise):
    """The elementwise maximum of a list of tensors.

    Same as `keras.layers.Maximum`, except that float64 stays float64. See `Add` for the arguments.

    Example:
        >>> import torch
        >>> Maximum()([torch.tensor([[1, 5]]), torch.tensor([[3, 4]])])
        tensor([[3, 5]])
    """

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(x, y)


@keras_layer()
class Minimum(MaskedElementwise):
    """The elementwise minimum of a list of tensors.

    Same as `keras.layers.Minimum`, except that float64 stays float64. See `Add` for the arguments.

    Example:
        >>> import torch
        >>> Minimum()([torch.tensor([[1, 5]]), torch.tensor([[3, 4]])])
        tensor([[1, 4]])
    """

    def _combine(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.minimum(x, y)
