"""A model's config in one form, whichever Keras wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .structure import flatten, map_structure


class TensorRef(NamedTuple):
    """One output of one call of a layer.

    Attributes:
        layer: The layer's name in its model.
        call: The index of the call among the layer's calls in this model; 0 for an InputLayer.
        index: The index of the output.
    """

    layer: str
    call: int
    index: int  # type: ignore[assignment]


@dataclass(frozen=True)
class Call:
    """One call of a layer inside a model.

    Attributes:
        layer: The layer's name.
        args: The positional arguments: structures with TensorRef leaves.
        kwargs: The keyword arguments; `training` only where it is fixed.
        number: The index of the call among the layer's calls.
    """

    layer: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    number: int = 0

    @property
    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """All arguments, as one structure."""
        return self.args, self.kwargs


@dataclass(frozen=True)
class LayerSpec:
    """One entry of a model's list of layers.

    Attributes:
        class_name: The class in Keras 3's spelling: "Conv2D", or "GetItem" for an operation.
        name: The layer's name, unique in its model.
        config: The arguments of its constructor.
        operation: Whether it is an operation such as `keras.ops.add`, absent from weight files.
        model: A nested model.
        input_shape: The shape or shapes that it was built with, if the file has them.
        alias: The path of the earlier layer that this entry is the same object as.
        keras2: Whether Keras 1 or 2 wrote it; a few names mean something else there.
    """

    class_name: str
    name: str
    config: Mapping[str, Any]
    operation: bool = False
    model: ModelSpec | None = None
    input_shape: Any = None
    alias: tuple[str, ...] | None = None
    keras2: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """A model.

    Attributes:
        kind: "Sequential" or "Functional".
        name: The model's name.
        trainable: Whether its weights are trainable.
        layers: The layers in the config's order, InputLayers and operations included.
        calls: What is computed, in order; none for a Sequential model.
        inputs: The structure of the inputs, with TensorRef leaves; None for a Sequential model.
        outputs: The structure of the outputs.
        hints: The shapes that the file gives for tensors inside.
        source: What error messages call the file.
    """

    kind: Literal["Sequential", "Functional"]
    name: str
    trainable: bool
    layers: tuple[LayerSpec, ...]
    calls: tuple[Call, ...] = ()
    inputs: Any = None
    outputs: Any = None
    hints: Mapping[TensorRef, tuple[int | None, ...]] = field(default_factory=dict)
    source: str = "config"


def map_refs(structure: Any, function: Callable[[TensorRef], Any]) -> Any:
    """Return a structure of lists, tuples and dicts with each TensorRef replaced."""
    return map_structure(function, structure, TensorRef)


def iterate_refs(structure: Any) -> Iterator[TensorRef]:
    """Yield the TensorRefs of a structure in Keras's order."""
    return flatten(structure, TensorRef)
