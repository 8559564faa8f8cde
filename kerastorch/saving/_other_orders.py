"""Where a match by order might be another: layers that could be exchanged for one another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from torch import nn

from ._leaves import Leaf
from ._saved import Saved

Queue = Sequence[tuple[Leaf, Saved]]
_MOST = 12  # modules that a warning names


def is_chain(module: nn.Module) -> bool:
    """Return whether a module calls what it consists of in the order of registration."""
    return type(module) is nn.Sequential and all(
        is_chain(child) for child in module.children() if any(True for _ in child.children())
    )


def warn_of_other_orders(queue: Queue, fits: Callable[[Leaf, Saved], bool]) -> list[str]:
    """Return a warning for each set of modules among which another order fits as well.

    Args:
        queue: The modules with the layers of the source that they were matched with, in order.
        fits: Whether a module takes a layer and, as far as is known, computes the same.
    """
    groups: dict[Hashable, list[list[tuple[Leaf, Saved]]]] = {}
    for leaf, saved in queue:
        shapes = tuple(weight.shape for weight in saved.weights)
        similar = groups.setdefault(shapes, [])
        for group in similar:
            other_leaf, other = group[0]
            if fits(leaf, other) and fits(other_leaf, saved):
                group.append((leaf, saved))
                break
        else:
            similar.append([(leaf, saved)])
    found = [group for similar in groups.values() for group in similar if len(group) > 1]
    return [_describe([leaf.path or "the module" for leaf, _ in group]) for group in found]


def _describe(paths: list[str]) -> str:
    named = ", ".join(paths[:_MOST])
    if len(paths) > _MOST:
        named += f" and {len(paths) - _MOST} more"
    return (
        f"{named} fit in another order as well, and took the source's layers in the order in which "
        "they are registered. Say which is which with `mapping=`, or check with `compare`."
    )
