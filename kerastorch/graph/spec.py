"""A model's config in one form, whichever Keras wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .structure import flatten, map_structure


class TensorRef(NamedTuple):
    """One output of one call of a layer, by its index."""

    layer: str  # its name in the model
    call: int  # the index among the layer's calls in this model; 0 for an InputLayer
    index: int  # type: ignore[assignment]


@dataclass(frozen=True)
class Call:
    """One call of a layer inside a model; the arguments are structures with TensorRef leaves."""

    layer: str  # its name
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]  # `training` only where it is fixed
    number: int = 0  # the index among the layer's calls

    @property
    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """All arguments, as one structure."""
        return self.args, self.kwargs


@dataclass(frozen=True)
class LayerSpec:
    """One entry of a model's list of layers."""

    class_name: str  # in Keras 3's spelling: "Conv2D", or "GetItem" for an operation
    name: str  # unique in its model
    config: Mapping[str, Any]  # the arguments of its constructor
    operation: bool = False  # such as `keras.ops.add`, absent from weight files
    model: ModelSpec | None = None  # a nested model
    input_shape: Any = None  # the shape or shapes that it was built with, if the file has them
    alias: tuple[str, ...] | None = None  # the path of the earlier entry for the same object
    keras_2: bool = False  # whether Keras 1 or 2 wrote it; a few names mean something else there


@dataclass(frozen=True)
class ModelSpec:
    """A model; a Sequential one has no calls, inputs and outputs."""

    kind: Literal["Sequential", "Functional"]
    name: str
    trainable: bool  # whether its weights are
    layers: tuple[LayerSpec, ...]  # in the config's order, InputLayers and operations included
    calls: tuple[Call, ...] = ()  # what is computed, in order
    inputs: Any = None  # a structure with TensorRef leaves
    outputs: Any = None  # likewise
    hints: Mapping[TensorRef, tuple[int | None, ...]] = field(default_factory=dict)  # shapes inside
    source: str = "config"  # what error messages call the file
    version: str | None = None  # of the Keras that wrote it, if known; of nested models None


def map_refs(structure: Any, function: Callable[[TensorRef], Any]) -> Any:
    """Return a structure of lists, tuples and dicts with each TensorRef replaced."""
    return map_structure(function, structure, TensorRef)


def iterate_refs(structure: Any) -> Iterator[TensorRef]:
    """Yield the TensorRefs of a structure in Keras's order."""
    return flatten(structure, TensorRef)
