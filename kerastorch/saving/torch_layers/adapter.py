"""Adapter: what a class of torch.nn has of Keras's weights and arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from ...layers.base.functional import Function

Config = Mapping[str, Any]
View = Callable[[Tensor], Tensor]
Kinds = tuple[str, ...]


class ModuleWeight(NamedTuple):
    """A parameter or buffer of a module that is a weight of the Keras layer."""

    parameter: str  # its name in the module: "weight", "out_proj.weight"
    name: str  # its name in Keras: "kernel"
    view: View = lambda tensor: tensor  # to Keras's order of axes
    others: tuple[View, ...] = ()  # views in other shapes that Keras may use
    group: str = ""  # Keras 3's path of the layer inside its layer that has it: "cell"
    write: View | None = None  # Keras's array -> the parameter, where `view` copies values
    also: tuple[tuple[str, View], ...] = ()  # other parameters that are written from the array
    part: str = ""  # which part of the parameter it is, where that holds several of Keras's weights


@dataclass(frozen=True)
class Adapter:
    """Maps modules of some classes of torch.nn to Keras."""

    # Classes -> the Keras classes, in snake_case, that they stand for.
    classes: Mapping[Any, Kinds]
    # Returns a module's weights in Keras's order, optional ones included. Raises `ValueError`
    # where the module computes what no Keras layer does.
    weights: Callable[[Any], Sequence[ModuleWeight]]
    # Yields where a module computes other values than a config says.
    differences: Callable[[Any, Config], Iterator[str]] = lambda module, config: iter(())
    function: Callable[[Any], Function | None] = lambda module: None  # None if unknown
    # Returns which of these classes a module can stand for, the most likely first.
    choose: Callable[[Any, Kinds], Kinds] = lambda module, kinds: kinds

    def kinds(self, module: nn.Module) -> Kinds:
        """Return the Keras classes that a module can stand for, the most likely first."""
        kinds = next(kinds for cls, kinds in self.classes.items() if isinstance(module, cls))
        return self.choose(module, kinds)


def is_depthwise(module: Any) -> bool:
    """Return whether a module is a convolution of each channel by itself."""
    return isinstance(module, (nn.Conv1d, nn.Conv2d)) and module.groups == module.in_channels > 1


def are_equal(left: Any, right: Any) -> bool:
    """Return whether two values of configs are equal, numbers up to rounding."""
    numbers = (int, float)
    if isinstance(left, numbers) and isinstance(right, numbers):
        return math.isclose(left, right, rel_tol=1e-6, abs_tol=0.0)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        pairs = zip(left, right, strict=False)
        return len(left) == len(right) and all(are_equal(one, other) for one, other in pairs)
    return bool(left == right)
