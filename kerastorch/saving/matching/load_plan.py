"""Which of a saved layer's weights goes where in one module; nothing is read yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ... import dtype_policies
from ..._core.errors import FileError
from ..._core.registry import snake_case
from ...layers.base.layer import Layer
from ...layers.base.weights import infer_shapes
from ..formats.weight_file import Contents, Weight
from ..report import LoadEntry
from ..weights.config_differences import caution, disagreements
from ..weights.kernel_conversions import converted
from ..weights.module_weights import Leaf, has_method
from ..weights.parameters import KINDS, MERGED, Shape, Target
from ..weights.saved_layers_by_config import Saved
from .own_modules import assign_weights, describe_misfit, name_uniquely, name_weights

_LISTS = ("pairs", "calls", "missing", "unused", "differences", "warnings", "own_misfits")
_MOMENTS = ("moving_mean", "moving_variance")  # the two that every BatchNormalization has

_CHECK = "Check with `compare`."
_FLATTENED = (
    "in the source its inputs are images flattened with the channels last; bring them last with "
    "`x.permute(0, 2, 3, 1)` before you flatten them here"
)


@dataclass(frozen=True)
class Pair:
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
class Match:
    """What goes where, and what is wrong with it.

    Attributes:
        how: How it was matched.
        channels_first: Whether the module has layers of torch's that take channels first.
        custom: The caller's own classes and functions by name; None for what makes modules.
        lenient: Whether a layer that does not fit is left out, rather than an error.
        pairs: What goes where.
        calls: What modules of the caller's own take by their methods.
        shapes: The shapes of the parameters of layers that are not built yet.
        missing: Parameters that the source has nothing for.
        unused: Arrays of the source that nothing takes.
        left_out: Arrays of the source that belong to modules which the caller leaves out.
        skipped: What was left out because it does not fit.
        problems: What forbids to load it at all.
        strict: What forbids it unless `strict=False`.
        differences: Where modules compute something else than the layers, which forbids it, too.
        warnings: What the report warns of.
        hints: What an error says of names that are almost those of the source.
        misfits: What does not fit, while one layer is matched.
        own_misfits: Those of the problems that are about modules of the caller's own.
        compares: Whether modules must compute what the source's config says.
    """

    how: str
    channels_first: bool = False
    custom: Mapping[str, Any] = field(default_factory=dict)
    lenient: bool = False
    compares: bool = True
    pairs: list[Pair] = field(default_factory=list)
    calls: list[MethodCall] = field(default_factory=list)
    shapes: dict[Layer, dict[str, Shape]] = field(default_factory=dict)
    missing: list[LoadEntry] = field(default_factory=list)
    unused: list[LoadEntry] = field(default_factory=list)
    left_out: list[LoadEntry] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    strict: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    own_misfits: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether everything found its place."""
        return not (self.missing or self.unused or self.problems or self.skipped)

    def miss(self, leaf: Leaf, targets: Iterable[Target]) -> None:
        """Note parameters that the source has nothing for."""
        self.missing += missing_entries(leaf, targets)

    def leave(self, weights: Iterable[Weight]) -> None:
        """Note weights that nothing takes."""
        self.unused += unused_entries(weights)

    def pair(
        self,
        contents: Contents,
        leaf: Leaf,
        saved: Saved,
        *,
        explicit: bool = False,
        in_order: bool = False,
    ) -> bool:
        """Note what of a saved layer goes where in a module; return whether it fits.

        Args:
            contents: What the source holds.
            leaf: The module.
            saved: The layer.
            explicit: Whether the caller's mapping says so, whatever the layer's name suggests.
            in_order: Whether the weights are a list in Keras's order, without names.
        """
        found = Match(self.how, self.channels_first, self.custom, compares=self.compares)
        if leaf.parts is None:
            found._pair_layer(contents, leaf, saved, explicit)
        else:
            found._pair_own_module(contents, leaf, saved, in_order)
        fits = not found.misfits
        if not fits and self.lenient and not explicit:
            self.skipped.append(Skipped(leaf, saved, tuple(found.misfits)))
            return False
        self.shapes |= found.shapes
        self.problems += found.problems + found.misfits
        for name in _LISTS:
            getattr(self, name).extend(getattr(found, name))
        return fits

    def _pair_layer(self, contents: Contents, leaf: Leaf, saved: Saved, explicit: bool) -> None:
        kind = _kind_of(saved, by_name=not explicit)
        if kind in KINDS and leaf.kinds and kind not in leaf.kinds:
            what = f"{leaf.path or 'the module'} is a {type(leaf.module).__name__}"
            self.misfits.append(f"{what}. Found: a layer of the class {kind!r} at {saved.title}.")
            return
        try:
            weights = converted(contents, saved, leaf)
        except FileError as error:
            self.problems.append(str(error))
            return
        by_name = _by_name(leaf, weights)
        found = by_name or _by_count(leaf, weights)
        if found is None:
            names = ", ".join(target.name for target in leaf.targets)
            what = f"{leaf.path or 'the module'} takes {len(leaf.targets)} weights: {names}"
            shapes = ", ".join(f"{w.name or w.path.rpartition('/')[2]} {w.shape}" for w in weights)
            self.misfits.append(f"{what}. Found: {shapes} at {saved.title}.")
            return
        taken = {id(weight) for weight in found.values()}
        merged = contents.layout == "tree"
        for target in leaf.targets:
            path = leaf.target_path(target)
            weight = found.get(target)
            if weight is None and not (merged and target.name in MERGED):
                self.miss(leaf, [target])
                continue
            self.pairs.append(Pair(path, target, weight))
        self.leave(weight for weight in weights if id(weight) not in taken)
        self.misfits += self.check(leaf, found)
        if saved.spec is not None:
            self._compare(leaf, saved)
        self._check_names(contents, leaf, saved, weights, named=by_name is not None)

    def _check_names(
        self,
        contents: Contents,
        leaf: Leaf,
        saved: Saved,
        weights: tuple[Weight, ...],
        *,
        named: bool,
    ) -> None:
        """Check whether anything but their order says which of several equal shapes is which."""
        in_order = [weight.name for weight in weights] == [target.name for target in leaf.targets]
        if named or in_order or len({weight.shape for weight in weights}) == len(weights):
            return
        owner, names = leaf.path or "the module", ", ".join(target.name for target in leaf.targets)
        given = [weight.name for weight in weights if weight.name and not weight.name.isdecimal()]
        if given:
            what = f"{owner} takes {names}. Found the names {', '.join(given)} at {saved.title}"
            self.misfits.append(f"{what}, and shapes that do not tell which is which.")
            return
        kind = saved.kind if contents.layout == "tree" else None
        kind = snake_case(saved.spec.class_name) if saved.spec is not None else kind
        if kind is not None and kind not in leaf.kinds:
            title = kind if saved.spec is None else saved.spec.class_name
            what = f"{owner} took the arrays of a {title} as {names}: the file has no names of them"
            self.warnings.append(f"{what}. {_CHECK}")

    def _pair_own_module(
        self, contents: Contents, leaf: Leaf, saved: Saved, in_order: bool
    ) -> None:
        weights = name_weights(saved)
        try:
            converted(contents, saved, leaf)
            if has_method(leaf.module):
                named = name_uniquely(weights)
                self.calls.append(MethodCall(leaf.path, leaf.module, named))
                return
            found, is_certain = assign_weights(leaf, weights, in_order=in_order)
        except FileError as error:
            self.problems.append(str(error))
            return
        except ValueError as error:
            self.own_misfits.append(describe_misfit(leaf, saved, str(error)))
            self.misfits += self.own_misfits
            return
        for target, weight in found.items():
            self.pairs.append(Pair(leaf.target_path(target), target, weight))
        if not is_certain:
            what = f"{leaf.path or 'the module'} takes arrays of equal shapes in the order in which"
            self.warnings.append(f"{what} its parameters are registered. {_CHECK}")
        self.misfits += self.check(leaf, found)

    def check(self, leaf: Leaf, found: dict[Target, Weight]) -> list[str]:
        """Return what is wrong with shapes and dtypes, and which parameter cannot be written to."""
        wrong = []
        for target, weight in found.items():
            path = leaf.target_path(target)
            refusal = target.refusal()
            if refusal:
                wrong.append(f"{path}: {refusal}")
            kind = dtype_policies.name_of(target.tensor.dtype)
            if target.tensor.dtype.is_floating_point != weight.dtype.startswith(("float", "bf")):
                what = f"{path} is {kind}. Found: {weight.dtype} at {weight.path}"
                hint = " Quantized weights are not supported." if "int" in weight.dtype else ""
                wrong.append(f"{what}.{hint}")
            if not target.unbuilt and target.view_as(target.tensor, weight.shape) is None:
                what = f"{path} has the shape {target.shape} in Keras's order"
                wrong.append(f"{what}. Found: {weight.shape} at {weight.path}.")
        owners: dict[Layer, dict[str, Shape]] = {}
        for target, weight in found.items():
            if target.unbuilt and isinstance(target.owner, Layer):
                owners.setdefault(target.owner, {})[target.name] = weight.shape
        for layer, shapes in owners.items():
            expected = infer_shapes(layer, shapes)
            if expected is None:
                owner = leaf.path or "the module"
                what = f"{owner} is {layer!r}, which no input gives these shapes"
                wrong.append(f"{what}. Found: {shapes}.")
            else:
                self.shapes[layer] = expected
        return wrong

    def _compare(self, leaf: Leaf, saved: Saved) -> None:
        spec = saved.spec
        if spec is None:
            return
        differences = disagreements(leaf.module, spec, self.custom) if self.compares else ()
        for line in differences:
            self.differences.append(f"{leaf.path or 'the module'}: {line} (at {saved.title})")
        if saved.flattened and self.channels_first and isinstance(leaf.module, nn.Linear):
            self.warnings.append(f"{leaf.path or 'the module'}: {_FLATTENED}")
        careful = caution(leaf.module, spec)
        if careful:
            self.warnings.append(f"{leaf.path or 'the module'}: {careful}")


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


def _kind_of(saved: Saved, by_name: bool) -> str | None:
    """Return a saved layer's class, or the one that an automatic name lets suppose."""
    if saved.kind is not None or not by_name or not saved.names:
        return saved.kind
    return re.sub(r"_[0-9]+$", "", saved.names[-1])


def _by_name(leaf: Leaf, weights: tuple[Weight, ...]) -> dict[Target, Weight] | None:
    """Return which weight each parameter takes by Keras's names; None where they do not tell."""
    names = [weight.name for weight in weights]
    targets = {target.name: target for target in leaf.targets}
    known = [name for name in names if name in targets]
    if None in names or len(set(names)) < len(names) or not known:
        return None
    return {targets[w.name]: w for w in weights if w.name is not None and w.name in targets}


def _by_count(leaf: Leaf, weights: tuple[Weight, ...]) -> dict[Target, Weight] | None:
    """Return which weight each parameter takes by their order; None where the count differs."""
    whole = [target for target in leaf.targets if target.name not in MERGED]
    choices = [list(leaf.targets), whole]
    if "batch_normalization" in leaf.kinds:
        choices.append([target for target in leaf.targets if target.name in _MOMENTS])
    for targets in choices:
        if len(targets) == len(weights):
            return dict(zip(targets, weights, strict=True))
    return None
