"""What goes where: the plan of a load, before anything is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from ... import dtype_policies
from ...layers.base.layer import Layer
from ..formats.weight_file import Weight
from ..report import LoadEntry
from ..weights.module_weights import Leaf
from ..weights.parameters import Shape, Target
from ..weights.saved_layers_by_config import Saved


@dataclass(frozen=True)
class Assignment:
    """A weight and the parameter that takes it.

    Attributes:
        path: The parameter's path in the whole module.
        target: The parameter.
        weight: The weight; None for a parameter that is set to zero.
    """

    path: str
    target: Target
    weight: Weight | None


@dataclass(frozen=True)
class MethodCall:
    """Arrays that a module of the caller's own takes by its method.

    Attributes:
        path: The module's path in the whole module.
        module: The module.
        weights: The arrays by their paths below the Keras layer that it stands for.
    """

    path: str
    module: nn.Module
    weights: dict[str, Weight]


@dataclass(frozen=True)
class Skipped:
    """A saved layer that does not fit the module it was matched with, and why."""

    leaf: Leaf
    saved: Saved
    reasons: tuple[str, ...]


@dataclass
class LayerPlan:
    """What one module takes from one saved layer, and what is wrong with it.

    Attributes:
        assignments: Which array goes into which parameter.
        calls: The arrays that a module of the caller's own takes by its method.
        shapes: The shapes of the parameters of layers that are not built yet.
        missing: Parameters that the source has nothing for.
        unexpected: Arrays of the source that match no parameter.
        mismatched: Why the layer does not fit the module.
        own_mismatched: Those of them that are about modules of the caller's own.
        problems: What forbids to load the source at all.
        differences: Where the module computes something else than the layer.
        warnings: What the report warns of.
    """

    assignments: list[Assignment] = field(default_factory=list)
    calls: list[MethodCall] = field(default_factory=list)
    shapes: dict[Layer, dict[str, Shape]] = field(default_factory=dict)
    missing: list[LoadEntry] = field(default_factory=list)
    unexpected: list[LoadEntry] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    own_mismatched: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether all parameters and all arrays match."""
        return not (self.missing or self.unexpected or self.mismatched or self.problems)

    def add_missing(self, leaf: Leaf, targets: Iterable[Target]) -> None:
        """Add parameters that the source has nothing for."""
        self.missing += missing_entries(leaf, targets)

    def add_unexpected(self, weights: Iterable[Weight]) -> None:
        """Add arrays that match no parameter."""
        self.unexpected += unused_entries(weights)


@dataclass
class LoadPlan(LayerPlan):
    """What all modules take from a source, and what is wrong with it.

    Attributes:
        how: How modules and layers were matched.
        left_out: Arrays that belong to modules which the caller leaves out.
        skipped: Layers that are left out because they do not fit.
        strict: What is an error unless `strict=False`.
        hints: What an error says of names that are almost those of the source.
    """

    how: str = "order"
    left_out: list[LoadEntry] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    strict: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether all parameters and all arrays match, and no layer is left out."""
        return super().fits and not self.skipped

    def add_layer(self, layer: LayerPlan) -> None:
        """Add what one module takes; a layer that does not fit is then an error."""
        self.assignments += layer.assignments
        self.calls += layer.calls
        self.shapes |= layer.shapes
        self.missing += layer.missing
        self.unexpected += layer.unexpected
        self.mismatched += layer.mismatched
        self.own_mismatched += layer.own_mismatched
        self.problems += layer.problems + layer.mismatched
        self.differences += layer.differences
        self.warnings += layer.warnings


def missing_entries(leaf: Leaf, targets: Iterable[Target]) -> list[LoadEntry]:
    """Return the entries of a report for parameters that stay as they are."""
    return [
        LoadEntry(
            leaf.target_path(target),
            None,
            target.shape,
            dtype_policies.name_of(target.tensor.dtype),
        )
        for target in targets
    ]


def unused_entries(weights: Iterable[Weight]) -> list[LoadEntry]:
    """Return the entries of a report for arrays that are not loaded."""
    return [LoadEntry(None, weight.path, weight.shape, weight.dtype) for weight in weights]
