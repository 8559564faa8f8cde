"""Which saved layer goes to which module: by name, by order, or as the caller says."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping

from torch import nn

from .._registry import snake_case
from ..layers._layer import Layer
from ._contents import Contents
from ._mapping import apply_mapping
from ._model import Model
from ._pairs import Match
from ._saved import Names, Saved, Source
from ._targets import Leaf, has_channels_first, leaves_of

Level = tuple[Callable[[Names], Hashable], Callable[[Names, Names], bool]]  # a key, and a test
_MAPPING = "Say which is which with `mapping={module path: saved layer}`."


class Matcher:
    """Matches the layers of a source with the leaves of a module.

    Args:
        module: The module.
        contents: What the source holds.
        source: Its layers.
        mapping: What the caller says of single modules and parameters.
        names: The names of modules that have others than their paths.
        automatic: Whether to trust names, too, that layers got by themselves.
        compares: Whether modules must compute what the source's config says.
    """

    def __init__(
        self,
        module: nn.Module,
        contents: Contents,
        source: Source,
        mapping: Mapping[str, str | None] | None = None,
        names: Mapping[nn.Module, Names] | None = None,
        automatic: bool = False,
        compares: bool = True,
    ) -> None:
        self.module = module
        self.contents = contents
        self.source = source
        self.mapping = dict(mapping or {})
        self.names = dict(names or {})
        self.automatic = automatic
        self.compares = compares
        self.leaves = leaves_of(module)

    def match(self, how: str) -> Match:
        """Return what goes where.

        Args:
            how: "name", "order", or "structure" for names that both have from the same config.
        """
        match = Match(how, has_channels_first(self.module), self.compares)
        leaves, layers = apply_mapping(
            match, self.module, self.contents, self.leaves, self.source, self.mapping
        )
        for leaf in leaves:
            if leaf.refusal:
                match.strict.append(f"{leaf.path or 'the module'}: {leaf.refusal}")
        if self.source.crossed:
            where = ", ".join(self.source.crossed)
            what = "the names are those of the config's layers, but in another order"
            match.problems.append(f"{where}: {what}.")
        leaves = [leaf for leaf in leaves if leaf.targets]
        if how == "order" and self.source.bare:
            self._dealt(match, leaves, layers)
        else:
            self._paired(match, leaves, layers)
        paths = [leaf.target_path(target) for leaf in self.leaves for target in leaf.targets]
        places = {path: place for place, path in enumerate(paths)}
        match.pairs.sort(key=lambda pair: places.get(pair.path, len(places)))
        return match

    def _paired(self, match: Match, leaves: list[Leaf], layers: list[Saved]) -> None:
        how = match.how
        pairs = self._ordered(match, leaves, layers) if how == "order" else []
        if how != "order":
            levels = _LEVELS[:1] if how == "structure" else _LEVELS
            pairs = _by_names(leaves, layers, lambda leaf: self._names_of(leaf, how), levels)
        for leaf, saved in pairs:
            match.pair(self.contents, leaf, saved)
        paired = {id(one) for pair in pairs for one in pair}
        for leaf in leaves:
            if id(leaf) not in paired:
                match.miss(leaf, leaf.targets)
        for saved in layers:
            if id(saved) not in paired:
                match.leave(saved.weights)

    # By name

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

    def _ordered(
        self, match: Match, leaves: list[Leaf], layers: list[Saved]
    ) -> list[tuple[Leaf, Saved]]:
        if self.source.ordered:
            for container in self.source.doubts:
                what = f"the order of the layers in {container!r} depends on which were trained"
                match.problems.append(f"{what}. {_MAPPING}")
            return list(zip(leaves, layers, strict=False))
        theirs: dict[str, list[Saved]] = {}
        for layer in layers:
            if layer.kind is not None:
                theirs.setdefault(layer.kind, []).append(layer)
        mine: dict[str, list[Leaf]] = {}
        for leaf in leaves:
            kind = next((kind for kind in leaf.kinds if kind in theirs), None)
            if kind is not None:
                mine.setdefault(kind, []).append(leaf)
        pairs: list[tuple[Leaf, Saved]] = []
        for kind, own in mine.items():
            containers = sorted({layer.container for layer in theirs[kind]})
            if len(containers) > 1:
                what = f"the source has layers of the class {kind!r} in {containers}"
                match.problems.append(f"{what}: no order between these is known. {_MAPPING}")
            pairs += zip(own, theirs[kind], strict=False)
        return pairs

    def _dealt(self, match: Match, leaves: list[Leaf], layers: list[Saved]) -> None:
        """Deal a bare list of arrays out to the modules, to each as many as it takes."""
        weights = [weight for layer in layers for weight in layer.weights]
        wanted = sum(len(leaf.targets) for leaf in leaves)
        if wanted != len(weights):
            takes = ", ".join(f"{leaf.path or 'the module'} {len(leaf.targets)}" for leaf in leaves)
            what = f"the module takes {wanted} arrays: {takes}"
            match.problems.append(f"{what}. Found: {len(weights)} arrays.")
            return
        start = 0
        for leaf in leaves:
            end = start + len(leaf.targets)
            match.pair(self.contents, leaf, Saved((), "", tuple(weights[start:end])))
            start = end


def _is_automatic(leaf: Leaf, name: str) -> bool:
    """Return whether a layer's name is one that nobody chose."""
    base = snake_case(type(leaf.module).__name__)
    return isinstance(leaf.module, Layer) and bool(re.fullmatch(rf"{base}(_[0-9]+)?", name))


def _by_names(
    leaves: Iterable[Leaf],
    layers: Iterable[Saved],
    names_of: Callable[[Leaf], set[Names]],
    levels: Iterable[Level],
) -> list[tuple[Leaf, Saved]]:
    """Return the modules and layers that have a name in common, which no other has.

    First the whole paths are compared, then one may lack the front of the other's, then both
    are written in one word.
    """
    names = {id(leaf): names_of(leaf) for leaf in leaves}
    free = {id(leaf): leaf for leaf in leaves}
    left = {id(saved): saved for saved in layers if saved.names}
    pairs: list[tuple[Leaf, Saved]] = []
    for key, agree in levels:
        mine: dict[Hashable, set[int]] = {}
        for one in free:
            for name in names[one]:
                mine.setdefault(key(name), set()).add(one)
        found = {
            other: {
                one
                for one in mine.get(key(saved.names), ())
                if any(agree(name, saved.names) for name in names[one])
            }
            for other, saved in left.items()
        }
        claims: dict[int, list[int]] = {}
        for other, ones in found.items():
            for one in ones:
                claims.setdefault(one, []).append(other)
        for other, ones in found.items():
            if len(ones) == 1 and len(claims[next(iter(ones))]) == 1:
                pairs.append((free.pop(next(iter(ones))), left.pop(other)))
    return pairs


def _whole(names: Names) -> Hashable:
    return names


def _last(names: Names) -> Hashable:
    return names[-1]


def _word(names: Names) -> Hashable:
    return re.sub(r"[/.]", "_", "_".join(names))


def _is_end(left: Names, right: Names) -> bool:
    shorter = min(len(left), len(right))
    return left[-shorter:] == right[-shorter:]


def _same_word(left: Names, right: Names) -> bool:
    return _word(left) == _word(right)


_LEVELS: tuple[Level, ...] = (
    (_whole, lambda left, right: left == right),
    (_last, _is_end),
    (_word, _same_word),
)


def structural_names(module: Model, outer: Names = ()) -> dict[nn.Module, Names]:
    """Return the names, from the top, of all layers of a model made from a config.

    What is inside a module of the caller's own has its path there in the place of names, as the
    groups of Keras's trees have.
    """
    found: dict[nn.Module, Names] = {}
    for name, layer in module.layers.items():
        own = (*outer, name)
        if layer in found:
            continue
        if isinstance(layer, Model):
            inner = structural_names(layer, own)
        else:
            inner = {leaf.module: _inside(own, leaf) for leaf in leaves_of(layer)}
        found.update({key: names for key, names in inner.items() if key not in found})
        found[layer] = own
    return found


def _inside(names: Names, leaf: Leaf) -> Names:
    return (*names, *leaf.path.split(".")) if leaf.path else names
