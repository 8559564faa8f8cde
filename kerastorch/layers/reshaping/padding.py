"""ZeroPadding and Cropping: add zeros around the spatial axes, or cut off their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ..._core.arguments import as_pairs
from ..._core.config_versions import drop_newer, require_keras_1
from ..._core.registry import keras_layer
from ..._ops.window_arithmetic import to_f_pad_order
from ..base.stateless import SpatialLayer
from ..base.torch_conversion import TorchCounterpart, make_pad, read_pad
from ..base.weights import Sizes

__all__ = [
    *("Cropping1D", "Cropping2D", "Cropping3D"),
    *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
]

_KERAS_1_SIDES = {
    1: ("left_pad", "right_pad"),
    2: ("top_pad", "bottom_pad", "left_pad", "right_pad"),
}


class _PaddingCounterpart(TorchCounterpart):
    """The conversion of what adds zeros, or crops: `torch_pads` is the name of the amounts."""

    torch_name = "ConstantPad{}d"
    torch_only: ClassVar = {"value": 0}
    torch_pads: ClassVar[str]
    _sides: tuple[tuple[int, int], ...]

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        super()._read_module(owner, module)
        sides = read_pad(owner, module, cls.torch_pads)
        return {cls.torch_pads: sides if len(sides) > 1 else sides[0]}

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        sign = 1 if self.torch_pads == "padding" else -1
        return [make_pad([(sign * before, sign * after) for before, after in self._sides])]


class BaseZeroPadding(SpatialLayer, _PaddingCounterpart):
    """Zeros around `rank` spatial axes; `ZeroPadding2D` documents the arguments."""

    torch_pads = "padding"
    omits_data_format = True
    compute_layout = "any"
    returns_new_tensor = True
    _gradient_needs_output = False
    fixed_arguments = (*SpatialLayer.fixed_arguments, "padding")

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._sides = as_pairs(type(self).__name__, "padding", padding, self.rank)
        self.padding = self._sides if self.rank > 1 else self._sides[0]
        self._pad_widths = to_f_pad_order(list(self._sides))  # of channels-first inputs
        self._own_widths = [0, 0] * (2 - self._first_axis) + self._pad_widths

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3, from the four ways of Keras 1 too."""
        upgraded = super().upgrade_config(config)
        given = upgraded.get("padding")
        if isinstance(given, Mapping) and cls.rank in _KERAS_1_SIDES:
            names = _KERAS_1_SIDES[cls.rank]
            require_keras_1(given.keys() <= set(names), cls.__name__, "padding", f"of {names}")
            given = [given.get(name, 0) for name in names]
            upgraded["padding"] = given if cls.rank == 1 else [given[:2], given[2:]]
        elif isinstance(given, (list, tuple)) and len(given) == 4 and cls.rank == 2:
            upgraded["padding"] = [given[:2], given[2:]]
        return upgraded

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self._sides, strict=True)
        return tuple(None if n is None else n + sum(sides) for n, sides in axes)

    def _compute(self, x: Tensor, *, amounts: Sequence[int] | None = None) -> Tensor:
        return F.pad(x, self._own_widths if amounts is None else amounts)

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"amounts": self._pad_widths}

    def _symmetric_padding(self) -> tuple[int, ...] | None:
        symmetric = all(before == after for before, after in self._sides)
        return tuple(before for before, _ in self._sides) if symmetric else None


class BaseCropping(SpatialLayer, _PaddingCounterpart):
    """Cuts off the ends of `rank` spatial axes; `Cropping2D` documents the arguments."""

    torch_pads = "cropping"
    omits_data_format = True
    fixed_arguments = (*SpatialLayer.fixed_arguments, "cropping")

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._sides = as_pairs(type(self).__name__, "cropping", cropping, self.rank)
        self.cropping = self._sides if self.rank > 1 else self._sides[0]
        slices = [slice(before, -after or None) for before, after in self._sides]
        self._slices = (slice(None),) * self._first_axis + tuple(slices)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        axes = zip(sizes, self._sides, strict=True)
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


@keras_layer()
class ZeroPadding1D(BaseZeroPadding):
    """Adds zeros before and after the steps of a sequence.

    Same as `keras.layers.ZeroPadding1D`.

    Args:
        padding: An integer for both sides, or two for (before, after).
        data_format, **kwargs: As in `ZeroPadding2D`.

    Shape:
        - Input: as in `MaxPooling1D`.
        - Output: the same with the size `size + before + after`.

    Example:
        >>> import torch
        >>> ZeroPadding1D((2, 1))(torch.ones(1, 2, 1))[0, :, 0]
        tensor([0., 0., 1., 1., 0.])
    """

    rank = 1

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config; before 3.8 Keras had no `data_format` here."""
        written = super().get_config(target)
        drop_newer(written, 8, "data_format", "channels_last", target)
        return written


@keras_layer()
class ZeroPadding3D(BaseZeroPadding):
    """Adds zeros around depth, height and width.

    Same as `keras.layers.ZeroPadding3D`, except that a negative integer, which cuts off there, is
    refused.

    Args:
        padding: An integer for all six sides, three for (depth, height, width), or three pairs
            of (before, after).
        data_format, **kwargs: As in `ZeroPadding2D`.

    Shape:
        - Input: as in `MaxPooling3D`.
        - Output: the same with the sizes `size + before + after`.

    Example:
        >>> import torch
        >>> tuple(ZeroPadding3D((1, 0, 2))(torch.ones(1, 2, 2, 2, 1)).shape)
        (1, 4, 2, 6, 1)
    """

    rank = 3


@keras_layer()
class Cropping1D(BaseCropping):
    """Cuts off the first and the last steps of a sequence.

    Same as `keras.layers.Cropping1D`: (batch, steps, channels) alone. See `Cropping2D`.

    Args:
        cropping: An integer for both sides, or two for (before, after).
        **kwargs: As in `ZeroPadding2D`.

    Example:
        >>> import torch
        >>> Cropping1D((2, 1))(torch.arange(5.0).reshape(1, 5, 1))[0, :, 0]
        tensor([2., 3.])
    """

    rank = 1
    removed_arguments: ClassVar = ("data_format",)

    def __init__(self, cropping: Any = 1, **kwargs: Any) -> None:
        super().__init__(cropping, **kwargs)


@keras_layer()
class Cropping3D(BaseCropping):
    """Cuts off the ends of depth, height and width.

    Same as `keras.layers.Cropping3D`. See `ZeroPadding3D` for the arguments, and `Cropping2D`.

    Example:
        >>> import torch
        >>> Cropping3D(((1, 0), 0, (0, 1)))(torch.arange(8.0).reshape(1, 2, 2, 2, 1))[0, 0, :, 0, 0]
        tensor([4., 6.])
    """

    rank = 3

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(cropping, data_format, **kwargs)
