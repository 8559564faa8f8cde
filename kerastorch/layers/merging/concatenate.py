"""Concatenate: a list of tensors along one axis."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._core.layout import CHANNELS_FIRST
from ..._core.registry import keras_layer
from ..base.masks import list_masks
from ..base.weights import Sizes
from .merge import Merge

__all__ = ["Concatenate"]


@keras_layer()
class Concatenate(Merge):
    """Concatenates a list of tensors along one axis.

    Same as `keras.layers.Concatenate`.

    Args:
        axis: The axis; it may be the batch.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: a list of tensors whose sizes are equal except along `axis`.
        - Output: the same with the sum of their sizes along `axis`.

    Raises:
        TypeError: `axis` is no integer.
        ValueError: Another argument is invalid.

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
            self._refuse_argument("axis", "an integer", axis, error=TypeError)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the masks concatenated along the axis, True for an input without one.

        Along the channels, a step is left out where all masks do so, in Keras 2 where any does.
        """
        masks = [None] if mask is None else list_masks(self, mask, len(inputs))
        if all(one is None for one in masks):
            return None
        found = [self._widen(*pair) for pair in zip(masks, inputs, strict=True)]
        joined = torch.cat(found, self.axis)
        return joined.all(-1) if self.masks_of_keras_2 else joined.any(-1)

    def _widen(self, mask: Any, x: Any) -> Tensor:
        """Return a mask with the shape of its tensor."""
        if mask is None:
            return torch.ones_like(self._as_tensor(x), dtype=torch.bool)
        missing = (None,) * (len(x.shape) - mask.ndim)
        return mask.bool()[(..., *missing)].expand(x.shape)  # type: ignore[no-any-return]

    def _output_shape(self, shapes: Any, argument: str = "input_shape") -> Sizes:
        first, axis = shapes[0], self.axis
        if not -len(first) <= axis < len(first):
            self._refuse_argument(
                "axis", "an axis of the inputs", axis, error=IndexError, shapes=shapes
            )
        along = axis % len(first)
        for shape in shapes:
            if len(shape) != len(first) or any(
                ours != theirs and None not in (ours, theirs) and index != along
                for index, (ours, theirs) in enumerate(zip(first, shape, strict=True))
            ):
                rule = f"a list of shapes that are equal but along axis {axis}"
                self._refuse_argument(argument, rule, shapes)
        sizes = [shape[along] for shape in shapes]
        return (*first[:along], None if None in sizes else sum(sizes), *first[along + 1 :])

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        tensors = super()._prepare_input(inputs)
        shapes = [x.shape for x in tensors]
        if self.axis in (-1, len(shapes[0]) - 1):  # the usual case, checked faster
            rest = shapes[0][:-1]
            if shapes[0] and all(shape[:-1] == rest for shape in shapes):
                return tensors
        self._output_shape([tuple(shape) for shape in shapes], "inputs")
        return tensors

    def _compute(self, x: list[Tensor], *, axis: int | None = None) -> Tensor:
        return torch.cat(x, self.axis if axis is None else axis)

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        inside = -rank <= self.axis < rank
        return {"axis": CHANNELS_FIRST[rank - 2].index(self.axis % rank)} if inside else {}
