"""Warn where a match by order is ambiguous: where layers are interchangeable."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import pairwise
from math import prod

from torch import nn

from ..weights.module_weights import ModuleWeights
from ..weights.saved_layers_by_config import SourceLayer
from .name_pairs import Pairs

Fits = Callable[[ModuleWeights, SourceLayer], bool]
_MOST = 12  # modules that a warning names


def warn_of_other_orders(module: nn.Module, queue: Pairs, fits: Fits, *, cuts: bool) -> list[str]:
    """Return a warning for each set of modules that fit each other's layers.

    `queue` has the modules with their layers, in order; `fits` says whether a layer fits a module
    and, as far as is known, computes the same. With `cuts`, the layers are cut from a list of
    arrays: also for each two neighbors that could split their arrays differently.
    """
    groups: dict[Hashable, list[Pairs]] = {}
    for leaf, saved in queue:
        similar = groups.setdefault(tuple(prod(weight.shape) for weight in saved.weights), [])
        for group in similar:
            if fits(leaf, group[0][1]) and fits(group[0][0], saved):
                group.append((leaf, saved))
                break
        else:
            similar.append([(leaf, saved)])
    found = [[leaf.path for leaf, _ in group] for similar in groups.values() for group in similar]
    for (first, ours), (second, theirs) in pairwise(queue if cuts else ()):
        weights, end = (*ours.weights, *theirs.weights), len(theirs.weights)
        # Of equal lengths, they are compared as layers.
        if len(ours.weights) != end and not _is_chain(module, first.path, second.path):
            cut = replace(ours, weights=weights[:end]), replace(theirs, weights=weights[end:])
            if fits(second, cut[0]) and fits(first, cut[1]):
                found.append([first.path, second.path])
    return [
        _describe(paths)
        for paths in found
        if not all(_is_chain(module, paths[0], path) for path in paths[1:])
    ]


def _is_chain(module: nn.Module, left: str, right: str) -> bool:
    """Return whether the two modules are called in the order in which they are registered."""
    common = module
    for one, other in zip(left.split("."), right.split("."), strict=False):
        if one != other:
            break
        common = common.get_submodule(one)
    return type(common).forward is nn.Sequential.forward


def _describe(paths: list[str]) -> str:
    more = f" and {len(paths) - _MOST} more" if len(paths) > _MOST else ""
    what = f"{', '.join(paths[:_MOST])}{more} fit in another order as well"
    how = "were matched in the order in which they are registered"
    return f"{what}, and {how}. Say which is which with `mapping=`, or check with `compare`."
