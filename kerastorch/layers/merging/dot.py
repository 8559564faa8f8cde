"""Dot: the dot products of two tensors along one axis of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ... import config
from ..._core.layout import permute_axes
from ..._core.registry import keras_layer
from ..base.weights import Sizes
from .merge import Merge

__all__ = ["Dot"]


@keras_layer()
class Dot(Merge):
    """Computes the dot products of the samples of two tensors.

    Same as `keras.layers.Dot`, except that integers are summed exactly, which Keras on TensorFlow
    does as floats. As in Keras, int8 becomes int32.

    Args:
        axes: The axis of both tensors to sum over, or a pair with one of each; not the batch.
        normalize: Whether to divide by the L2 norms along the axes first, so that the output is
            the cosine similarity.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: a list of two tensors of equal batch sizes and equal sizes along their axes.
        - Output: (batch, other sizes of the first, other sizes of the second); (batch, 1) if
          there are none.

    Raises:
        TypeError: `axes` is neither an integer nor a pair.
        ValueError: Another argument is invalid.
        IndexError: An input has no such axis.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
        >>> Dot(axes=1)([x, y])
        tensor([[11.]])
    """

    compute_layout = "as_given"
    differs_in_keras_2 = True
    _least_rank = 2
    _count = 2
    _shape_arguments = ("axes",)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: the output has no steps."""

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rule = "an integer or a pair of integers"
        if not isinstance(axes, (int, list, tuple)):
            self._refuse_argument("axes", rule, axes, error=TypeError)
        pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
        if len(pair) != 2 or not all(isinstance(n, int) for n in pair):
            self._refuse_argument("axes", rule, axes)
        self.axes = axes
        self.normalize = normalize
        self.keras_2 = self.keras_2 and normalize  # the only difference

    def _find_axes(self, shapes: Any) -> list[int]:
        """Return the axis of each tensor, counted from 0."""
        ranks = [len(shape) for shape in shapes]
        if isinstance(self.axes, int):  # as in Keras, a negative one may be any
            axes = [self.axes % n if self.axes < 0 else self.axes for n in ranks]
        else:
            axes = [a + n if -n <= a < 0 else a for a, n in zip(self.axes, ranks, strict=True)]
        if not all(0 <= axis < n for axis, n in zip(axes, ranks, strict=True)):
            rule = "axes of the inputs"
            self._refuse_argument("axes", rule, self.axes, error=IndexError, shapes=shapes)
        if 0 in axes:
            rule = "other axes than the batch"
            self._refuse_argument("axes", rule, self.axes, shapes=shapes)
        return axes

    def _output_shape(self, shapes: Any, argument: str = "input_shape") -> Sizes:
        (left, right), (first, second) = shapes, self._find_axes(shapes)
        pairs = ((left[0], right[0]), (left[first], right[second]))
        if any(ours != theirs and None not in (ours, theirs) for ours, theirs in pairs):
            rule = "of one batch size, and of one size along `axes`"
            self._refuse_argument(argument, rule, shapes, axes=self.axes)
        others = [n for axis, n in enumerate(left) if axis not in (0, first)]
        others += [n for axis, n in enumerate(right) if axis not in (0, second)]
        batch = right[0] if left[0] is None else left[0]
        return (batch, *(others or (1,)))

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        tensors = super()._prepare_input(inputs)
        for x in tensors:
            self._require_rank(x)
        self._output_shape([tuple(x.shape) for x in tensors], "inputs")
        return tensors

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        return self.normalize

    def _compute(self, x: list[Tensor]) -> Tensor:
        first, second = self._find_axes([one.shape for one in x])
        result = torch.promote_types(x[0].dtype, x[1].dtype)
        if result is torch.int8:
            result = torch.int32
        computed = self._torch_dtype if result is torch.bool else result
        left, right = (one.to(computed) for one in x)
        if self.normalize:
            pairs = ((left, first), (right, second))
            left, right = (_normalize(*pair, self.keras_2) for pair in pairs)
        ours = [axis for axis in range(1, left.ndim) if axis != first]
        theirs = [axis for axis in range(1, right.ndim) if axis != second]
        left = permute_axes(left, (0, *ours, first))
        right = permute_axes(right, (0, second, *theirs))
        sizes = (*left.shape[1:-1], *right.shape[2:]) or (1,)
        left = left.flatten(1, -2) if left.ndim > 2 else left.unsqueeze(1)
        right = right.flatten(2) if right.ndim > 2 else right.unsqueeze(2)
        return torch.bmm(left, right).to(result).reshape(left.shape[0], *sizes)


def _normalize(x: Tensor, axis: int, keras_2: bool) -> Tensor:
    """Divide by the L2 norm along an axis, or by the least norm that the dtype allows.

    The least one of Keras 2 is 1e-6.
    """
    squares = x.square().sum(axis, keepdim=True)
    if keras_2:
        return x * squares.clamp(min=1e-12).rsqrt()
    inverse, most = squares.rsqrt(), 1.0 / config.epsilon()
    return x * (inverse if most > torch.finfo(x.dtype).max else inverse.clamp(max=most))
