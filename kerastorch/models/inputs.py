"""A model's inputs, in the dtype and rank that their InputLayers declare."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._core.errors import argument_error
from ..layers.core.input import InputLayer, to_dense


class Input(NamedTuple):
    """One input of a model.

    Attributes:
        name: The name of its InputLayer.
        dtype: The dtype that it is cast to.
        shape: Its shape, batch included; None for any.
        optional: Whether it may be None.
        sized: Whether its sizes must match, apart from the batch, or only the rank.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int | None, ...] | None
    optional: bool = False
    sized: bool = True

    @classmethod
    def of(cls, layer: InputLayer, *, sized: bool) -> Input:
        """Return the input that an InputLayer declares."""
        dtype: torch.dtype = getattr(torch, layer.dtype)
        return cls(layer.name, dtype, layer.batch_shape, layer.optional, sized)

    def standard(self, x: Tensor, owner: Any) -> Tensor:
        """Return an input in the declared dtype and rank.

        As in Keras, a last axis of size 1 may be added or missing, and sparse tensors become dense.

        Raises:
            ValueError: it has another shape, is nested, or is complex.
        """
        x = to_dense(x, owner._title, self.name)
        wanted = self.shape
        if wanted is not None:
            shape = x.shape
            if len(shape) == len(wanted) + 1 and shape[-1] == 1:
                x = x.squeeze(-1)
            elif len(shape) == len(wanted) - 1 and wanted[-1] == 1:
                x = x.unsqueeze(-1)
            if x.ndim != len(wanted) or (self.sized and not self._fits(x)):
                rule = f"of the shape {(None, *wanted[1:]) if wanted else ()}"
                raise ValueError(argument_error(owner._title, self.name, rule, tuple(shape)))
        if x.dtype is self.dtype:
            return x
        if x.is_complex():
            raise ValueError(
                argument_error(owner._title, self.name, "a tensor of real numbers", x.dtype)
            )
        return x.to(self.dtype)

    def _fits(self, x: Tensor) -> bool:
        wanted: Any = self.shape
        sizes = zip(x.shape[1:], wanted[1:], strict=True)
        return all(size is None or own == size for own, size in sizes)
