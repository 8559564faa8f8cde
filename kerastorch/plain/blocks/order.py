"""The order of a graph's operations: chains, and branches one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import fx

_DEEPEST = 40  # branches inside branches that are told apart


@dataclass
class Item:
    """A link of a chain: one operation, or branches and the operation that merges them.

    All that a link reads is the output of the link before.

    Attributes:
        nodes: The operations, in order; the last one computes the output.
        branches: The branches as chains, the shorter ones first.
    """

    nodes: list[fx.Node]
    branches: list[list[Item]] = field(default_factory=list)


def find_chain(nodes: Sequence[fx.Node], depth: int = 0) -> list[Item]:
    """Return operations as a chain: it is cut wherever one value alone is read later."""
    last = _find_last_readers(nodes)
    ending: dict[int, int] = {}  # position -> how many values nothing after it reads
    for position in last.values():
        ending[position] = ending.get(position, 0) + 1
    inside = set(nodes)
    alive = sum(node not in inside for node in last)
    chain: list[Item] = []
    start = 0
    for position, node in enumerate(nodes):
        alive += (node in last) - ending.get(position, 0)
        is_cut = alive == 1 and node in last
        if is_cut or position == len(nodes) - 1:
            chain.append(_make_item(nodes[start : position + 1], depth))
            start = position + 1
    return chain


def iterate_chains(chain: list[Item]) -> Iterator[list[Item]]:
    """Yield a chain and those of the branches inside it."""
    yield chain
    for item in chain:
        for branch in item.branches:
            yield from iterate_chains(branch)


def list_nodes(items: Iterable[Item]) -> list[fx.Node]:
    """Return the operations of links, in order."""
    return [node for item in items for node in item.nodes]


def list_operations(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes of a graph that compute."""
    return [node for node in graph.nodes if node.op.startswith("call")]


def is_read_outside(node: fx.Node, inside: Iterable[fx.Node]) -> bool:
    """Return whether others than these read a value."""
    return any(user not in inside for user in node.users)


def _find_last_readers(nodes: Sequence[fx.Node]) -> dict[fx.Node, int]:
    """Return the position of the last reader of each value among the operations.

    Readers elsewhere do not count: such a value passes by what comes between.
    """
    last: dict[fx.Node, int] = {}
    for position, node in enumerate(nodes):
        for value in node.all_input_nodes:
            if value.op != "get_attr":
                last[value] = position
    return last


def _make_item(nodes: Sequence[fx.Node], depth: int) -> Item:
    inside = set(nodes)
    ends = [node for node in nodes if is_read_outside(node, inside)]
    if len(nodes) == 1 or depth == _DEEPEST:
        return Item([*nodes])
    merge = [nodes[-1]] if ends == [nodes[-1]] else []
    groups = _find_groups(nodes[: len(nodes) - len(merge)])
    branches = []
    for group in groups:
        is_smaller = len(group) < len(nodes)
        branches.append(find_chain(group, depth + 1) if is_smaller else [_follow_inputs(group)])
    if merge:
        branches.sort(key=lambda branch: len(list_nodes(branch)))
    ordered = [node for branch in branches for node in list_nodes(branch)]
    return Item([*ordered, *merge], branches)


def _follow_inputs(nodes: Sequence[fx.Node]) -> Item:
    """Return a link of operations that are no branches: each run of them is one.

    The inputs of an operation are computed right before it, where they are not yet.
    """
    inside = set(nodes)
    places = {node: position for position, node in enumerate(nodes)}
    ordered: dict[fx.Node, None] = {}
    for end in nodes:
        if not inside.isdisjoint(end.users):
            continue
        stack = [end]
        while stack:
            inputs = stack[-1].all_input_nodes
            missing = [one for one in inputs if one in inside and one not in ordered]
            if missing:
                stack.append(min(missing, key=places.__getitem__))
            else:
                ordered[stack.pop()] = None
    runs: list[list[Item]] = []
    before: fx.Node | None = None
    for node in ordered:
        values = [one for one in node.all_input_nodes if one.op != "get_attr"]
        if before is None or values != [before] or len(before.users) > 1:
            runs.append([])
        runs[-1].append(Item([node]))
        before = node
    return Item([*ordered], runs)


def _find_groups(nodes: Sequence[fx.Node]) -> list[list[fx.Node]]:
    """Return operations in groups that read nothing of each other."""
    group_of: dict[fx.Node, list[fx.Node]] = {}
    for node in nodes:
        known = {
            id(group_of[one]): group_of[one] for one in node.all_input_nodes if one in group_of
        }
        merged = max(known.values(), key=len, default=[])
        for other in known.values():
            if other is not merged:
                merged += other
                group_of.update((one, merged) for one in other)
        merged.append(node)
        group_of[node] = merged
    places = {node: position for position, node in enumerate(nodes)}
    groups = {id(group): group for group in group_of.values()}.values()
    return [sorted(group, key=places.__getitem__) for group in groups]
