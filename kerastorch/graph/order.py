"""The order in which Keras makes the calls of a Functional model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .spec import Call, iterate_refs

Node = tuple[str, int]  # a layer and the index of one of its calls


class CycleError(ValueError):
    """A call that needs its own result; the argument is the layer."""


def sort_calls(calls: Mapping[Node, Call], outputs: Any) -> list[Node]:
    """Return the calls that the outputs need, in Keras's order.

    The order matters where a layer with state, such as a moving mean, is called twice. Keras sorts
    by depth, the number of calls between a call and the outputs, the deepest first. All calls of
    one layer are at least as deep as its later calls.

    Raises:
        CycleError: a call needs its own result.
    """
    depths: dict[Node, int] = {}
    layer_depths: dict[str, int] = {}
    for node in reversed(_sort_parents_first(calls, outputs)):
        depth = max(depths.setdefault(node, 0), layer_depths.get(node[0], 0))
        layer_depths[node[0]] = depths[node] = depth
        for parent in _parents(calls, node):
            depths[parent] = max(depth + 1, depths.get(parent, 0))
    return sorted(depths, key=depths.__getitem__, reverse=True)


def _parents(calls: Mapping[Node, Call], node: Node) -> Iterator[Node]:
    """Yield the calls whose results a call reads; inputs of the model are no calls."""
    return (ref[:2] for ref in iterate_refs(calls[node].arguments) if ref[:2] in calls)


def _sort_parents_first(calls: Mapping[Node, Call], outputs: Any) -> list[Node]:
    """Return the calls that the outputs need by depth-first search, each after its parents."""
    done: dict[Node, None] = {}
    for ref in iterate_refs(outputs):
        if ref[:2] not in calls or ref[:2] in done:
            continue
        path: dict[Node, Iterator[Node]] = {ref[:2]: _parents(calls, ref[:2])}
        while path:
            node, waiting = next(reversed(path.items()))
            parent = next((p for p in waiting if p not in done), None)
            if parent is None:
                del path[node]
                done[node] = None
            elif parent in path:
                raise CycleError(parent[0])
            else:
                path[parent] = _parents(calls, parent)
    return list(done)
