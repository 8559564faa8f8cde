"""Pair modules with saved layers of the same name."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable

from ..weights.module_weights import ModuleWeights
from ..weights.parameters import find_automatic_kind
from ..weights.saved_layers_by_config import Names, SourceLayer

Level = tuple[Callable[[Names], Hashable], Callable[[Names, Names], bool]]  # a key, and a test


def pair_by_names(
    leaves: Iterable[ModuleWeights],
    names_of_leaves: Iterable[set[Names]],
    layers: Iterable[SourceLayer],
    levels: Iterable[Level],
) -> list[tuple[ModuleWeights, SourceLayer]]:
    """Return the modules and layers whose names agree, one level of `LEVELS` after another.

    A pair must be unique: neither the module nor the layer may agree with another one.
    """
    free = {id(leaf): leaf for leaf in leaves}
    names = dict(zip(free, names_of_leaves, strict=True))
    left = {id(saved): saved for saved in layers if saved.names}
    pairs: list[tuple[ModuleWeights, SourceLayer]] = []
    for key, agree in levels:
        by_key: dict[Hashable, set[int]] = {}
        for one in free:
            for name in names[one]:
                by_key.setdefault(key(name), set()).add(one)
        found = {
            other: {
                one
                for one in by_key.get(key(saved.names), ())
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


def drop_automatic_names(
    pairs: list[tuple[ModuleWeights, SourceLayer]],
    leaves: Iterable[ModuleWeights],
    layers: Iterable[SourceLayer],
) -> list[tuple[ModuleWeights, SourceLayer]]:
    """Drop pairs by automatic names of a class unless all layers of the class are paired.

    The second model of a session has dense_2 where the first one has dense.
    """
    paired = {id(one) for pair in pairs for one in pair}
    rest = [leaf.path.rpartition(".")[2] for leaf in leaves if id(leaf) not in paired]
    rest += [saved.names[-1] for saved in layers if saved.names and id(saved) not in paired]
    doubtful = {find_automatic_kind(name) for name in rest} - {None}
    return [pair for pair in pairs if find_automatic_kind(pair[1].names[-1]) not in doubtful]


def _join(names: Names) -> str:
    return re.sub(r"[/.]", "_", "_".join(names))


def _is_end(left: Names, right: Names) -> bool:
    shorter = min(len(left), len(right))
    return left[-shorter:] == right[-shorter:]


LEVELS: tuple[Level, ...] = (  # equal paths, one path the end of the other, equal joined names
    (lambda names: names, lambda left, right: left == right),
    (lambda names: names[-1], _is_end),
    (_join, lambda left, right: _join(left) == _join(right)),
)
