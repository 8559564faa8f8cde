"""Pair modules with saved layers of the same name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

from ..weights.module_weights import ModuleWeights
from ..weights.parameters import find_automatic_kind
from ..weights.saved_layers_by_config import Names, SourceLayer

Leaves = list[ModuleWeights]
Layers = list[SourceLayer]
Pairs = list[tuple[ModuleWeights, SourceLayer]]  # modules and their layers, in order
Level = tuple[Callable[[Names], Hashable], Callable[[Names, Names], bool]]  # a key, and a test


def pair_by_names(
    names: Mapping[ModuleWeights, set[Names]],
    layers: Iterable[SourceLayer],
    levels: Iterable[Level],
) -> Pairs:
    """Return the modules and layers whose names agree, one level of `LEVELS` after another.

    A pair must be unique: neither the module nor the layer may agree with another one.
    """
    free = dict(names)
    left = dict.fromkeys(saved for saved in layers if saved.names)
    pairs: Pairs = []
    for key, agree in levels:
        by_key: dict[Hashable, set[ModuleWeights]] = {}
        for leaf, own in free.items():
            for name in own:
                by_key.setdefault(key(name), set()).add(leaf)
        found = {
            saved: [
                leaf
                for leaf in by_key.get(key(saved.names), ())
                if any(agree(name, saved.names) for name in free[leaf])
            ]
            for saved in left
        }
        claims = Counter(leaf for fitting in found.values() for leaf in fitting)
        for saved, fitting in found.items():
            if len(fitting) == 1 and claims[fitting[0]] == 1:
                pairs.append((fitting[0], saved))
                del free[fitting[0]], left[saved]
    return pairs


def drop_automatic_names(pairs: Pairs, rest: Iterable[str]) -> Pairs:
    """Drop pairs by automatic names of a class if the rest, without a partner, has such a name.

    The second model of a session has dense_2 where the first one has dense.
    """
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
