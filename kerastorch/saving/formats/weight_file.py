"""The contents of a Keras file or a live Keras object, before matching with a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Weight:
    """One array of a file.

    `read` reads it into a new CPU tensor, and may have a method `blocks`, which yields the rows in
    order, a few at a time.
    """

    path: str  # in the file: "layers/conv2d/vars/0", "conv2d/kernel:0"
    name: str | None  # in Keras, "kernel", or None if the file has none
    shape: tuple[int, ...]  # in Keras's axis order
    dtype: str  # "float32", "bfloat16"
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class SavedLayer:
    """The weights of one layer, in the file's order; the name is None if the file has none."""

    path: str  # "layers/functional/layers/conv2d" in a Keras 3 file; the name in a legacy file
    name: str | None
    weights: tuple[Weight, ...]


@dataclass(frozen=True)
class WeightFile:
    """The contents of a file or a live object.

    Attributes:
        source: The name in error messages: the file's path.
        format: A description: "Keras 3 .keras archive".
        layers: The layers in the file's order.
        version: The version of Keras that wrote it, or None if unknown.
        backend: The backend that wrote it, or None; kernels of "theano" are flipped.
        config: The model's config as parsed JSON, or None.
        ignored: The paths of the optimizer's and the metrics' groups.
        named_by_class: Whether groups are named after classes, so that the order of the layers is
            lost (Keras 3; its files also have LoRA's factors merged).
        named_by_path: Whether a layer's path holds the names of the models around it. Otherwise a
            nested model is one layer with all its weights.
        named_by_caller: Whether the names are the caller's, not those of a model.
    """

    source: str
    format: str
    layers: tuple[SavedLayer, ...]
    version: str | None = None
    backend: str | None = None
    config: Any = None
    ignored: tuple[str, ...] = ()
    named_by_class: bool = False
    named_by_path: bool = False
    named_by_caller: bool = False

    @property
    def may_be_keras1(self) -> bool:
        """Whether Keras 1, whose kernels had another axis order, may have written it."""
        is_old = (self.version or "1").startswith(("0", "1"))
        return is_old and not (self.named_by_class or self.named_by_path)
