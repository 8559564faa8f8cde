"""Weightless: what the layers that have nothing to train have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ... import dtype_policies
from ..._core import arguments
from ..._core.errors import problem
from .layer import Layer

Sizes = tuple[int | None, ...]


class Weightless(Layer):
    """A layer without weights: it is built from the start.

    Floating inputs are cast to the layer's compute dtype as Keras casts them. Integers and booleans
    are cast only where the computation needs it: where Keras on TensorFlow refuses them. After
    `.half()`, `.double()` and the like the layer computes in that type, as a layer with weights
    does.
    """

    roles = ()
    _floats = False  # whether integers and booleans, too, are cast to the compute dtype

    def __init__(self, *, input_shape: Sequence[int | None] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if input_shape is not None and not isinstance(input_shape, (list, tuple)):
            rule = "a shape without the batch"
            raise ValueError(problem(type(self).__name__, "input_shape", rule, input_shape))
        self._torch_dtype = dtype_policies.torch_dtype(self._policy.compute_dtype)
        self._register_weights(torch.float32, None)

    def build(self, input_shape: Sequence[Any]) -> None:
        """Check the shape of an input; there is nothing to build.

        Args:
            input_shape: The shape of the input, batch included.

        Raises:
            ValueError: the layer cannot take such an input.
        """
        self.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Sizes:
        """Return the output's shape for an input's, batch included; None stays None.

        Raises:
            ValueError: the layer cannot take such an input.
        """
        return arguments.any_shape(type(self).__name__, "input_shape", input_shape, 0)

    def _prepare_input(self, inputs: Any) -> Any:
        """Return an input as a tensor, a floating one in the compute dtype."""
        if isinstance(inputs, Tensor) and inputs.dtype is self._torch_dtype:
            return inputs
        x = self._as_tensor(inputs)
        if x.is_floating_point() or x.is_complex() or self._converts(x.dtype):
            x, _ = self._cast(x, self._torch_dtype)
        return x

    def _converts(self, dtype: torch.dtype) -> bool:
        """Return whether an integer type, or booleans, are cast to the compute dtype."""
        return self._floats

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Follow `.half()` and the like, which change the type of weights elsewhere."""
        kind = dtype_policies.torch_dtype(self._policy.variable_dtype)
        found = fn(torch.empty(0, dtype=kind)).dtype
        if found is not kind:
            self._policy = dtype_policies.DTypePolicy(dtype_policies.name_of(found))
            self._torch_dtype = found
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """Return the arguments as the config has them."""
        apart = ("name", "trainable", "dtype")
        shown = [f"{n}={v!r}" for n, v in self.get_config().items() if n not in apart]
        return ", ".join([*shown, *self._differing()])
