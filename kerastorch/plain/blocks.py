"""Repeated regions of a graph as blocks: graph modules of their own, and runs of them as stages."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from .families import BlockCall, Family, Leaf, describe, unify
from .lowering import Lowered
from .names import make_class_name, make_identifier
from .order import Item, find_chain, is_read_outside, iterate_chains, list_nodes, list_operations
from .roles import Region, get_words, name_members, name_role, write_doc
from .source import STARTING_FUNCTIONS, STARTS, list_classes

_MOST_WORDS = 6  # of a name that may say which block a layer is in
_LONGEST_PHRASE = 12  # steps of a repeated phrase
_MOST_STEPS = 4000  # of a graph that is searched for repeated phrases
_SHAPES = (F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def arrange(lowered: Lowered, *, blocks: bool) -> None:
    """Put the operations of a model's classes in the order of the text.

    The operations of a branch stand in a row. With `blocks`, repeated regions become graph
    modules, and runs of them `nn.Sequential`.
    """
    paths: dict[str, str] = {}  # attribute of the model's own class -> its path
    for module in list_classes(lowered.module):
        chain = find_chain(list_operations(module.graph))
        groups = _Search(module).find_groups(chain) if blocks else []
        rebuilding = _Rebuilding(module, list_nodes(chain), groups)
        rebuilding.run()
        paths = rebuilding.paths
    names = {paths.get(own, own): name for own, name in lowered.names.items()}
    lowered.names = {own: name for own, name in names.items() if own != name}


@dataclass
class Group:
    """Regions of one structure."""

    lines: int  # of a class of it
    regions: list[Region] = field(default_factory=list)
    leaves: list[list[Leaf]] = field(default_factory=list)  # of each region

    @property
    def saving(self) -> int:
        """How many lines the class saves, less what a further class costs its reader."""
        return (len(self.regions) - 1) * self.lines - (12 + 2 * len(self.regions))


class _Search:
    """Looks for regions of equal structure in a graph."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.calls: defaultdict[Any, int] = defaultdict(int)
        for node in module.graph.nodes:
            if node.op == "call_module":
                self.calls[module.get_submodule(node.target)] += 1

    def find_groups(self, chain: list[Item]) -> list[Group]:
        """Return the groups that names show, and then those of repeated phrases."""
        groups = self.find_named(chain)
        return groups + self.find_phrases([*iterate_chains(chain)], groups)

    def find_named(self, chain: list[Item]) -> list[Group]:
        """Return the groups by the first words of Keras's names, of as many as save most."""
        best: list[Group] = []
        for count in range(1, _MOST_WORDS + 1):
            found = _split_by_words(chain, count)
            groups = self.select(found, vary_kernels=True)
            if sum(one.saving for one in groups) > sum(one.saving for one in best):
                best = groups
        return best

    def find_phrases(self, chains: list[list[Item]], groups: list[Group]) -> list[Group]:
        """Return the groups of what is repeated in chains, outside the groups that are known."""
        taken = {node for group in groups for region in group.regions for node in region.nodes}
        found: list[Group] = []
        if sum(map(len, chains)) > _MOST_STEPS:
            return found
        while True:
            steps = [run for chain in chains for run in self.split_steps(chain, taken)]
            candidates: list[Group] = []
            for length in range(1, _LONGEST_PHRASE + 1):
                for regions in _find_repeats(steps, length):
                    candidates += self.select(regions, vary_kernels=False)
            best = max(candidates, key=lambda one: one.saving, default=None)
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
        """Return whether an operation only follows up."""
        if node.op == "call_module":
            return not _is_weighted(self.module.get_submodule(str(node.target)))
        return node.target is not F.pad and node.op != "get_attr"

    def select(self, regions: list[Region], *, vary_kernels: bool) -> list[Group]:
        """Return the groups of regions that are worth a class, those that save most first."""
        by_structure: dict[str, Group] = {}
        for region in regions:
            if self.may_be_block(region.nodes):
                text, leaves = describe(region.nodes, self.module, vary_kernels=vary_kernels)
                group = by_structure.setdefault(text, Group(self.count_lines(region.nodes)))
                group.regions.append(region)
                group.leaves.append(leaves)
        groups = [one for one in by_structure.values() if one.saving >= 0]
        taken: set[fx.Node] = set()
        found = []
        for group in sorted(groups, key=lambda one: -one.saving):
            nodes = [node for region in group.regions for node in region.nodes]
            if taken.isdisjoint(nodes) and unify(group.leaves) is not None:
                taken.update(nodes)
                found.append(group)
        return found

    def count_lines(self, nodes: Iterable[fx.Node]) -> int:
        """Return about how many lines operations take: their modules', and those of `forward`."""
        lines = 1
        for node in nodes:
            lines += node.target in STARTING_FUNCTIONS
            if node.op == "call_module":
                lines += 1 + isinstance(self.module.get_submodule(str(node.target)), STARTS)
        return lines

    def may_be_block(self, nodes: list[fx.Node]) -> bool:
        """Return whether operations have one input, one output, and weights of their own."""
        inside = set(nodes)
        values = {value for node in nodes for value in node.all_input_nodes} - inside
        ends = [node for node in nodes if is_read_outside(node, inside)]
        called = [
            self.module.get_submodule(str(node.target))
            for node in nodes
            if node.op == "call_module"
        ]
        return (
            len(values) == 1
            and all(value.op != "get_attr" for value in values)
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

    Layers to which Keras gave their names join what is before, unless they have weights.
    """
    regions: list[Region] = []
    current: Region | None = None
    for item in chain:
        keys = {words[:count] for node in item.nodes if (words := get_words(node)) is not None}
        key = keys.pop() if len(keys) == 1 else None
        if not keys and key is None and len(item.nodes) == 1 and item.nodes[0].op != "call_module":
            if current is not None:
                current.nodes += item.nodes
            continue
        if key is None or len(key) < count or not any(map(str.isdigit, key[-1])):
            current = None
            for branch in item.branches:
                regions += _split_by_words(branch, count)
        elif current is not None and current.prefix == key:
            current.nodes += item.nodes
        else:
            current = Region([*item.nodes], key)
            regions.append(current)
    return regions


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


class _Rebuilding:
    """Writes a graph anew, with blocks and stages in the place of regions."""

    def __init__(
        self, module: fx.GraphModule, ordered: list[fx.Node], groups: Sequence[Group]
    ) -> None:
        self.module, self.ordered = module, ordered
        self.regions: dict[fx.Node, Region] = {}  # by its first operation
        self.blocks: dict[fx.Node, fx.GraphModule] = {}
        self.members: dict[fx.Node, dict[str, str]] = {}  # attribute -> attribute in the block
        inside = {node for group in groups for region in group.regions for node in region.nodes}
        self.taken = {
            str(node.target)
            for node in module.graph.nodes
            if node.op in ("call_module", "get_attr") and node not in inside
        }
        self.paths: dict[str, str] = {}
        self.graph = fx.Graph()
        self.root: dict[str, nn.Module] = {}  # the blocks and stages
        self.copies: dict[fx.Node, fx.Node] = {}
        self.stages = self.singles = 0
        names: list[str] = []
        places = {node: number for number, node in enumerate(ordered)}
        for group in sorted(groups, key=lambda one: places[one.regions[0].nodes[0]]):
            self._make_family(group, names, places)

    def _make_family(self, group: Group, names: list[str], places: dict[fx.Node, int]) -> None:
        order = sorted(range(len(group.regions)), key=lambda k: places[group.regions[k].nodes[0]])
        regions = [group.regions[k] for k in order]
        unified = unify([group.leaves[k] for k in order])
        assert unified is not None
        calls = [k for k, node in enumerate(regions[0].nodes) if node.op == "call_module"]
        members = dict(zip(calls, name_members(regions, self.module), strict=True))
        name = make_class_name(name_role(regions[0], self.module), names)
        names.append(name)
        expressions = {
            (members[k], argument): text for (k, argument), text in unified.expressions.items()
        }
        family = Family(name, write_doc(regions), unified.parameters, expressions)
        for region, arguments in zip(regions, unified.arguments, strict=True):
            first = region.nodes[0]
            self.regions[first] = region
            self.blocks[first] = self._make_block(region, members)
            self.blocks[first].meta["block"] = BlockCall(family, arguments)
            self.members[first] = {str(region.nodes[k].target): own for k, own in members.items()}

    def _make_block(self, region: Region, members: dict[int, str]) -> fx.GraphModule:
        graph = fx.Graph()
        copies = {region.value: graph.placeholder("x")}
        root = {}
        for number, node in enumerate(region.nodes):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if number in members:
                copies[node].target = members[number]
                root[members[number]] = self.module.get_submodule(str(node.target))
        graph.output(copies[region.nodes[-1]])
        return fx.GraphModule(root, graph)

    def run(self) -> None:
        """Write the graph."""
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self.copies[node] = self.graph.node_copy(node)
        position = 0
        while position < len(self.ordered):
            node = self.ordered[position]
            if node in self.regions:
                run = self._find_run(position)
                self._add_stage(run)
                position += sum(len(region.nodes) for region in run)
            else:
                self._copy(node)
                position += 1
        self._copy(next(node for node in self.module.graph.nodes if node.op == "output"))
        for target, member in self.root.items():
            setattr(self.module, target, member)
        self.module.graph = self.graph
        self.module.delete_all_unused_submodules()

    def _copy(self, node: fx.Node) -> None:
        for value in node.all_input_nodes:
            if value not in self.copies:  # a constant
                self._copy(value)
        self.copies[node] = self.graph.node_copy(node, self.copies.__getitem__)

    def _find_run(self, position: int) -> list[Region]:
        """Return the blocks from a position on that follow each other in one stage."""
        run = [self.regions[self.ordered[position]]]
        while True:
            position += len(run[-1].nodes)
            following = self.ordered[position : position + 1]
            region = self.regions.get(following[0]) if following else None
            end = run[-1].nodes[-1]
            if region is None or region.value is not end or is_read_outside(end, region.nodes):
                return run
            own, other = _find_stage_words(run[0]), _find_stage_words(region)
            if own != other or (own is None and self._reduces(region)):
                return run
            run.append(region)

    def _reduces(self, region: Region) -> bool:
        """Return whether a block changes the size of images."""
        for node in region.nodes:
            if node.target in _SHAPES or node.target is F.interpolate:
                return True
            if node.op == "call_module":
                stride = getattr(self.module.get_submodule(str(node.target)), "stride", 1)
                if any(n != 1 for n in (stride if isinstance(stride, tuple) else (stride,))):
                    return True
        return False

    def _add_stage(self, run: list[Region]) -> None:
        """Call a run of blocks."""
        if len(run) == 1:
            prefix = "_".join(run[0].prefix)
            self.singles += not prefix
            wanted = prefix or f"block{self.singles}"
        else:
            words = _find_stage_words(run[0])
            self.stages += words is None
            wanted = _join_last_words(words) if words else f"stage{self.stages}"
        target = make_identifier(wanted, self.taken)
        self.taken.add(target)
        blocks = [self.blocks[region.nodes[0]] for region in run]
        self.root[target] = blocks[0] if len(run) == 1 else nn.Sequential(*blocks)
        value = self.copies[run[0].value]
        self.copies[run[-1].nodes[-1]] = self.graph.call_module(target, (value,))
        for number, region in enumerate(run):
            path = target if len(run) == 1 else f"{target}.{number}"
            members = self.members[region.nodes[0]]
            self.paths.update({own: f"{path}.{name}" for own, name in members.items()})
            for node in region.nodes:  # of a layer that is several modules, the first
                if str(node.target) in members:
                    self.paths.setdefault(node.meta["layer"], self.paths[str(node.target)])


def _find_stage_words(region: Region) -> tuple[str, ...] | None:
    """Return the words that the blocks of a stage have in common, None if names do not say."""
    if not region.prefix:
        return None
    *words, last = region.prefix
    lettered = re.fullmatch(r"(.*\d)[a-z]", last)
    if lettered:
        words.append(lettered[1])
    return tuple(words) if words and any(map(str.isdigit, words[-1])) else None


def _join_last_words(words: tuple[str, ...]) -> str:
    """Return a name for a stage: "stage0" for the words "tiny", "stage" and "0"."""
    return "".join(words[-2:]) if words[-1].isdigit() else words[-1]
