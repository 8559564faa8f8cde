"""The search for repeated regions of a graph: by Keras's names, and by structure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from ..text.syntax import STARTING_FUNCTIONS, STARTS
from .families import Leaf, Unified, describe, unify
from .order import Item, is_read_outside, iterate_chains, list_nodes
from .roles import Region, find_common_words, get_words

_MOST_WORDS = 6  # of a name that may say which block a layer is in
_NEARLY_MOST = 0.6  # of the lines that the best choice of words saves
_LEAST_BESIDE_OTHERS = -8  # lines that a class saves where names show other blocks
_LONGEST_PHRASE = 12  # steps of a repeated phrase
_MOST_STEPS = 4000  # of a graph that is searched for repeated phrases


@dataclass
class Group:
    """Regions of one structure."""

    lines: int  # of a class of it
    regions: list[Region] = field(default_factory=list)
    leaves: list[list[Leaf]] = field(default_factory=list)  # of each region
    unified: Unified = field(default_factory=lambda: Unified([], [], {}))

    @property
    def saving(self) -> int:
        """How many lines the class saves, less what a further class costs its reader."""
        return (len(self.regions) - 1) * self.lines - (12 + 2 * len(self.regions))


def _rate(group: Group) -> tuple[int, int]:
    """Return what makes a group better than another one: the lines saved, and its size."""
    return group.saving, len(group.regions[0].nodes)


class Search:
    """Looks for regions of equal structure in a graph."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.calls: defaultdict[Any, int] = defaultdict(int)
        self.readers: defaultdict[str, set[fx.Node]] = defaultdict(set)  # of each tensor
        for node in module.graph.nodes:
            if node.op == "call_module":
                self.calls[module.get_submodule(node.target)] += 1
            elif node.op == "get_attr":
                self.readers[str(node.target)].update(node.users)
        self.opened = {one.split(".")[0] for one in self.readers if "." in one}

    def find_groups(self, chain: list[Item]) -> list[Group]:
        """Return the groups that names show, and then those of repeated phrases."""
        groups = self.find_named(chain)
        taken = {node for group in groups for region in group.regions for node in region.nodes}
        if groups:  # the other layers that an author named are in no block
            taken.update(node for node in list_nodes(chain) if get_words(node) is not None)
        return groups + self.find_phrases([*iterate_chains(chain)], taken)

    def find_named(self, chain: list[Item]) -> list[Group]:
        """Return the groups by the first words of Keras's names, by as few as save nearly most."""
        splits = [
            _keep_single(_split_by_words(chain, count)) for count in range(1, _MOST_WORDS + 1)
        ]
        each = [self.select(regions, vary_kernels=True) for regions in splits]
        savings = [sum(group.saving for group in groups) for groups in each]
        for regions, saving in zip(splits, savings, strict=True):
            if saving > 0 and saving >= _NEARLY_MOST * max(savings):
                groups = self.select(regions, vary_kernels=True, least=_LEAST_BESIDE_OTHERS)
                for group in groups:
                    _extend_prefixes(group.regions)
                return groups
        return []

    def find_phrases(self, chains: list[list[Item]], taken: set[fx.Node]) -> list[Group]:
        """Return the groups of what is repeated in chains, without the operations in `taken`."""
        taken = {*taken}
        found: list[Group] = []
        if sum(map(len, chains)) > _MOST_STEPS:
            return found
        while True:
            steps = [run for chain in chains for run in self.split_steps(chain, taken)]
            candidates: list[Group] = []
            for length in range(1, _LONGEST_PHRASE + 1):
                for regions in _find_repeats(steps, length):
                    nodes = regions[0].nodes
                    if self.is_start(nodes) and nodes[-1].target is not F.pad:
                        candidates += self.select(regions, vary_kernels=False)
            best = max(candidates, key=_rate, default=None)
            if best is None:
                return found
            found.append(best)
            taken.update(node for region in best.regions for node in region.nodes)

    def split_steps(
        self, chain: list[Item], taken: set[fx.Node]
    ) -> list[list[tuple[str, list[fx.Node]]]]:
        """Return runs of steps that are in no block: the structure and the operations of each.

        What only follows up, such as a normalization or an activation, joins the step before.
        """
        runs: list[list[list[fx.Node]]] = [[]]
        for item in chain:
            if not taken.isdisjoint(item.nodes):
                runs.append([])
            elif runs[-1] and len(item.nodes) == 1 and self.is_follower(item.nodes[0]):
                runs[-1][-1] += item.nodes
            else:
                runs[-1].append([*item.nodes])
        return [
            [(describe(step, self.module, vary_kernels=False)[0], step) for step in run]
            for run in runs
            if run
        ]

    def is_follower(self, node: fx.Node) -> bool:
        """Return whether an operation only follows up: a normalization or an activation."""
        if node.op == "call_module":
            return not _is_weighted(self.module.get_submodule(str(node.target)))
        return _is_activation(node)

    def is_start(self, nodes: list[fx.Node]) -> bool:
        """Return whether a block may begin so: with weights, padding, or what only follows up."""
        first = nodes[0]
        return first.op == "call_module" or first.target is F.pad or self.is_follower(first)

    def select(self, regions: list[Region], *, vary_kernels: bool, least: int = 0) -> list[Group]:
        """Return the groups of regions that save `least` lines, those that save most first."""
        by_structure: dict[str, Group] = {}
        for region in regions:
            if self.may_be_block(region.nodes):
                text, leaves = describe(region.members, self.module, vary_kernels=vary_kernels)
                group = by_structure.setdefault(text, Group(self.count_lines(region.nodes)))
                group.regions.append(region)
                group.leaves.append(leaves)
        groups = [
            one for one in by_structure.values() if len(one.regions) > 1 and one.saving >= least
        ]
        taken: set[fx.Node] = set()
        found = []
        for group in sorted(groups, key=lambda one: -one.saving):
            nodes = [node for region in group.regions for node in region.nodes]
            unified = unify(group.leaves) if taken.isdisjoint(nodes) else None
            if unified is not None:
                group.unified = unified
                taken.update(nodes)
                found.append(group)
        return found

    def count_lines(self, nodes: Iterable[fx.Node]) -> int:
        """Return about how many lines operations take: their modules', and those of `forward`."""
        lines = 1
        for node in nodes:
            lines += node.target in STARTING_FUNCTIONS
            lines += sum(value.op == "get_attr" for value in node.all_input_nodes)
            if node.op == "call_module":
                lines += 1 + isinstance(self.module.get_submodule(str(node.target)), STARTS)
        return lines

    def may_be_block(self, nodes: list[fx.Node]) -> bool:
        """Return whether operations have one input, one output, and weights of their own."""
        inside = set(nodes)
        values = {value for node in nodes for value in node.all_input_nodes} - inside
        tensors = {str(value.target) for value in values if value.op == "get_attr"}
        values = {value for value in values if value.op != "get_attr"}
        ends = [node for node in nodes if is_read_outside(node, inside)]
        targets = [str(node.target) for node in nodes if node.op == "call_module"]
        called = [self.module.get_submodule(one) for one in targets]
        return (
            len(values) == 1
            and "unpacks" not in nodes[-1].meta
            and self.opened.isdisjoint(one.split(".")[0] for one in (*tensors, *targets))
            and all(self.readers[one] <= inside for one in tensors)
            and ends == [nodes[-1]]
            and all(self.calls[one] == 1 for one in called)
            and not any(isinstance(one, fx.GraphModule) for one in called)
            and sum(map(_is_weighted, called)) >= 2
        )


def _is_weighted(module: nn.Module) -> bool:
    """Return whether a module has weights, and is no normalization."""
    return "Norm" not in type(module).__name__ and any(True for _ in module.parameters())


def _split_by_words(chain: list[Item], count: int) -> list[Region]:
    """Return the regions of a chain whose layers' names begin with the same words.

    An activation to which Keras gave its name joins what is before, and all without weights that
    is between layers of one region.
    """
    regions: list[Region] = []
    current: Region | None = None
    between: list[fx.Node] = []
    for item in chain:
        names = {words for node in item.nodes if (words := get_words(node)) is not None}
        if not names and len(item.nodes) == 1 and item.nodes[0].op != "call_module":
            between += item.nodes
            if current is not None and _is_activation(item.nodes[0]):
                current.nodes += between
                between = []
            continue
        keys = {words[:count] for words in names}
        merge = get_words(item.nodes[-1])
        if len(keys) > 1 and merge is not None:
            keys = {merge[:count]}
        key = keys.pop() if len(keys) == 1 else ()
        if len(key) < count or not any(map(str.isdigit, key[-1])):
            current = None
            for branch in item.branches:
                regions += _split_by_words(branch, count)
        elif current is not None and current.prefix == key:
            current.nodes += [*between, *item.nodes]
        else:
            current = Region([*item.nodes], key)
            regions.append(current)
        between = []
    return regions


def _keep_single(regions: list[Region]) -> list[Region]:
    """Return the regions of several layers whose words are those of no other region."""
    counts = Counter(region.prefix for region in regions)
    single = [region for region in regions if counts[region.prefix] == 1]
    return [one for one in single if len({node.meta.get("origin") for node in one.nodes}) > 1]


def _is_activation(node: fx.Node) -> bool:
    """Return whether an operation is a function of one value that begins no line."""
    is_unary = len(node.all_input_nodes) == 1
    return node.op == "call_function" and is_unary and node.target not in STARTING_FUNCTIONS


def _extend_prefixes(regions: list[Region]) -> None:
    """Let the prefixes of regions be all the words that the names in each have in common."""
    each = []
    for region in regions:
        names = [words for node in region.nodes if (words := get_words(node)) is not None]
        each.append(find_common_words(names))
    if len({*map(len, each)}) == 1:
        for region, prefix in zip(regions, each, strict=True):
            region.prefix = prefix


def _find_repeats(runs: list[list[tuple[str, list[fx.Node]]]], length: int) -> list[list[Region]]:
    """Return the occurrences of each phrase of a length that is no repetition of a shorter one."""
    found: defaultdict[tuple[str, ...], list[Region]] = defaultdict(list)
    for run in runs:
        ends: dict[tuple[str, ...], int] = {}  # phrase -> where its last occurrence ends
        for start in range(len(run) - length + 1):
            phrase = tuple(text for text, _ in run[start : start + length])
            if ends.get(phrase, 0) <= start:
                ends[phrase] = start + length
                nodes = [node for _, step in run[start : start + length] for node in step]
                found[phrase].append(Region(nodes))
    return [
        regions
        for phrase, regions in found.items()
        if len(regions) > 1 and not _is_repetition(phrase)
    ]


def _is_repetition(phrase: tuple[str, ...]) -> bool:
    length = len(phrase)
    return any(
        length % part == 0 and phrase == phrase[:part] * (length // part)
        for part in range(1, length)
    )
