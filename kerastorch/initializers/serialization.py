"""Initializers by their names and configs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._core.arrays import to_tensor
from .._core.config_arrays import Config
from .._core.errors import argument_error
from .._core.registry import Registry, make_class_table
from .._core.seeds import get_default_device
from . import constant_initializers, random_initializers
from .base import DType, Initializer, as_dtype, as_shape

_EXPORTED = {
    name: getattr(module, name)
    for module in (constant_initializers, random_initializers)
    for name in module.__all__
}
_INITIALIZERS: Registry[Callable[..., Tensor]] = Registry(
    "initializer",
    "keras.initializers",
    make_class_table(
        [Initializer], **_EXPORTED,
        normal=_EXPORTED["RandomNormal"], uniform=_EXPORTED["RandomUniform"],
        one=_EXPORTED["Ones"], zero=_EXPORTED["Zeros"],
    ),
)  # fmt: skip
deserialize = _INITIALIZERS.deserialize


def _use_array(values: Any) -> Callable[..., Tensor]:
    """Return an initializer that returns a copy of the array `values`."""
    given = to_tensor(values)
    if given is None:
        rule = "a name, a config dict, a callable or an array of numbers"
        raise ValueError(argument_error("initializer", "identifier", rule, values))

    def initialize_fn(shape: Sequence[int], dtype: DType = None) -> Tensor:
        expected = tuple(given.shape)
        if as_shape(shape) != expected:
            rule = f"{expected}, that of the given array"
            raise ValueError(argument_error("initializer", "shape", rule, tuple(shape)))
        as_type, device = as_dtype("initializer", dtype), get_default_device()
        return given.to(device, as_type, copy=True, memory_format=torch.contiguous_format)

    return initialize_fn


def get(identifier: Any) -> Callable[..., Tensor] | None:
    """Return the initializer for a name, config dict, class, instance, function or array.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.
        KeyError: the name is "constant", which has no value.

    >>> get("zeros")((2,))
    tensor([0., 0.])
    """
    if isinstance(identifier, (Tensor, np.ndarray, np.generic)):
        return _use_array(identifier)
    return _INITIALIZERS.get(identifier)


def serialize(initializer: Callable[..., Tensor] | None) -> Config | str | None:
    """Return the config that Keras writes for an initializer."""
    return _INITIALIZERS.serialize(initializer)
