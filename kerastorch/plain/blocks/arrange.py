"""The graph of a class written anew: blocks in the place of regions, and runs of them as stages."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from ..lowered import Lowered
from ..text.names import make_class_name, make_identifier
from ..text.source import list_classes
from .families import BlockCall, Family
from .order import find_chain, is_read_outside, list_nodes, list_operations
from .roles import Region, is_member, name_members, name_role, write_doc
from .search import Group, Search

# Functions that change the size of images.
_RESIZING = (
    F.max_pool1d,
    F.max_pool2d,
    F.max_pool3d,
    F.avg_pool1d,
    F.avg_pool2d,
    F.avg_pool3d,
    F.interpolate,
)


def arrange(lowered: Lowered, *, blocks: bool) -> None:
    """Put the operations of a model's classes in the order of the text.

    The operations of a branch stand in a row. With `blocks`, repeated regions become graph
    modules, and runs of them `nn.Sequential`.
    """
    paths: dict[str, str] = {}  # attribute of the model's own class -> its path
    for module in list_classes(lowered.module):
        chain = find_chain(list_operations(module.graph))
        groups = Search(module).find_groups(chain) if blocks else []
        rebuilding = _Rebuilding(module, list_nodes(chain), groups)
        rebuilding.run()
        paths = rebuilding.paths
    names = {paths.get(own, own): name for own, name in lowered.names.items()}
    lowered.names = {own: name for own, name in names.items() if own != name}


class _Rebuilding:
    """Writes a graph anew, with blocks and stages in the place of regions."""

    def __init__(
        self, module: fx.GraphModule, ordered: list[fx.Node], groups: Sequence[Group]
    ) -> None:
        self.module, self.ordered = module, ordered
        self.regions: dict[fx.Node, Region] = {}  # by its first operation
        self.blocks: dict[fx.Node, fx.GraphModule] = {}
        self.members: dict[fx.Node, dict[str, str]] = {}  # attribute -> attribute in the block
        inside = {node for group in groups for region in group.regions for node in region.members}
        self.tensors = {str(node.target) for node in inside if node.op == "get_attr"}
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
        unified = group.unified
        each = [unified.arguments[k] for k in order]
        calls = [k for k, node in enumerate(regions[0].members) if is_member(node)]
        members = dict(zip(calls, name_members(regions, self.module), strict=True))
        name = make_class_name(name_role(regions[0], self.module), names)
        names.append(name)
        expressions = {
            (members[k], argument): text for (k, argument), text in unified.expressions.items()
        }
        family = Family(name, write_doc(regions), unified.parameters, expressions)
        for region, arguments in zip(regions, each, strict=True):
            first = region.nodes[0]
            self.regions[first] = region
            self.blocks[first] = self._make_block(region, members)
            self.blocks[first].meta["block"] = BlockCall(family, arguments)
            nodes = region.members
            self.members[first] = {str(nodes[k].target): own for k, own in members.items()}

    def _make_block(self, region: Region, members: dict[int, str]) -> fx.GraphModule:
        graph = fx.Graph()
        copies = {region.value: graph.placeholder("x")}
        root: dict[str, Any] = {}
        for number, node in enumerate(region.members):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if number in members:
                copies[node].target = members[number]
                root[members[number]] = operator.attrgetter(str(node.target))(self.module)
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
        for path in self.tensors:
            delattr(self.module, path)
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
        """Return whether a block pools, or has strides, so that a stage begins with it."""
        for node in region.nodes:
            if node.target in _RESIZING:
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
    if lettered:  # "block2a" is in "block2"
        words.append(lettered[1])
    elif last.isdigit() and words:  # "stage", "0", "block", "1" is in "stage", "0"
        words.pop()
    return tuple(words) if words and any(map(str.isdigit, words[-1])) else None


def _join_last_words(words: tuple[str, ...]) -> str:
    """Return a name for a stage: "stage0" for the words "tiny", "stage" and "0"."""
    return "".join(words[-2:]) if words[-1].isdigit() else words[-1]
