"""Which of a saved layer's weights goes where in one module; nothing is read yet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from .. import _dtype
from ..layers._layer import Layer
from ._contents import Contents, FileError, Weight
from ._conversions import converted
from ._disagree import caution, disagreements
from ._report import LoadEntry
from ._saved import Saved
from ._targets import KINDS, MERGED, Leaf, Shape, Target

_MOMENTS = ("moving_mean", "moving_variance")  # the two that every BatchNormalization has

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


@dataclass
class Match:
    """What goes where, and what is wrong with it.

    Attributes:
        how: How it was matched.
        pairs: What goes where.
        shapes: The shapes of the parameters of layers that are not built yet.
        missing: Parameters that the source has nothing for.
        unused: Arrays of the source that nothing takes.
        problems: What forbids to load it at all.
        strict: What forbids it unless `strict=False`.
        warnings: What the report warns of.
        channels_first: Whether the module has layers of torch's that take channels first.
        compares: Whether modules must compute what the source's config says.
    """

    how: str
    channels_first: bool = False
    compares: bool = True
    pairs: list[Pair] = field(default_factory=list)
    shapes: dict[Layer, dict[str, Shape]] = field(default_factory=dict)
    missing: list[LoadEntry] = field(default_factory=list)
    unused: list[LoadEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    strict: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether everything found its place."""
        return not (self.missing or self.unused or self.problems)

    def miss(self, leaf: Leaf, targets: Iterable[Target]) -> None:
        """Note parameters that the source has nothing for."""
        for target in targets:
            kind = _dtype.name_of(target.tensor.dtype)
            path = leaf.target_path(target)
            self.missing.append(LoadEntry(path, None, target.shape, kind))

    def leave(self, weights: Iterable[Weight]) -> None:
        """Note weights that nothing takes."""
        for weight in weights:
            self.unused.append(LoadEntry(None, weight.path, weight.shape, weight.dtype))

    def pair(self, contents: Contents, leaf: Leaf, saved: Saved, *, said: bool = False) -> None:
        """Note what of a saved layer goes where in a module.

        Args:
            contents: What the source holds.
            leaf: The module.
            saved: The layer.
            said: Whether the caller said so, whatever the layer's name lets suppose.
        """
        kind = _kind_of(saved, by_name=not said)
        if kind in KINDS and leaf.kinds and kind not in leaf.kinds:
            what = f"{leaf.path or 'the module'} is a {type(leaf.module).__name__}"
            self.problems.append(f"{what}. Found: a layer of the class {kind!r} at {saved.title}.")
            return
        try:
            weights = converted(contents, saved, leaf)
        except FileError as error:
            self.problems.append(str(error))
            return
        found = _by_name(leaf, weights) or _by_count(leaf, weights)
        if found is None:
            names = ", ".join(target.name for target in leaf.targets)
            what = f"{leaf.path or 'the module'} takes {len(leaf.targets)} weights: {names}"
            shapes = ", ".join(f"{w.name or w.path.rpartition('/')[2]} {w.shape}" for w in weights)
            self.problems.append(f"{what}. Found: {shapes} at {saved.title}.")
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
        self.check(leaf, found)
        if saved.spec is not None:
            self._compare(leaf, saved)

    def check(self, leaf: Leaf, found: dict[Target, Weight]) -> None:
        """Check shapes, types and whether each parameter can be written to."""
        for target, weight in found.items():
            path = leaf.target_path(target)
            refusal = target.refusal()
            if refusal:
                self.problems.append(f"{path}: {refusal}")
            kind = _dtype.name_of(target.tensor.dtype)
            if target.tensor.dtype.is_floating_point != weight.dtype.startswith(("float", "bf")):
                what = f"{path} is {kind}. Found: {weight.dtype} at {weight.path}"
                hint = " Quantized weights are not supported." if "int" in weight.dtype else ""
                self.problems.append(f"{what}.{hint}")
            if not target.unbuilt and target.view_as(target.tensor, weight.shape) is None:
                what = f"{path} has the shape {target.shape} in Keras's order"
                self.problems.append(f"{what}. Found: {weight.shape} at {weight.path}.")
        owners: dict[nn.Module, dict[str, Shape]] = {}
        for target, weight in found.items():
            if target.unbuilt:
                owners.setdefault(target.owner, {})[target.name] = weight.shape
        for owner, shapes in owners.items():
            if isinstance(owner, Layer):
                self._check_unbuilt(leaf, owner, shapes)

    def _check_unbuilt(self, leaf: Leaf, layer: Layer, shapes: dict[str, Shape]) -> None:
        expected = layer._shapes_of_saved(shapes)
        if expected is None:
            what = f"{leaf.path or 'the module'} is {layer!r}, which no input gives these shapes"
            self.problems.append(f"{what}. Found: {shapes}.")
        else:
            self.shapes[layer] = expected

    def _compare(self, leaf: Leaf, saved: Saved) -> None:
        spec = saved.spec
        if spec is None:
            return
        for line in disagreements(leaf.module, spec) if self.compares else ():
            self.strict.append(f"{leaf.path or 'the module'}: {line} (at {saved.title})")
        if saved.flattened and self.channels_first and isinstance(leaf.module, nn.Linear):
            self.warnings.append(f"{leaf.path or 'the module'}: {_FLATTENED}")
        careful = caution(leaf.module, spec)
        if careful:
            self.warnings.append(f"{leaf.path or 'the module'}: {careful}")


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
