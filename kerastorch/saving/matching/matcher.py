"""Which saved layer goes to which module: by name, by order, or as the caller says."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import nn

from ..._core.registry import is_automatic_name, snake_case
from ...layers.base.layer import Layer
from ...models.functional import Model
from ...operations.operation import Operation
from ..formats.weight_file import Contents
from ..weights.module_weights import Leaf, has_method, leaves_of
from ..weights.parameters import has_channels_first, is_known
from ..weights.saved_layers_by_config import Names, Saved, Source
from .layer_matcher import LayerMatcher
from .load_plan import LoadPlan, Skipped, unused_entries
from .name_pairs import LEVELS, drop_automatic_names, pair_by_names
from .other_orders import warn_of_other_cuts, warn_of_other_orders
from .own_modules import merge_by_names
from .user_mapping import apply_mapping

_MAPPING = "Say which is which with `mapping={module path: saved layer}`."


class Matcher:
    """Matches the layers of a source with the leaves of a module.

    Args:
        module: The module.
        contents: What the source holds.
        source: Its layers.
        mapping: What the caller says of single modules and parameters.
        automatic: Whether to trust names that Keras gave by itself, such as dense_1.
        lenient: Whether a layer that does not fit is left out, rather than an error.
        compares: Whether modules must compute what the source's config says.
    """

    def __init__(
        self,
        module: nn.Module,
        contents: Contents,
        source: Source,
        mapping: Mapping[str, str | None] | None = None,
        automatic: bool = False,
        lenient: bool = False,
        compares: bool = True,
    ) -> None:
        self.module = module
        self.mapping = dict(mapping or {})
        self.names: dict[nn.Module, Names] = {}
        custom: Mapping[str, Any] = {}
        if isinstance(module, Model):
            self.names, custom = structural_names(module), module._custom or {}
        self.automatic = automatic
        self.lenient = lenient
        self.leaves = leaves_of(module, self._unmapped(own_modules(self.names)))
        if isinstance(module, Model):  # in the config's order, also where layers were replaced
            places = {layer: place for place, layer in enumerate(self.names)}
            self.leaves.sort(key=lambda leaf: places.get(leaf.module, len(places)))
        whole = [leaf for leaf in self.leaves if leaf.parts is not None]
        self.source = merge_by_names(
            source, [self.names.get(leaf.module, tuple(leaf.path.split("."))) for leaf in whole]
        )
        channels_first = has_channels_first(module)
        self.layers = LayerMatcher(contents, custom, compares, channels_first, self.source.bare)

    def _unmapped(self, own: Mapping[nn.Module, Names]) -> list[nn.Module]:
        """Return the modules of the caller's own of which the mapping names no part."""
        paths = {module: path for path, module in self.module.named_modules()}
        return [
            module
            for module in own
            if not any(key.startswith(f"{paths[module]}.") for key in self.mapping)
        ]

    def match(self, how: str) -> LoadPlan:
        """Return what goes where.

        Args:
            how: "name", "order", "name and order" for the order of what has no name in common, or
                "structure" for names that both have from the same config.
        """
        match = LoadPlan(how=how)
        leaves, layers, left_out = apply_mapping(
            match, self.layers, self.leaves, self.source, self.mapping
        )
        for leaf in leaves:
            if leaf.refusal:
                match.strict.append(f"{leaf.path or 'the module'}: {leaf.refusal}")
        if self.source.crossed:
            where = ", ".join(self.source.crossed)
            what = "the names are those of the config's layers, but in another order"
            match.problems.append(f"{where}: {what}.")
        leaves = [leaf for leaf in leaves if leaf.targets or leaf.parts is not None]
        own, theirs = _Side(leaves, left_out), layers
        if how != "order":
            own, theirs = self._match_by_name(match, own, theirs)
        if how.endswith("order"):
            self._match_by_order(match, own, theirs)
        else:
            self._note_rest(match, own, theirs)
        paths = [leaf.target_path(target) for leaf in self.leaves for target in leaf.targets]
        places = {path: place for place, path in enumerate(paths)}
        match.assignments.sort(key=lambda pair: places.get(pair.path, len(places)))
        return match

    # By name

    def _match_by_name(
        self, match: LoadPlan, own: _Side, theirs: list[Saved]
    ) -> tuple[_Side, list[Saved]]:
        """Pair what has a name in common, and return the rest."""
        how = match.how
        levels = LEVELS[:1] if how == "structure" else LEVELS
        pairs = pair_by_names(
            own.everything(self.leaves), theirs, lambda leaf: self._names_of(leaf, how), levels
        )
        if not self.automatic:
            pairs = drop_automatic_names(pairs, own.everything(self.leaves), theirs)
        for leaf, saved in pairs:
            self._pair(match, own, leaf, saved)
        paired = {id(one) for pair in pairs for one in pair}
        return own.without(paired), [saved for saved in theirs if id(saved) not in paired]

    def _pair(self, match: LoadPlan, own: _Side, leaf: Leaf, saved: Saved) -> bool:
        """Pair a module, unless it is left out, with a layer; return whether they fit."""
        if own.is_left_out(leaf):
            match.left_out += unused_entries(saved.weights)
            return True
        found = self.layers.match(leaf, saved)
        if self.lenient and found.mismatched:
            match.skipped.append(Skipped(leaf, saved, tuple(found.mismatched)))
        else:
            match.add_layer(found)
        return not found.mismatched

    def _note_rest(self, match: LoadPlan, own: _Side, theirs: list[Saved]) -> None:
        """Note what has no partner after matching by name."""
        for leaf in own.leaves:
            match.add_missing(leaf, leaf.targets)
            near = self._find_misspelled(leaf, theirs)
            if near is None:
                continue
            what = f"{leaf.path}: the source has no layer of this name, but {near.title}"
            if self.layers.match(leaf, near).fits:
                match.problems.append(f"{what} of the same shapes. Did you mean that?")
            else:
                match.hints.append(f"{what}, which does not fit.")
        if len(own.left_out) == len(theirs):  # they are then what the source has for these
            for saved in theirs:
                match.left_out += unused_entries(saved.weights)
            return
        for saved in theirs:
            match.add_unexpected(saved.weights)

    def _find_misspelled(self, leaf: Leaf, layers: list[Saved]) -> Saved | None:
        """Return a layer that has almost a module's name."""
        name = leaf.path.rpartition(".")[2]
        by_name = {saved.names[-1]: saved for saved in layers if saved.names}
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.7)
        return by_name[near[0]] if near else None

    def _names_of(self, leaf: Leaf, how: str) -> set[Names]:
        """Return the names that a module may have in a source."""
        own = self.names.get(leaf.module)
        if how == "structure":
            return set() if own is None else {own}
        found = {tuple(leaf.path.split("."))} if leaf.path else set()
        name = getattr(leaf.module, "name", None)
        if isinstance(name, str) and name and (self.automatic or not _is_automatic(leaf, name)):
            found.add((name,))
        return found | ({own} if own else set())

    # By order

    def _match_by_order(self, match: LoadPlan, own: _Side, theirs: list[Saved]) -> None:
        everything = own.everything(self.leaves)
        if self.source.bare:
            queues = self._split_arrays(match, own.leaves, theirs, everything)
        elif self.source.ordered:
            for container in self.source.doubts:
                what = f"the order of the layers in {container!r} depends on which were trained"
                match.problems.append(f"{what}. {_MAPPING}")
            complete = len(everything) == len(theirs)
            if own.left_out and theirs and not complete and match.how != "order":
                what = "which layers of the source belong to the modules that are left out"
                match.problems.append(f"{what} is not known. {_MAPPING}")
            fitting = everything if complete and len(own.leaves) != len(theirs) else own.leaves
            queues = [list(zip(fitting, theirs, strict=False))]
        else:
            queues = self._queue_by_class(match, own.leaves, theirs)
        for queue in queues:
            self._match_queue(match, own, queue)
        if not self.source.bare:
            paired = {id(one) for queue in queues for pair in queue for one in pair}
            for leaf in own.without(paired).leaves:
                match.add_missing(leaf, leaf.targets)
            for saved in theirs:
                if id(saved) not in paired:
                    match.add_unexpected(saved.weights)

    def _match_queue(self, match: LoadPlan, own: _Side, queue: list[tuple[Leaf, Saved]]) -> None:
        """Pair modules and layers in order, and warn where that is in doubt."""
        before, bare = len(match.skipped), self.source.bare
        taken = [self._pair(match, own, leaf, saved) for leaf, saved in queue]
        misfits = [
            (leaf, saved)
            for (leaf, saved), fits in zip(queue, taken, strict=True)
            if not fits or (own.is_left_out(leaf) and not self._fits(leaf, saved))
        ]
        relevant = [pair for pair in misfits if bare or not own.is_left_out(pair[0])]
        at_the_end = queue[len(queue) - len(relevant) :] == relevant  # a new head, say
        skipped = match.skipped[before:]
        if (self.lenient or bare) and (not at_the_end or len(skipped) * 2 > len(queue)):
            leaf = relevant[0][0]
            what = f"{leaf.path or 'the module'} does not fit in this order"
            reasons = next((one.reasons for one in skipped if one.leaf is leaf), ())
            match.problems += [f"{what}: {reason}" for reason in reasons] or [f"{what}."]
        if bare and isinstance(self.module, Model):
            return
        match.warnings += warn_of_other_orders(self.module, queue, self._fits)
        if bare:
            match.warnings += warn_of_other_cuts(self.module, queue, self._fits)
        for leaf, saved in misfits:
            others = [other.path for other, _ in queue if self._fits(other, saved)]
            if others:
                what = f"{', '.join(others)} fit the layer that was matched with {leaf.path}"
                match.warnings.append(f"{what}, which it does not fit. {_MAPPING}")

    def _fits(self, leaf: Leaf, saved: Saved) -> bool:
        found = self.layers.match(leaf, saved)
        return found.fits and not found.differences

    def _queue_by_class(
        self, match: LoadPlan, leaves: list[Leaf], layers: list[Saved]
    ) -> list[list[tuple[Leaf, Saved]]]:
        """Pair the layers of each class in order, since their order among classes is not known."""
        theirs: dict[str, list[Saved]] = {}
        for layer in layers:
            if layer.kind is not None:
                theirs.setdefault(layer.kind, []).append(layer)
        mine: dict[str, list[Leaf]] = {}
        for leaf in leaves:
            kind = next((kind for kind in leaf.kinds if kind in theirs), None)
            if kind is not None:
                mine.setdefault(kind, []).append(leaf)
        for kind in mine:
            containers = sorted({layer.container for layer in theirs[kind]})
            if len(containers) > 1:
                what = f"the source has layers of the class {kind!r} in {containers}"
                match.problems.append(f"{what}: no order between these is known. {_MAPPING}")
        return [list(zip(own, theirs[kind], strict=False)) for kind, own in mine.items()]

    def _split_arrays(
        self, match: LoadPlan, leaves: list[Leaf], layers: list[Saved], everything: list[Leaf]
    ) -> list[list[tuple[Leaf, Saved]]]:
        """Split a bare list of arrays between the modules, to each as many as it takes."""
        weights = [weight for layer in layers for weight in layer.weights]
        for some in (leaves, everything):
            for buffers in (False, True):
                counts = _count_arrays(some, len(weights), buffers=buffers)
                if sum(counts) == len(weights):
                    remaining = iter(weights)
                    parts = (Saved((), "", tuple(islice(remaining, count))) for count in counts)
                    return [list(zip(some, parts, strict=True))]
        takes = ", ".join(
            f"{leaf.path or 'the module'} {'?' if has_method(leaf.module) else len(leaf.targets)}"
            for leaf in everything
        )
        total = sum(len(leaf.targets) for leaf in everything)
        what = f"the module takes {total} arrays: {takes}"
        match.problems.append(f"{what}. Found: {len(weights)} arrays.")
        return []


def _count_arrays(leaves: list[Leaf], available: int, *, buffers: bool) -> list[int]:
    """Return how many arrays each module takes; one with a method of its own takes the rest."""
    counts = [len(leaf.targets) + (len(leaf.buffers) if buffers else 0) for leaf in leaves]
    methods = [n for n, leaf in enumerate(leaves) if has_method(leaf.module)]
    if len(methods) == 1:
        counts[methods[0]] = max(available - sum(counts), 0)
    return counts


@dataclass(frozen=True)
class _Side:
    """The modules that are still to be matched, and those that the caller leaves out."""

    leaves: list[Leaf]
    left_out: list[Leaf]

    def is_left_out(self, leaf: Leaf) -> bool:
        return any(leaf is one for one in self.left_out)

    def everything(self, order: list[Leaf]) -> list[Leaf]:
        """Return both in the order of the module."""
        ids = {id(leaf) for leaf in (*self.leaves, *self.left_out)}
        return [leaf for leaf in order if id(leaf) in ids]

    def without(self, paired: set[int]) -> _Side:
        """Return what is not among the ids of those that have a partner."""
        return _Side(
            [leaf for leaf in self.leaves if id(leaf) not in paired],
            [leaf for leaf in self.left_out if id(leaf) not in paired],
        )


def _is_automatic(leaf: Leaf, name: str) -> bool:
    """Return whether a layer's name is one that nobody chose."""
    kind = snake_case(type(leaf.module).__name__)
    return isinstance(leaf.module, Layer) and is_automatic_name(name, kind)


def structural_names(module: Model, outer: Names = ()) -> dict[nn.Module, Names]:
    """Return the names, from the top, of all layers of a model made from a config."""
    found: dict[nn.Module, Names] = {}
    for name, layer in module.layers.items():
        inner = structural_names(layer, (*outer, name)) if isinstance(layer, Model) else {}
        for key, names in {**inner, layer: (*outer, name)}.items():
            found.setdefault(key, names)
    return found


def own_modules(names: Mapping[nn.Module, Names]) -> dict[nn.Module, Names]:
    """Return which of a model's layers are modules of the caller's own, with their names."""
    return {
        module: own
        for module, own in names.items()
        if has_method(module) or not (isinstance(module, (Model, Operation)) or is_known(module))
    }
