"""Match the arrays of one saved layer with the parameters of one module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ... import dtype_policies
from ..._core.errors import FileError
from ..._core.registry import to_snake_case
from ...layers.base.weights import infer_weight_shapes
from ..formats.weight_file import Weight, WeightFile
from ..torch_layers.modules import KINDS
from ..weights.config_differences import find_config_differences, find_training_differences
from ..weights.kernel_conversions import convert_weights
from ..weights.module_weights import ModuleWeights, has_load_method
from ..weights.parameters import MERGED, find_automatic_kind, group_unbuilt_shapes
from ..weights.saved_layers_by_config import SourceLayer
from .inner_groups import count_inner_layers, match_by_parts, match_by_path
from .load_plan import Assignment, LoadPlan, MethodCall, list_missing_entries, list_unused_entries
from .own_modules import Assigned, assign_weights, name_uniquely

Weights = tuple[Weight, ...]
_CHECK = "Check with `compare`."
_FLATTENED = (
    "in the source its inputs are feature maps flattened with the channels last; move them last "
    "with `x.permute(0, 2, 3, 1)` before you flatten them here"
)


@dataclass(frozen=True)
class LayerMatcher:
    """Matches single modules with saved layers."""

    contents: WeightFile
    custom: Mapping[str, Any]  # the caller's own objects; None for module classes
    compares: bool  # whether to compare configs
    channels_first: bool  # whether the root module contains convolutions of torch.nn
    in_order: bool  # whether the source is a list of arrays

    def match(self, leaf: ModuleWeights, saved: SourceLayer, *, explicit: bool = False) -> LoadPlan:
        """Return the plan for a module and a layer; `explicit` if the caller pairs them."""
        plan = LoadPlan()
        kind = saved.kind
        if kind is None and saved.names and not explicit:
            kind = find_automatic_kind(saved.names[-1])
        if kind in KINDS and leaf.kinds and kind not in leaf.kinds:
            own = f"{leaf.title} is a {type(leaf.module).__name__}"
            plan.mismatched.append(f"{own}. Found: a layer of the class {kind!r} at {saved.title}.")
            return plan
        try:
            weights = convert_weights(self.contents, saved, leaf)
        except FileError as error:
            plan.problems.append(str(error))
            return plan
        if self.contents.layout == "classes" and getattr(
            leaf.module, "repeats_inner_weight", False
        ):
            repeated = next((one for one in weights if not one.group), None)
            weights = tuple(one for one in weights if one is not repeated)
        if leaf.parts is None:
            self._match_layer(plan, leaf, saved, weights)
        else:
            self._match_own_module(plan, leaf, saved)
        return plan

    def _match_layer(
        self, plan: LoadPlan, leaf: ModuleWeights, saved: SourceLayer, weights: Weights
    ) -> None:
        by_name = _match_by_name(leaf, weights)
        by_name = by_name or self._match_by_group(leaf, weights)
        found = by_name or self._match_by_count(leaf, weights)
        if found is None:
            names = ", ".join(target.name for target in leaf.targets)
            what = f"{leaf.title} has {len(leaf.targets)} weights: {names}"
            shapes = ", ".join(f"{w.name or w.path.rpartition('/')[2]} {w.shape}" for w in weights)
            plan.mismatched.append(f"{what}. Found: {shapes} at {saved.title}.")
            return
        missing = [target for target in leaf.targets if target not in found]
        if self.contents.layout == "classes":
            merged = [target for target in missing if target.name in MERGED]
            plan.assignments += [Assignment(leaf.target_path(one), one, None) for one in merged]
            missing = [target for target in missing if target.name not in MERGED]
        plan.missing += list_missing_entries(leaf, missing)
        used = set(map(id, found.values()))
        plan.unexpected += list_unused_entries(w for w in weights if id(w) not in used)
        plan.mismatched += add_assignments(plan, leaf, found)
        self._compare(plan, leaf, saved)
        if not by_name:
            _check_order(plan, leaf, saved, weights)

    def _match_by_group(self, leaf: ModuleWeights, weights: Weights) -> Assigned:
        """Return the weights by the layers inside the layer that have them; empty if unknown."""
        by_path: Assigned = {}
        if self.contents.layout in ("classes", "positions") and any(w.group for w in weights):
            by_path = match_by_path(leaf.targets, weights)
        if by_path or self.contents.layout == "classes":
            return by_path
        named = all(weight.name for weight in weights)
        return match_by_parts(leaf.targets, weights) if named else {}

    def _match_by_count(self, leaf: ModuleWeights, weights: Weights) -> Assigned | None:
        """Return the weight of each parameter by order, or None if the count differs."""
        if self.contents.layout == "classes":  # sorted by their paths
            certain = count_inner_layers(weights) < 2
        else:
            names = {target.name for target in leaf.targets}
            certain = count_inner_layers(leaf.targets) < 2 or {w.name for w in weights} != names
        if not certain:
            return None
        return _match_by_count(leaf, weights)

    def _match_own_module(self, plan: LoadPlan, leaf: ModuleWeights, saved: SourceLayer) -> None:
        if has_load_method(leaf.module):
            plan.calls.append(MethodCall(leaf.path, leaf.module, name_uniquely(saved)))
            return
        try:
            found, is_certain = assign_weights(leaf, saved, in_order=self.in_order)
        except ValueError as error:
            plan.own_mismatched.append(str(error))
            plan.mismatched.append(str(error))
            return
        if not is_certain:
            what = f"{leaf.title} receives arrays of equal shapes in the order in which"
            plan.warnings.append(f"{what} its parameters are registered. {_CHECK}")
        plan.mismatched += add_assignments(plan, leaf, found)

    def _compare(self, plan: LoadPlan, leaf: ModuleWeights, saved: SourceLayer) -> None:
        """Note where the module computes something else than the layer's config says."""
        if saved.spec is None:
            return
        if self.compares:
            lines = find_config_differences(leaf.module, saved.spec, self.custom)
            plan.differences += [f"{leaf.title}: {line} (at {saved.title})" for line in lines]
        if saved.flattened and self.channels_first and isinstance(leaf.module, nn.Linear):
            plan.warnings.append(f"{leaf.title}: {_FLATTENED}")
        lines = find_training_differences(leaf.module, saved.spec)
        plan.warnings += [f"{leaf.title}: {line}" for line in lines]


def add_assignments(plan: LoadPlan, leaf: ModuleWeights, found: Assigned) -> list[str]:
    """Assign arrays; return wrong shapes, wrong dtypes and read-only parameters."""
    wrong = []
    for target, weight in found.items():
        path, refusal = leaf.target_path(target), target.refusal()
        slots = (target, *target.also)
        plan.assignments += [Assignment(leaf.target_path(one), one, weight) for one in slots]
        if refusal:
            wrong.append(f"{path}: {refusal}")
        dtype = target.tensor.dtype
        if dtype.is_floating_point != weight.dtype.startswith(("float", "bf")):
            what = f"{path} is {dtype_policies.get_dtype_name(dtype)}"
            hint = " Quantized weights are not supported." if "int" in weight.dtype else ""
            wrong.append(f"{what}. Found: {weight.dtype} at {weight.path}.{hint}")
        if not target.fits(weight.shape):
            what = f"{path} has the shape {target.shape} in Keras's order"
            wrong.append(f"{what}. Found: {weight.shape} at {weight.path}.")
    for layer, shapes in group_unbuilt_shapes(found).items():
        expected = infer_weight_shapes(layer, shapes)
        if expected is None:
            what = f"{leaf.title} is {layer!r}, which no input gives these shapes"
            wrong.append(f"{what}. Found: {shapes}.")
        else:
            plan.shapes[layer] = expected
    return wrong


def _check_order(plan: LoadPlan, leaf: ModuleWeights, saved: SourceLayer, weights: Weights) -> None:
    """Note an error or a warning if only the order distinguishes arrays of equal shapes."""
    in_order = [weight.name for weight in weights] == [target.name for target in leaf.targets]
    if in_order or len({weight.shape for weight in weights}) == len(weights):
        return
    names = ", ".join(target.name for target in leaf.targets)
    given = [weight.name for weight in weights if weight.name and not weight.name.isdecimal()]
    if given:
        what = f"{leaf.title} has the weights {names}. Found the names {', '.join(given)}"
        plan.mismatched.append(f"{what} at {saved.title}, and equal shapes.")
        return
    title = saved.kind if saved.spec is None else saved.spec.class_name
    kind = title if saved.spec is None else to_snake_case(saved.spec.class_name)
    if kind is not None and kind not in leaf.kinds:
        what = f"{leaf.title} received the arrays of a {title} as {names}"
        plan.warnings.append(f"{what}: the file has no names of them. {_CHECK}")


def _match_by_name(leaf: ModuleWeights, weights: Weights) -> Assigned:
    """Return the weights by Keras's names of the parameters; empty if the names are unknown."""
    names = [weight.name for weight in weights]
    targets = {target.name: target for target in leaf.targets}
    if None in names or len(set(names)) < len(names) or len(targets) < len(leaf.targets):
        return {}
    return {targets[weight.name]: weight for weight in weights if weight.name in targets}


def _match_by_count(leaf: ModuleWeights, weights: Weights) -> Assigned | None:
    """Return the weight of each parameter by order, or None if the count differs."""
    choices = [leaf.targets, [target for target in leaf.targets if target.name not in MERGED]]
    buffers = [target for target in leaf.targets if target.is_buffer]
    if buffers:  # a normalization has statistics always, but not always gamma and beta
        choices.append(buffers)
    for targets in choices:
        if len(targets) == len(weights):
            return dict(zip(targets, weights, strict=True))
    return None
