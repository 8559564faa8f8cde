"""Which of a saved layer's arrays goes into which parameter of one module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ... import dtype_policies
from ..._core.errors import FileError
from ..._core.registry import snake_case
from ...layers.base.layer import Layer
from ...layers.base.weights import infer_shapes
from ..formats.weight_file import Contents, Weight
from ..weights.config_differences import caution, disagreements
from ..weights.kernel_conversions import converted
from ..weights.module_weights import Leaf, has_method
from ..weights.parameters import MERGED, Shape, Target
from ..weights.saved_layers_by_config import Saved
from ..weights.torch_modules import KINDS
from .load_plan import Assignment, LayerPlan, MethodCall
from .own_modules import assign_weights, describe_misfit, name_uniquely, name_weights

_MOMENTS = ("moving_mean", "moving_variance")  # the two that every BatchNormalization has

_CHECK = "Check with `compare`."
_FLATTENED = (
    "in the source its inputs are images flattened with the channels last; bring them last with "
    "`x.permute(0, 2, 3, 1)` before you flatten them here"
)


@dataclass(frozen=True)
class LayerMatcher:
    """Matches single modules with saved layers.

    Attributes:
        contents: What the source holds.
        custom: The caller's own classes and functions by name; None for what makes modules.
        compares: Whether modules must compute what the source's config says.
        channels_first: Whether the whole module has layers of torch's that take channels first.
        in_order: Whether the arrays are a list in Keras's order, without names.
    """

    contents: Contents
    custom: Mapping[str, Any]
    compares: bool
    channels_first: bool
    in_order: bool

    def match(self, leaf: Leaf, saved: Saved, *, explicit: bool = False) -> LayerPlan:
        """Return what a module takes from a saved layer.

        Args:
            leaf: The module.
            saved: The layer.
            explicit: Whether the caller's mapping says so, whatever the layer's name suggests.
        """
        plan = LayerPlan()
        if leaf.parts is None:
            self._match_layer(plan, leaf, saved, explicit)
        else:
            self._match_own_module(plan, leaf, saved)
        return plan

    def _match_layer(self, plan: LayerPlan, leaf: Leaf, saved: Saved, explicit: bool) -> None:
        kind = _kind_of(saved, by_name=not explicit)
        if kind in KINDS and leaf.kinds and kind not in leaf.kinds:
            what = f"{leaf.path or 'the module'} is a {type(leaf.module).__name__}"
            plan.mismatched.append(
                f"{what}. Found: a layer of the class {kind!r} at {saved.title}."
            )
            return
        try:
            weights = converted(self.contents, saved, leaf)
        except FileError as error:
            plan.problems.append(str(error))
            return
        by_name = _by_name(leaf, weights)
        found = by_name or _by_count(leaf, weights)
        if found is None:
            names = ", ".join(target.name for target in leaf.targets)
            what = f"{leaf.path or 'the module'} takes {len(leaf.targets)} weights: {names}"
            shapes = ", ".join(f"{w.name or w.path.rpartition('/')[2]} {w.shape}" for w in weights)
            plan.mismatched.append(f"{what}. Found: {shapes} at {saved.title}.")
            return
        taken = {id(weight) for weight in found.values()}
        for target in leaf.targets:
            path = leaf.target_path(target)
            weight = found.get(target)
            if weight is None and not (self.contents.named_by_class and target.name in MERGED):
                plan.add_missing(leaf, [target])
                continue
            plan.assignments.append(Assignment(path, target, weight))
        plan.add_unexpected(weight for weight in weights if id(weight) not in taken)
        plan.mismatched += self.check(plan, leaf, found)
        if saved.spec is not None:
            self._compare(plan, leaf, saved)
        self._check_names(plan, leaf, saved, weights, named=by_name is not None)

    def _check_names(
        self,
        plan: LayerPlan,
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
            plan.mismatched.append(f"{what}, and shapes that do not tell which is which.")
            return
        kind = saved.kind if saved.spec is None else snake_case(saved.spec.class_name)
        if kind is not None and kind not in leaf.kinds:
            title = kind if saved.spec is None else saved.spec.class_name
            what = f"{owner} took the arrays of a {title} as {names}: the file has no names of them"
            plan.warnings.append(f"{what}. {_CHECK}")

    def _match_own_module(self, plan: LayerPlan, leaf: Leaf, saved: Saved) -> None:
        weights = name_weights(saved)
        try:
            converted(self.contents, saved, leaf)
            if has_method(leaf.module):
                named = name_uniquely(weights)
                plan.calls.append(MethodCall(leaf.path, leaf.module, named))
                return
            found, is_certain = assign_weights(leaf, weights, in_order=self.in_order)
        except FileError as error:
            plan.problems.append(str(error))
            return
        except ValueError as error:
            plan.own_mismatched.append(describe_misfit(leaf, saved, str(error)))
            plan.mismatched += plan.own_mismatched
            return
        for target, weight in found.items():
            plan.assignments.append(Assignment(leaf.target_path(target), target, weight))
        if not is_certain:
            what = f"{leaf.path or 'the module'} takes arrays of equal shapes in the order in which"
            plan.warnings.append(f"{what} its parameters are registered. {_CHECK}")
        plan.mismatched += self.check(plan, leaf, found)

    @staticmethod
    def check(plan: LayerPlan, leaf: Leaf, found: dict[Target, Weight]) -> list[str]:
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
                plan.shapes[layer] = expected
        return wrong

    def _compare(self, plan: LayerPlan, leaf: Leaf, saved: Saved) -> None:
        spec = saved.spec
        if spec is None:
            return
        differences = disagreements(leaf.module, spec, self.custom) if self.compares else ()
        for line in differences:
            plan.differences.append(f"{leaf.path or 'the module'}: {line} (at {saved.title})")
        if saved.flattened and self.channels_first and isinstance(leaf.module, nn.Linear):
            plan.warnings.append(f"{leaf.path or 'the module'}: {_FLATTENED}")
        careful = caution(leaf.module, spec)
        if careful:
            plan.warnings.append(f"{leaf.path or 'the module'}: {careful}")


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
