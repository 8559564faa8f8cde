"""Apply the argument `mapping`, before the rest is matched."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..formats.weight_file import Weight
from ..weights.module_weights import ModuleWeights, list_raw_targets
from ..weights.parameters import ParameterSlot
from ..weights.saved_layers_by_config import SourceLayer, SourceLayers
from .layer_matcher import LayerMatcher
from .load_plan import Assignment, LoadPlan


def apply_mapping(
    plan: LoadPlan,
    matcher: LayerMatcher,
    leaves: Sequence[ModuleWeights],
    source: SourceLayers,
    mapping: Mapping[str, str | None],
) -> tuple[list[ModuleWeights], list[SourceLayer], list[ModuleWeights]]:
    """Add what a mapping names to a plan, and what is wrong with the mapping.

    The mapping has module paths -> names or paths of saved layers, parameter paths -> array paths,
    and None for what stays unchanged. Return the leaves and the layers that it does not name, and
    the leaves that stay unchanged.
    """
    rest = _Mapping(plan, matcher, source, {leaf.path: leaf for leaf in leaves})
    for path, name in mapping.items():
        rest.apply_entry(path, name)
    rest.apply_parameters()
    return list(rest.leaves.values()), rest.layers, rest.left_out


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the most similar known name, or ""."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


@dataclass
class _Mapping:
    """The leaves and layers that are not matched yet, while the mapping is applied."""

    plan: LoadPlan
    matcher: LayerMatcher
    source: SourceLayers
    leaves: dict[str, ModuleWeights]

    def __post_init__(self) -> None:
        self.layers = list(self.source.layers)
        self.left_out: list[ModuleWeights] = []
        self.weights = {weight.path: weight for saved in self.layers for weight in saved.weights}
        self.parts: dict[str, list[tuple[ParameterSlot, Weight | None]]] = {}

    def apply_entry(self, path: str, name: str | None) -> None:
        """Match what one entry names; single parameters are collected first."""
        inside = [one for one in self.leaves if one == path or one.startswith(f"{path}.")]
        if name is None and (inside or not path):
            self.left_out += [self.leaves.pop(one) for one in inside or list(self.leaves)]
        elif name is not None and path in self.leaves and self.leaves[path].targets:
            saved = self.find_layer(path, name)
            if saved is not None:
                found = self.matcher.match(self.leaves.pop(path), saved, explicit=True)
                self.plan.add_layer(found)
                self.layers = [layer for layer in self.layers if layer.path != saved.path]
        else:
            self.add_parameter(path, name)

    def find_layer(self, path: str, name: str) -> SourceLayer | None:
        """Return the saved layer of a name or path; note a problem unless there is one."""
        groups = self.matcher.contents.layers
        inner = [SourceLayer((), group.path, group.weights) for group in groups if group.weights]
        found: list[SourceLayer] = []
        for layers in (self.source.layers, inner):
            exact = [saved for saved in layers if name in (saved.path, "/".join(saved.names))]
            found = exact or [saved for saved in layers if saved.names[-1:] == (name,)]
            if found:
                break
        if len(found) == 1:
            return found[0]
        known = [name for saved in self.source.layers for name in (saved.path, *saved.names[-1:])]
        rule = "one saved layer" if found else "a saved layer"
        said = f"mapping[{path!r}] must name {rule}. Received: {name!r}."
        titles = ", ".join(saved.title for saved in self.source.layers)
        self.plan.problems.append(f"{said}{suggest(name, known)} There are: {titles}.")
        return None

    def add_parameter(self, path: str, name: str | None) -> None:
        """Collect the parameter and the array that an entry names."""
        owner, _, last = path.rpartition(".")
        known = {
            leaf.target_path(target): (leaf, target)
            for leaf in self.leaves.values()
            for target in leaf.targets
        }
        if path in known:
            leaf, target = known[path]
        elif owner in self.leaves and self.leaves[owner].module._parameters.get(last) is not None:
            leaf = self.leaves[owner]
            target = ParameterSlot(leaf.module, last, last, last)
        else:
            rule = "the path of a module or a parameter with weights"
            hint = suggest(path, [*self.leaves, *known])
            self.plan.problems.append(f"mapping[{path!r}]: a key must be {rule}.{hint}")
            return
        if name is not None and name not in self.weights:
            said = f"mapping[{path!r}] must be the path of an array of the source"
            hint, every = suggest(name, self.weights), ", ".join(self.weights)
            self.plan.problems.append(f"{said}. Received: {name!r}.{hint} There are: {every}.")
            return
        weight = None if name is None else self.weights[name]
        self.parts.setdefault(leaf.path, []).append((target, weight))

    def apply_parameters(self) -> None:
        """Match the collected parameters; report the rest of their modules and layers."""
        used = set()
        for path, chosen in self.parts.items():
            leaf = self.leaves.pop(path)
            given = {target: weight for target, weight in chosen if weight is not None}
            self.plan.assignments += [
                Assignment(leaf.target_path(target), target, weight)
                for target, weight in given.items()
            ]
            self.plan.problems += self.matcher.check(self.plan, leaf, given)
            named = {target.parameter for target, _ in chosen if target.owner is leaf.module}
            rest = leaf.targets or list_raw_targets(leaf.module, leaf.module._parameters, named)
            said = [target for target, _ in chosen]
            self.plan.add_missing(leaf, [target for target in rest if target not in said])
            used |= {weight.path for weight in given.values()}
        for layer in list(self.layers):
            if any(weight.path in used for weight in layer.weights):
                self.layers.remove(layer)
                self.plan.add_unexpected(one for one in layer.weights if one.path not in used)
