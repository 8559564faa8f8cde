"""The contents of a Keras file or a live Keras object, before matching with a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

# What the paths of layers are:
# - layers: their names; a nested model is one layer (HDF5 before Keras 3)
# - classes: groups of a tree, `layers/conv2d_1`; the order of the layers is lost (Keras 3, which
#   also merges LoRA's factors)
# - paths: their names after those of the models around them (live models)
# - positions: `layer-3/layer-0`, where they are in the config (TensorFlow's graphs of objects)
# - scopes: there is one layer with all arrays, whose paths begin with the names of their layers
Layout = Literal["layers", "classes", "paths", "positions", "scopes"]


@dataclass(frozen=True)
class Weight:
    """One array of a file; `read.blocks`, if there, yields its rows in order, a few at a time."""

    path: str  # in the file: "layers/conv2d/vars/0", "conv2d/kernel:0"
    name: str | None  # in Keras, "kernel", or None if the file has none
    shape: tuple[int, ...]  # in Keras's axis order
    dtype: str  # "float32", "bfloat16"
    read: Callable[[], Tensor]  # into a new CPU tensor
    group: str = ""  # the path of the layer inside its layer that has it: "forward_layer/cell"


@dataclass(frozen=True)
class SavedLayer:
    """The weights of one layer, in the file's order; the name is None if the file has none."""

    path: str  # "layers/functional/layers/conv2d" in a Keras 3 file; the name in a legacy file
    name: str | None
    weights: tuple[Weight, ...]


@dataclass(frozen=True)
class WeightFile:
    """The contents of a file or a live object."""

    source: str  # in error messages: the file's path
    format: str  # "Keras 3 .keras archive"
    layers: tuple[SavedLayer, ...]  # in the file's order
    version: str | None = None  # of the Keras that wrote it
    backend: str | None = None  # that wrote it; kernels of "theano" are flipped
    config: Any = None  # the model's, as parsed JSON
    ignored: tuple[str, ...] = ()  # the paths of the optimizer's and the metrics' groups
    layout: Layout = "layers"
    named_by_caller: bool = False  # the names are the caller's, not those of a model
    in_order: bool = True  # whether arrays of the layout "scopes" are in the model's order
    missing_config: str = "it has weights only, and no config that describes the model"
    notes: tuple[str, ...] = ()  # what was repaired, and what else the user should know

    @property
    def may_be_keras1(self) -> bool:
        """Whether Keras 1, whose kernels had another axis order, may have written it."""
        return self.layout == "layers" and (self.version or "1").startswith(("0", "1"))


# (path, name, array) -> Weight; raises if the value is not an array.
AsWeight = Callable[[str, str | None, Any], Weight]


def group_arrays(values: Any, as_weight: AsWeight) -> tuple[SavedLayer, ...]:
    """Group a list of arrays into one layer without a path, or a dict of them into layers.

    A dict maps "layer/array" to an array, or a layer's path to a list or a dict of arrays.
    """
    found: dict[str, list[Weight]] = {}
    for path, value in values.items() if isinstance(values, Mapping) else [("", values)]:
        if isinstance(value, (list, tuple)):
            prefix = f"{path}/" if path else ""
            weights = [as_weight(f"{prefix}{i}", None, array) for i, array in enumerate(value)]
            found.setdefault(path, []).extend(weights)
            continue
        named = value.items() if isinstance(value, Mapping) else ((None, value),)
        for name, array in named:
            full_path = path if name is None else f"{path}/{name}"
            layer, _, last = full_path.rpartition("/")
            found.setdefault(layer, []).append(as_weight(full_path, last.removesuffix(":0"), array))
    return tuple(
        SavedLayer(path, path.rpartition("/")[2] or None, tuple(weights))
        for path, weights in found.items()
    )
