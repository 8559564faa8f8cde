"""What a Keras file, or a live Keras object, holds; nothing of it is matched with a module yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

Layout = Literal["tree", "legacy", "arrays", "live"]


@dataclass(frozen=True)
class Weight:
    """One array: where it is, what it is like, and how to read it.

    Attributes:
        path: Where it is in the file: "layers/conv2d/vars/0", "conv2d/kernel:0".
        name: Keras's bare name of it, "kernel", or None where the file has none.
        shape: Its shape, in Keras's order of axes.
        dtype: The name of its type: "float32", "bfloat16".
        read: Reads it into a new CPU tensor of that shape and type. Where it can, it has a method
            `blocks`, too, that yields the rows in order, a few at a time.
    """

    path: str
    name: str | None
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class SavedLayer:
    """One layer's weights.

    Attributes:
        path: Where they are in the file: "layers/functional/layers/conv2d" in a tree, whatever
            its writer called the groups; the layer's name in a legacy file.
        name: The layer's name where the file has it.
        weights: Its weights in the file's order; none for a layer without weights.
    """

    path: str
    name: str | None
    weights: tuple[Weight, ...]


@dataclass(frozen=True)
class Contents:
    """All that was found in a file or a live object.

    Attributes:
        source: What error messages call it: the file's path.
        format: What it is, in words: "Keras 3 .keras archive".
        version: The version of Keras that wrote it, or None where it does not say.
        backend: The backend that wrote it: "theano" means flipped kernels; None if not said.
        layout: "tree" for Keras 3's groups that are named after classes, "legacy" for groups
            named after layers and in the model's order, "arrays" for a list of arrays without
            layers, "live" for an object in memory.
        config: The model's config as parsed JSON, or None where there is none.
        layers: The layers in the file's order, which a tree does not keep: it is sorted there.
        ignored: The paths of what is no layer's: the optimizer's and the metrics' groups.
    """

    source: str
    format: str
    version: str | None
    backend: str | None
    layout: Layout
    config: Any
    layers: tuple[SavedLayer, ...]
    ignored: tuple[str, ...] = ()
