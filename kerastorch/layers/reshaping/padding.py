"""ZeroPadding and Cropping: add zeros around the spatial axes, or cut off their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..._core.arguments import as_pairs
from ..._core.registry import keras_layer
from ..._ops.window_arithmetic import to_f_pad_order
from ..base.stateless import SpatialLayer
from ..base.weights import Sizes

__all__ = ["Cropping2D", "ZeroPadding2D"]


class BaseZeroPadding(SpatialLayer):
    """Zeros around `rank` spatial axes; `ZeroPadding2D` documents the arguments."""

    compute_layout = "any"
    returns_new_tensor = True
    _gradient_needs_output = False

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.padding = as_pairs(type(self).__name__, "padding", padding, self.rank)
        self._pad_widths = to_f_pad_order(list(self.padding))

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.padding, strict=True)
        return tuple(None if n is None else n + sum(sides) for n, sides in axes)

    def _compute(self, x: Tensor, *, amounts: Sequence[int] | None = None) -> Tensor:
        if amounts is None:
            amounts = self._pad_widths if self._first_axis == 2 else [0, 0, *self._pad_widths]
        return F.pad(x, amounts)

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"amounts": self._pad_widths}

    def _symmetric_padding(self) -> tuple[int, ...] | None:
        symmetric = all(before == after for before, after in self.padding)
        return tuple(before for before, _ in self.padding) if symmetric else None


class BaseCropping(SpatialLayer):
    """Cuts off the ends of `rank` spatial axes; `Cropping2D` documents the arguments."""

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.cropping = as_pairs(type(self).__name__, "cropping", cropping, self.rank)
        slices = [slice(before, -after or None) for before, after in self.cropping]
        self._slices = (slice(None),) * self._first_axis + tuple(slices)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self.cropping, strict=True)
        remaining = tuple(None if n is None else n - sum(sides) for n, sides in axes)
        if any(n is not None and n < 1 for n in remaining):
            rule = "a shape larger than the cropping"
            self._refuse_shape(argument, rule, shape, cropping=self.cropping)
        return remaining

    def _compute(self, x: Tensor) -> Tensor:
        self._new_sizes("inputs", tuple(x.shape), self._split(x.shape)[1])
        return x[self._slices]


@keras_layer()
class ZeroPadding2D(BaseZeroPadding):
    """Adds zeros around height and width.

    Same as `keras.layers.ZeroPadding2D`, except that a negative integer is refused.

    Args:
        padding: An integer for all four sides, two for (height, width), or
            ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; by default that of `kerastorch.config`.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input: as in `Conv2D`.
        - Output: the same with the sizes `size + before + after`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> ZeroPadding2D(((1, 0), (0, 2)))(torch.ones(1, 1, 2, 1))[0, ..., 0]
        tensor([[0., 0., 0., 0.],
                [1., 1., 0., 0.]])
    """

    rank = 2


@keras_layer()
class Cropping2D(BaseCropping):
    """Cuts off rows and columns at the sides of height and width.

    Same as `keras.layers.Cropping2D`. The output, of the sizes `size - before - after`, at least 1,
    is a view of the input. See `ZeroPadding2D` for the arguments; `cropping` is given as `padding`.

    Example:
        >>> import torch
        >>> Cropping2D(((1, 0), (0, 2)))(torch.arange(8.0).reshape(1, 2, 4, 1))[0, ..., 0]
        tensor([[4., 5.]])
    """

    rank = 2
