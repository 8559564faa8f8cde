"""What a load will do: which array goes into which parameter, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn

from ...dtype_policies import get_dtype_name
from ...layers.base.layer import Layer
from ..formats.weight_file import Weight
from ..report import LoadEntry
from ..weights.module_weights import ModuleWeights
from ..weights.parameters import ParameterSlot, Shape
from ..weights.saved_layers_by_config import SourceLayer


class Assignment(NamedTuple):
    """A parameter and its array; `weight` is None for a parameter that is set to zero."""

    path: str  # of the parameter, from the root module
    target: ParameterSlot
    weight: Weight | None


class MethodCall(NamedTuple):
    """A call of a custom module's method `load_keras_weights`."""

    path: str  # of the module, from the root module
    module: nn.Module
    weights: dict[str, Weight]  # by their paths below the Keras layer


class Skipped(NamedTuple):
    """A saved layer that does not fit the module that it was matched with."""

    leaf: ModuleWeights
    saved: SourceLayer
    reasons: tuple[str, ...]


@dataclass
class LoadPlan:
    """The plan for a module and a source, or for a single module and a single saved layer."""

    how: str = ""  # how modules and layers were matched
    assignments: list[Assignment] = field(default_factory=list)
    calls: list[MethodCall] = field(default_factory=list)
    shapes: dict[Layer, dict[str, Shape]] = field(default_factory=dict)  # of unbuilt layers
    missing: list[LoadEntry] = field(default_factory=list)
    unexpected: list[LoadEntry] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)  # why a layer does not fit its module
    own_mismatched: list[str] = field(default_factory=list)  # those about custom modules
    problems: list[str] = field(default_factory=list)  # errors, `strict` or not
    strict: list[str] = field(default_factory=list)  # errors only if `strict`
    differences: list[str] = field(default_factory=list)  # computations that differ
    warnings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)  # about similar names, for an error
    ignored: set[ModuleWeights] = field(default_factory=set)  # those mapped to None
    left_out: list[LoadEntry] = field(default_factory=list)  # their arrays
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether all parameters and all arrays match, and no layer is skipped."""
        unmatched = self.missing or self.unexpected or self.skipped
        return not (unmatched or self.mismatched or self.problems)

    def add_layer(self, layer: LoadPlan) -> None:
        """Add the plan for one module; a layer that does not fit becomes a problem."""
        self.shapes |= layer.shapes
        for name, found in vars(layer).items():
            if isinstance(found, list):
                getattr(self, name).extend(found)
        self.problems += layer.mismatched


def list_missing_entries(leaf: ModuleWeights, targets: Iterable[ParameterSlot]) -> list[LoadEntry]:
    """Return the entries of a report for parameters without an array."""
    return [
        LoadEntry(leaf.target_path(one), None, one.shape, get_dtype_name(one.tensor.dtype))
        for one in targets
    ]


def list_unused_entries(weights: Iterable[Weight]) -> list[LoadEntry]:
    """Return the entries of a report for arrays that are not loaded."""
    return [LoadEntry(None, weight.path, weight.shape, weight.dtype) for weight in weights]
