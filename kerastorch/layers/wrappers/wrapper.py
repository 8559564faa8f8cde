"""Wrapper: the base of the layers that hold other layers and have a dtype of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from ... import dtype_policies
from ..._core.errors import list_shapes
from ..._ops.tracing import is_autocast_enabled
from ..base.owner import LayerOwner

Result = TypeVar("Result")


class Wrapper(LayerOwner):
    """A layer that casts its inputs and outputs to its own compute dtype, around other layers."""

    supports_masking = True

    @property
    def is_sample_wise(self) -> bool:
        """Whether the layer adds nothing to what its layers compute of each sample."""
        return True

    @property
    def _compute_type(self) -> torch.dtype:
        return dtype_policies.to_torch_dtype(self.compute_dtype)

    def _prepare_input(self, inputs: Any) -> Tensor:
        """Cast an input of floating-point numbers; the inner layer casts all else."""
        x = self._as_tensor(inputs)
        if x.is_floating_point() or x.is_complex():
            x, _ = self._cast(x, self._compute_type)
        return x

    def _cast_output(self, y: Tensor) -> Tensor:
        """Cast an output of an inner layer to the compute dtype; under autocast torch decides."""
        if not y.is_floating_point() or not self.autocast:
            return y
        if y.dtype is not torch.float64 and is_autocast_enabled(y.device.type):
            return y
        return y.to(self._compute_type)

    def _call_inner(
        self, argument: str, x: Tensor, function: Callable[[], Result], **related: Any
    ) -> Result:
        """Call a function that calls the inner layers; name this layer where they refuse `x`."""
        try:
            return function()
        except (ValueError, RuntimeError, IndexError) as error:
            refused = isinstance(error, ValueError) or not self._accepts(x)
            if not refused:
                raise
            shapes = {name: list_shapes(one) for name, one in related.items() if one is not None}
            rule = "an input that the inner layer accepts"
            self._refuse_argument(argument, rule, tuple(x.shape), str(error), **shapes)

    def _accepts(self, x: Tensor) -> bool:
        """Return whether the inner layers accept the shape of an input."""
        try:
            self.compute_output_shape(tuple(x.shape))
        except (ValueError, IndexError):
            return False
        return True
