"""Weightless: the base of the layers without weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ... import dtype_policies
from .layer import Layer


class Weightless(Layer):
    """A layer without weights: it is built from the start.

    Floating-point inputs are cast to the layer's compute dtype as in Keras. Integers and booleans
    are cast only where the computation needs it: where Keras on TensorFlow refuses them. After
    `.half()`, `.double()` and the like the layer computes in that dtype, as one with weights does.
    """

    roles = ()
    _casts_integers = False  # whether integers and booleans, too, are cast to the compute dtype

    def __init__(self, *, input_shape: Sequence[int | None] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if input_shape is not None and not isinstance(input_shape, (list, tuple)):
            self._refuse("input_shape", "a shape without the batch", input_shape)
        self._torch_dtype = dtype_policies.torch_dtype(self._policy.compute_dtype)
        self._register_weights(torch.float32, None)

    def build(self, input_shape: Sequence[Any]) -> None:
        """Check the shape of an input, batch included; there is nothing to build.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        self.compute_output_shape(input_shape)

    def _prepare_input(self, inputs: Any) -> Any:
        if isinstance(inputs, Tensor) and inputs.dtype is self._torch_dtype:
            return inputs
        x = self._as_tensor(inputs)
        if x.is_floating_point() or x.is_complex() or self._casts_dtype(x.dtype):
            x, _ = self._cast(x, self._torch_dtype)
        return x

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        """Return whether inputs of an integer dtype, or booleans, are cast."""
        return self._casts_integers

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Follow `.half()` and the like, which change the dtype of other layers' weights."""
        dtype = dtype_policies.torch_dtype(self._policy.variable_dtype)
        new_dtype = fn(torch.empty(0, dtype=dtype)).dtype
        if new_dtype is not dtype:
            self._policy = dtype_policies.DTypePolicy(dtype_policies.name_of(new_dtype))
            self._torch_dtype = new_dtype
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """Return the arguments as the config has them."""
        separate = ("name", "trainable", "dtype")
        shown = [f"{n}={v!r}" for n, v in self.get_config().items() if n not in separate]
        return ", ".join([*shown, *self._format_non_defaults()])
