"""What a Keras file, or a live Keras object, holds; nothing of it is matched with a module yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


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

    A new kind of container says by the flags what its layers' paths tell; nothing else asks for it.

    Attributes:
        source: What error messages call it: the file's path.
        format: What it is, in words: "Keras 3 .keras archive".
        layers: The layers in the file's order.
        version: The version of Keras that wrote it, or None where it does not say.
        backend: The backend that wrote it: "theano" means flipped kernels; None if not said.
        config: The model's config as parsed JSON, or None where there is none.
        ignored: The paths of what is no layer's: the optimizer's and the metrics' groups.
        named_by_class: Whether layers are in groups that are named after their classes, so that
            their order is lost: Keras 3's files, which have LoRA's factors merged, too.
        named_by_path: Whether a layer's path consists of its own name and those of the models
            around it. Otherwise one layer has all weights of a nested model.
        named_by_caller: Whether these names are the caller's, and need not be those of a model.
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
        """Whether Keras 1, whose kernels had another order of axes, may have written it."""
        is_old = (self.version or "1").startswith(("0", "1"))
        return is_old and not (self.named_by_class or self.named_by_path)
