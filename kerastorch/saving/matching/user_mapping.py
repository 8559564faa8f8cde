"""Apply the argument `mapping`, before the rest is matched."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ..formats.weight_file import Weight
from ..weights.module_weights import ModuleWeights, list_raw_targets
from ..weights.parameters import ParameterSlot
from ..weights.saved_layers_by_config import SourceLayer, SourceLayers
from .layer_matcher import LayerMatcher, add_assignments
from .load_plan import LoadPlan, list_missing_entries, list_unused_entries
from .name_pairs import Layers, Leaves

Entries = Mapping[str, str | None]
Chosen = dict[ModuleWeights, dict[ParameterSlot, Weight | None]]


def apply_mapping(
    plan: LoadPlan, matcher: LayerMatcher, leaves: Leaves, source: SourceLayers, mapping: Entries
) -> tuple[Leaves, Layers, Leaves]:
    """Add what a mapping names to a plan, and what is wrong with the mapping.

    The mapping has module paths -> names or paths of saved layers, parameter paths -> array paths,
    and None for what stays unchanged. Return the leaves and the layers that it does not name, and
    the leaves that stay unchanged.
    """
    free, layers = {leaf.path: leaf for leaf in leaves}, list(source.layers)
    arrays = {weight.path: weight for saved in layers for weight in saved.weights}
    left_out: Leaves = []
    chosen: Chosen = {}
    inner_first = sorted(mapping.items(), key=lambda item: item[0].count("."), reverse=True)
    for path, name in inner_first:
        inside = [one for one in free if not path or one == path or one.startswith(f"{path}.")]
        if any(free[one] in chosen for one in inside):
            rule = "a module must not be a key beside its own parameters"
            plan.problems.append(f"mapping[{path!r}]: {rule}. Name each parameter, or the module.")
        elif name is None and (inside or not path):
            left_out += [free.pop(one) for one in inside]
        elif name is not None and path in free and free[path].targets:
            groups = (SourceLayer((), one.path, one.weights) for one in matcher.contents.layers)
            inner = [group for group in groups if group.weights]
            found = _find_layers(name, source.layers) or _find_layers(name, inner)
            if len(found) == 1:
                plan.add_layer(matcher.match(free.pop(path), found[0], explicit=True))
                layers = [layer for layer in layers if layer.path != found[0].path]
                continue
            known = [one for saved in source.layers for one in (saved.path, *saved.names[-1:])]
            rule = f"must name {'one' if found else 'a'} saved layer"
            titles = [saved.title for saved in source.layers]
            plan.problems.append(_describe_value(path, name, rule, known, titles))
        elif (place := _find_parameter(path, free)) is None:
            paths = [leaf.target_path(one) for leaf in free.values() for one in leaf.targets]
            known = [*free, *paths]
            rule = "the path of a module or a parameter with weights"
            plan.problems.append(f"mapping[{path!r}]: a key must be {rule}.{_suggest(path, known)}")
        elif name is not None and name not in arrays:
            rule = "must be the path of an array of the source"
            plan.problems.append(_describe_value(path, name, rule, arrays, arrays))
        else:
            leaf, target = place
            chosen.setdefault(leaf, {})[target] = None if name is None else arrays[name]
    used = _assign_parameters(plan, chosen)
    for layer in list(layers):
        unused = [weight for weight in layer.weights if weight.path not in used]
        if len(unused) < len(layer.weights):
            layers.remove(layer)
            plan.unexpected += list_unused_entries(unused)
    for leaf in chosen:
        del free[leaf.path]
    return list(free.values()), layers, left_out


def _assign_parameters(plan: LoadPlan, chosen: Chosen) -> set[str]:
    """Add arrays for single parameters to a plan; the rest of their modules is missing."""
    used = set()
    for leaf, given in chosen.items():
        assigned = {target: weight for target, weight in given.items() if weight is not None}
        plan.problems += add_assignments(plan, leaf, assigned)
        named = {target.parameter for target in given if target.owner is leaf.module}
        rest = leaf.targets or list_raw_targets(leaf.module, leaf.module._parameters, named)
        plan.missing += list_missing_entries(leaf, [one for one in rest if one not in given])
        used |= {weight.path for weight in assigned.values()}
    return used


def _find_layers(name: str, layers: Iterable[SourceLayer]) -> list[SourceLayer]:
    """Return the layers of a path or of all names; else those whose own name it is."""
    exact = [saved for saved in layers if name in (saved.path, "/".join(saved.names))]
    return exact or [saved for saved in layers if saved.names[-1:] == (name,)]


def _find_parameter(
    path: str, leaves: Mapping[str, ModuleWeights]
) -> tuple[ModuleWeights, ParameterSlot] | None:
    """Return a parameter and its module; parameters that no Keras layer has count, too."""
    for leaf in leaves.values():
        for target in leaf.targets:
            if leaf.target_path(target) == path:
                return leaf, target
    owner, _, last = path.rpartition(".")
    if owner in leaves and leaves[owner].module._parameters.get(last) is not None:
        return leaves[owner], ParameterSlot(leaves[owner].module, last, last, last)
    return None


def _describe_value(
    path: str, name: str, rule: str, known: Iterable[str], listed: Iterable[str]
) -> str:
    said = f"mapping[{path!r}] {rule}. Received: {name!r}.{_suggest(name, known)}"
    return f"{said} There are: {', '.join(listed)}."


def _suggest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the most similar known name, or ""."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
