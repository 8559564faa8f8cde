"""Match saved layers with modules: by name, by order, or as the caller says."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import islice, product
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..._core.registry import is_automatic_name, to_snake_case
from ...layers.base.layer import Layer
from ...models.functional import Model
from ...operations.operation import Operation
from ..formats.weight_file import WeightFile
from ..weights.module_weights import ModuleWeights, has_load_method, list_module_weights
from ..weights.parameters import has_known_weights
from ..weights.saved_layers_by_config import Names, SourceLayer, SourceLayers
from .layer_matcher import LayerMatcher
from .load_plan import LoadPlan, Skipped, list_missing_entries, list_unused_entries
from .name_pairs import LEVELS, Layers, Leaves, Pairs, drop_automatic_names, pair_by_names
from .other_orders import warn_of_other_orders
from .own_modules import merge_inner_layers
from .user_mapping import apply_mapping

A = TypeVar("A", ModuleWeights, SourceLayer)
_MAPPING = "Say which is which with `mapping={module path: saved layer}`."


class Matcher:
    """Matches the layers of a source with the submodules of a module that have weights."""

    def __init__(
        self,
        module: nn.Module,
        contents: WeightFile,
        source: SourceLayers,
        mapping: Mapping[str, str | None] | None = None,
        automatic: bool = False,  # trust automatic names of Keras, such as dense_1
        lenient: bool = False,  # skip layers that do not fit
        compares: bool = True,  # compare what modules compute with the source's config
    ) -> None:
        self.module, self.mapping = module, dict(mapping or {})
        self.automatic, self.lenient = automatic, lenient
        self.names: dict[nn.Module, Names] = {}
        custom: Mapping[str, Any] = {}
        if isinstance(module, Model):
            self.names, custom = list_layer_paths(module), module._custom or {}
        paths = {inner: path for path, inner in module.named_modules()}
        own = [  # those of which the mapping names a part are matched part by part
            inner
            for inner in list_custom_modules(self.names)
            if not any(key.startswith(f"{paths[inner]}.") for key in self.mapping)
        ]
        order = {layer: index for index, layer in enumerate(self.names)}  # the config's order
        self.leaves = list_module_weights(module, own)
        self.leaves.sort(key=lambda leaf: order.get(leaf.module, len(order)))
        custom_leaves = [leaf for leaf in self.leaves if leaf.parts is not None]
        names = [self.names.get(leaf.module, tuple(leaf.path.split("."))) for leaf in custom_leaves]
        self.source = merge_inner_layers(source, names)
        channels_first = any(isinstance(part, _ConvNd) for part in module.modules())
        self.layers = LayerMatcher(contents, custom, compares, channels_first, self.source.bare)

    def match(self, how: str) -> LoadPlan:
        """Return the plan of matching by "name", "order", "name and order" or "structure".

        The third is the order of what has no name in common; the last, names of the same config.
        """
        plan = LoadPlan(how=how)
        unmatched = self.leaves, self.source
        leaves, theirs, left_out = apply_mapping(plan, self.layers, *unmatched, self.mapping)
        plan.strict += [f"{leaf.title}: {leaf.refusal}" for leaf in leaves if leaf.refusal]
        if self.source.crossed:
            where = ", ".join(self.source.crossed)
            what = "the names are those of the config's layers, but in another order"
            plan.problems.append(f"{where}: {what}.")
        plan.ignored = set(left_out)
        free = {leaf for leaf in leaves if leaf.targets or leaf.parts is not None} | plan.ignored
        own = [leaf for leaf in self.leaves if leaf in free]
        if how != "order":
            own, theirs = self._match_by_name(plan, own, theirs)
        if how.endswith("order"):
            self._match_by_order(plan, own, theirs)
        else:
            self._note_rest(plan, own, theirs)
        paths = [leaf.target_path(target) for leaf in self.leaves for target in leaf.targets]
        order = {path: index for index, path in enumerate(paths)}
        plan.assignments.sort(key=lambda pair: order.get(pair.path, len(order)))
        return plan

    def _match_by_name(self, plan: LoadPlan, own: Leaves, theirs: Layers) -> tuple[Leaves, Layers]:
        """Pair what has a name in common, and return the rest."""
        names = {leaf: self._list_names(leaf, plan.how) for leaf in own}
        pairs = pair_by_names(names, theirs, LEVELS[:1] if plan.how == "structure" else LEVELS)
        if not self.automatic:
            rest = [leaf.path.rpartition(".")[2] for leaf in _drop_paired(own, pairs)]
            rest += [saved.names[-1] for saved in _drop_paired(theirs, pairs) if saved.names]
            pairs = drop_automatic_names(pairs, rest)
        for leaf, saved in pairs:
            self._pair(plan, leaf, saved)
        return _drop_paired(own, pairs), _drop_paired(theirs, pairs)

    def _pair(self, plan: LoadPlan, leaf: ModuleWeights, saved: SourceLayer) -> bool:
        """Pair a module, unless it is mapped to None, with a layer; return whether they fit."""
        if leaf in plan.ignored:
            plan.left_out += list_unused_entries(saved.weights)
            return True
        found = self.layers.match(leaf, saved)
        if self.lenient and found.mismatched:
            plan.skipped.append(Skipped(leaf, saved, tuple(found.mismatched)))
        else:
            plan.add_layer(found)
        return not found.mismatched

    def _note_rest(self, plan: LoadPlan, own: Leaves, theirs: Layers) -> None:
        """Note what has no partner after matching by name."""
        active = [leaf for leaf in own if leaf not in plan.ignored]
        by_name = {saved.names[-1]: saved for saved in theirs if saved.names}
        for leaf in active:
            plan.missing += list_missing_entries(leaf, leaf.targets)
            near = difflib.get_close_matches(leaf.path.rpartition(".")[2], by_name, n=1, cutoff=0.7)
            if not near:
                continue
            saved = by_name[near[0]]
            what = f"{leaf.path}: the source has no layer of this name, but {saved.title}"
            if self.layers.match(leaf, saved).fits:
                plan.problems.append(f"{what} of the same shapes. Did you mean that?")
            else:
                plan.hints.append(f"{what}, which does not fit.")
        # As many layers as modules that are mapped to None: they are theirs.
        rest = plan.left_out if len(own) - len(active) == len(theirs) else plan.unexpected
        rest += list_unused_entries(weight for saved in theirs for weight in saved.weights)

    def _list_names(self, leaf: ModuleWeights, how: str) -> set[Names]:
        """Return the names that a module may have in a source."""
        own = self.names.get(leaf.module)
        found = set() if own is None else {own}
        if how == "structure":
            return found
        if leaf.path:
            found.add(tuple(leaf.path.split(".")))
        name = getattr(leaf.module, "name", None)
        if isinstance(name, str) and name:
            kind = to_snake_case(type(leaf.module).__name__)
            automatic = isinstance(leaf.module, Layer) and is_automatic_name(name, kind)
            if self.automatic or not automatic:
                found.add((name,))
        return found

    def _match_by_order(self, plan: LoadPlan, own: Leaves, theirs: Layers) -> None:
        active = [leaf for leaf in own if leaf not in plan.ignored]
        if self.source.bare:
            queues = _split_arrays(plan, active, theirs, own)
        elif self.source.ordered:
            for container in self.source.doubts:
                what = f"the order of the layers in {container!r} depends on which were trained"
                plan.problems.append(f"{what}. {_MAPPING}")
            complete = len(own) == len(theirs)
            if len(active) < len(own) and theirs and not complete and plan.how != "order":
                what = "which layers of the source belong to the modules that are left out"
                plan.problems.append(f"{what} is not known. {_MAPPING}")
            queues = [list(zip(own if complete else active, theirs, strict=False))]
        else:
            queues = _queue_by_class(plan, active, theirs)
        for queue in queues:
            self._match_queue(plan, queue)
        if not self.source.bare:
            pairs = [pair for queue in queues for pair in queue]
            for leaf in _drop_paired(active, pairs):
                plan.missing += list_missing_entries(leaf, leaf.targets)
            for saved in _drop_paired(theirs, pairs):
                plan.unexpected += list_unused_entries(saved.weights)

    def _match_queue(self, plan: LoadPlan, queue: Pairs) -> None:
        """Pair modules and layers in order, and warn where that is in doubt."""
        before, bare = len(plan.skipped), self.source.bare
        misfits = [
            (leaf, saved)
            for leaf, saved in queue
            if not self._pair(plan, leaf, saved)
            or (leaf in plan.ignored and not self._fits(leaf, saved))
        ]
        relevant = [pair for pair in misfits if bare or pair[0] not in plan.ignored]
        at_the_end = queue[len(queue) - len(relevant) :] == relevant  # a new head, say
        skipped = plan.skipped[before:]
        if (self.lenient or bare) and (not at_the_end or len(skipped) * 2 > len(queue)):
            leaf = relevant[0][0]
            what = f"{leaf.title} does not fit in this order"
            reasons = next((one.reasons for one in skipped if one.leaf is leaf), ())
            plan.problems += [f"{what}: {reason}" for reason in reasons] or [f"{what}."]
        if bare and isinstance(self.module, Model):
            return
        plan.warnings += warn_of_other_orders(self.module, queue, self._fits, cuts=bare)
        for leaf, saved in misfits:
            others = [other.path for other, _ in queue if self._fits(other, saved)]
            if others:
                what = f"{', '.join(others)} fit the layer that was matched with {leaf.path}"
                plan.warnings.append(f"{what}, which it does not fit. {_MAPPING}")

    def _fits(self, leaf: ModuleWeights, saved: SourceLayer) -> bool:
        found = self.layers.match(leaf, saved)
        return found.fits and not found.differences


def _split_arrays(plan: LoadPlan, leaves: Leaves, layers: Layers, every: Leaves) -> list[Pairs]:
    """Split a list of arrays between the modules by how many each of them takes."""
    weights = [weight for layer in layers for weight in layer.weights]
    for some, buffers in product((leaves, every), (False, True)):
        counts = _count_arrays(some, len(weights), buffers=buffers)
        if sum(counts) == len(weights):
            remaining = iter(weights)
            parts = (SourceLayer((), "", tuple(islice(remaining, count))) for count in counts)
            return [list(zip(some, parts, strict=True))]
    counts = [len(leaf.targets) for leaf in every]
    takes = ", ".join(
        f"{leaf.title} {'?' if has_load_method(leaf.module) else count}"
        for leaf, count in zip(every, counts, strict=True)
    )
    what = f"the module needs {sum(counts)} arrays: {takes}"
    plan.problems.append(f"{what}. Found: {len(weights)} arrays.")
    return []


def _queue_by_class(plan: LoadPlan, leaves: Leaves, layers: Layers) -> list[Pairs]:
    """Pair the layers of each class in order; the order of different classes is not known."""
    theirs: dict[str, Layers] = {}
    for layer in layers:
        if layer.kind is not None:
            theirs.setdefault(layer.kind, []).append(layer)
    ours: dict[str, Leaves] = {}
    for leaf in leaves:
        kind = next((kind for kind in leaf.kinds if kind in theirs), None)
        if kind is not None:
            ours.setdefault(kind, []).append(leaf)
    for kind in ours:
        containers = sorted({layer.container for layer in theirs[kind]})
        if len(containers) > 1:
            what = f"the source has layers of the class {kind!r} in {containers}"
            plan.problems.append(f"{what}: no order between these is known. {_MAPPING}")
    return [list(zip(own, theirs[kind], strict=False)) for kind, own in ours.items()]


def _count_arrays(leaves: Leaves, available: int, *, buffers: bool) -> list[int]:
    """Return how many arrays each module takes; one with `load_keras_weights` takes the rest."""
    counts = [len(leaf.targets) + (len(leaf.buffers) if buffers else 0) for leaf in leaves]
    methods = [n for n, leaf in enumerate(leaves) if has_load_method(leaf.module)]
    if len(methods) == 1:
        counts[methods[0]] = max(available - sum(counts), 0)
    return counts


def _drop_paired(left: list[A], pairs: Pairs) -> list[A]:
    """Return the modules or layers that are in no pair."""
    paired = {one for pair in pairs for one in pair}
    return [one for one in left if one not in paired]


def list_layer_paths(module: Model, outer: Names = ()) -> dict[nn.Module, Names]:
    """Return the names, from the root, of all layers of a model made from a config."""
    found: dict[nn.Module, Names] = {}
    for name, layer in module.layers.items():
        inner = list_layer_paths(layer, (*outer, name)) if isinstance(layer, Model) else {}
        for key, names in {**inner, layer: (*outer, name)}.items():
            found.setdefault(key, names)
    return found


def list_custom_modules(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Return which of a model's layers are custom modules."""
    return [
        module
        for module in modules
        if has_load_method(module)
        or not (isinstance(module, (Model, Operation)) or has_known_weights(module))
    ]
