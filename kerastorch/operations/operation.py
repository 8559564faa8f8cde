"""Operation: a function between the layers of a Functional model, as a module without weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from .._core.errors import argument_error
from .._core.scripting import NotScriptable
from ..graph.shapes import ERRORS, UNKNOWN, Shape, broadcast_shapes, iterate_shapes
from ..graph.structure import map_structure
from .keras_ops import KERAS, Entry
from .tensorflow_ops import TENSORFLOW

OPERATIONS: Mapping[str, Entry] = {**KERAS, **{f"tf.{n}": one for n, one in TENSORFLOW.items()}}
_SIZES = (5040, 10080)  # with many divisors, to stand for an unknown size


def get_operation_key(class_name: str, config: Mapping[str, Any]) -> str:
    """Return the key of an operation: "Add", "tf.math.add"."""
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        return f"tf.{config.get('function')}"
    return class_name


class Operation(NotScriptable, nn.Module):
    """A function of `keras.ops`, or of TensorFlow between the layers of tf.keras.

    Args:
        key: Its key: "Add", "tf.math.add".
        name: Its name in the model.
        arguments: The arguments in its config.

    Raises:
        ValueError: the key is unknown.
    """

    def __init__(self, key: str, name: str, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        if key not in OPERATIONS:
            raise ValueError(argument_error("Operation", "key", "a supported operation", key))
        self.key = key
        self.name = name
        self.arguments = dict(arguments)

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise a TypeError if the function does not accept these arguments."""
        inspect.signature(OPERATIONS[self.key].function).bind(*args, **self.arguments, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the function."""
        return OPERATIONS[self.key].function(*args, **self.arguments, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output's shape for arguments with a `Shape` for each tensor.

        Raises:
            ValueError: the function does not accept tensors of these shapes.
        """
        rule = OPERATIONS[self.key].rule
        shapes = list(iterate_shapes([args, kwargs]))
        if rule == "same":
            return shapes[0]
        if rule == "broadcast":
            return broadcast_shapes(map(_to_shape, [*args, *kwargs.values()]))
        try:
            one, other = (self._infer_shape(size, args, kwargs) for size in _SIZES)
        except ERRORS as error:
            if any(None in shape for shape in shapes):  # other sizes may be accepted
                if isinstance(error, RuntimeError):
                    return UNKNOWN
                with suppress(*ERRORS):
                    self._infer_shape(1, args, kwargs)
                    return UNKNOWN
            raise ValueError(f"{self.key}: {error}") from error
        return _merge_shapes(one, other)

    def _infer_shape(self, size: int, args: Any, kwargs: Any) -> Any:
        """Return the output's shape with `size` for all unknown sizes."""

        def make(shape: Shape) -> Tensor:
            return torch.empty([size if n is None else n for n in shape], device="meta")

        args, kwargs = map_structure(make, [args, kwargs], Shape)
        return map_structure(lambda y: Shape(y.shape), self(*args, **kwargs), Tensor)

    def extra_repr(self) -> str:
        """Return the function and its arguments."""
        return ", ".join([self.key, *(f"{k}={v!r}" for k, v in self.arguments.items())])


def _to_shape(value: Any) -> Shape:
    """Return the shape of a tensor, array, list or number."""
    return value if isinstance(value, Shape) else Shape(torch.as_tensor(value).shape)


def _merge_shapes(one: Any, other: Any) -> Any:
    """Return a shape with None where two differ."""
    if isinstance(one, Shape):
        return Shape(a if a == b else None for a, b in zip(one, other, strict=True))
    return [_merge_shapes(a, b) for a, b in zip(one, other, strict=True)]
