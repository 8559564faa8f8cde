"""Operation: a function between the layers of a Functional model, as a module without weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._core.errors import problem
from .._core.scripting import NotScriptable
from ..graph.shapes import ERRORS, UNKNOWN, Shape, broadcast, shapes_in
from ..graph.structure import map_structure
from .keras_ops import KERAS, Entry
from .tensorflow_ops import TENSORFLOW

_ENTRIES: Mapping[str, Entry] = {
    **KERAS,
    **{f"tf.{name}": entry for name, entry in TENSORFLOW.items()},
}
_SIZES = (5040, 10080)  # what many numbers divide, in the place of a size that is not known


def key_of(class_name: str, config: Mapping[str, Any]) -> str:
    """Return how messages and this file call an operation: "Add", "tf.math.add"."""
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        return f"tf.{config.get('function')}"
    return class_name


class Operation(NotScriptable, nn.Module):
    """A function of `keras.ops`, or of TensorFlow between the layers of tf.keras.

    Args:
        key: Which one: "Add", "tf.math.add".
        name: Its name in the model.
        arguments: The arguments that its config holds.

    Raises:
        ValueError: there is none of that name.
    """

    def __init__(self, key: str, name: str, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        if key not in _ENTRIES:
            raise ValueError(problem("Operation", "key", "a supported operation", key))
        self.key = key
        self.name = name
        self.arguments = dict(arguments)

    @staticmethod
    def is_known(key: str) -> bool:
        """Return whether there is an operation of that name."""
        return key in _ENTRIES

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise a TypeError where the function does not take such arguments."""
        inspect.signature(_ENTRIES[self.key].function).bind(*args, **self.arguments, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the function."""
        return _ENTRIES[self.key].function(*args, **self.arguments, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output's shape for arguments that have a `Shape` in each tensor's place.

        Raises:
            ValueError: the function cannot take tensors of these shapes.
        """
        rule = _ENTRIES[self.key].rule
        shapes = list(shapes_in([args, kwargs]))
        if rule == "same":
            return shapes[0]
        if rule == "broadcast":
            return broadcast([Shape(one) for one in _all_shapes([*args, *kwargs.values()])])
        try:
            found = [self._shapes_with(size, args, kwargs) for size in _SIZES]
        except ERRORS as error:
            open_ = any(size is None for shape in shapes for size in shape)
            if open_ and (isinstance(error, RuntimeError) or self._takes_ones(args, kwargs)):
                return UNKNOWN  # other sizes may do
            raise ValueError(f"{self.key}: {error}") from error
        return _agreed(*found)

    def _takes_ones(self, args: Any, kwargs: Any) -> bool:
        """Return whether the function can take tensors whose unknown sizes are 1."""
        try:
            self._shapes_with(1, args, kwargs)
        except ERRORS:
            return False
        return True

    def _shapes_with(self, size: int, args: Any, kwargs: Any) -> Any:
        """Return the output's shape where all unknown sizes are `size`."""

        def make(shape: Shape) -> Tensor:
            sizes = [size if one is None else one for one in shape]
            return torch.empty(sizes, device="meta")

        args, kwargs = map_structure(make, [args, kwargs], Shape)
        return _shape_of(self(*args, **kwargs))

    def extra_repr(self) -> str:
        """Return the function and its arguments."""
        return ", ".join([self.key, *(f"{k}={v!r}" for k, v in self.arguments.items())])


def _all_shapes(values: list[Any]) -> list[Any]:
    """Return the shapes of tensors, arrays, lists and numbers."""
    return [
        value if isinstance(value, Shape) else tuple(torch.as_tensor(value).shape)
        for value in values
    ]


def _shape_of(value: Any) -> Any:
    return Shape(value.shape) if isinstance(value, Tensor) else [_shape_of(one) for one in value]


def _agreed(one: Any, other: Any) -> Any:
    """Return a shape with None where two differ."""
    if isinstance(one, Shape):
        return Shape(a if a == b else None for a, b in zip(one, other, strict=True))
    return [_agreed(a, b) for a, b in zip(one, other, strict=True)]
