"""The base class of initializers, and their shape and dtype arguments."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import config
from .._core.config_arrays import Config
from .._core.constructor import OwnConstructor
from .._core.errors import argument_error
from .._core.seeds import Shape, get_default_device

if TYPE_CHECKING:
    from typing_extensions import Self

DType = str | torch.dtype | None

_DTYPES = (
    "float16", "bfloat16", "float32", "float64",
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip


class Initializer(OwnConstructor):
    """Base class of initializers. Same as `keras.Initializer`.

    A subclass defines `__call__(shape, dtype=None)`, and `get_config()`, which returns the
    constructor's arguments.
    """

    def __call__(self, shape: Sequence[int], dtype: DType = None) -> Tensor:
        """Return the values.

        Args:
            shape: The shape, in Keras's axis order.
            dtype: A Keras or torch dtype; None for `keras.config.floatx()`.
        """
        values = self._fill(as_shape(shape), as_dtype(type(self).__name__, dtype))
        return values.to(get_default_device()).contiguous()

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Return the values; only the classes here define this instead of `__call__`."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} does not have `__call__(shape, dtype=None)`.")

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Create an instance from a config; ignore the `dtype` that tf.keras wrote."""
        if "dtype" in config and "dtype" not in inspect.signature(cls).parameters:
            config = {name: value for name, value in config.items() if name != "dtype"}
        return super().from_config(config)

    def clone(self) -> Self:
        """Return a new initializer with the same config."""
        return self.from_config(self.get_config())


def as_shape(shape: Sequence[int] | int) -> Shape:
    """Return a shape as a tuple; an integer is the size of a vector."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def as_dtype(owner: str, dtype: DType) -> torch.dtype:
    """Return the torch dtype for `dtype`, where None is the default float type."""
    if isinstance(dtype, torch.dtype):
        return dtype
    name = config.floatx() if dtype is None else dtype
    if name not in _DTYPES:
        rule = f"a torch dtype or one of {', '.join(map(repr, _DTYPES))}"
        raise ValueError(argument_error(owner, "dtype", rule, dtype))
    found: torch.dtype = getattr(torch, name)
    return found
