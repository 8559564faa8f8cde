"""The graph of objects in a checkpoint: which array is which attribute of which layer.

Children of a Sequential or Functional model are `layer-0`, `layer-1` and so on, in the order of the
layers in its config; those of other objects have the names of Python's attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..weight_file import SavedLayer, Weight
from .checkpoint import Checkpoint
from .message import Message

_LAYER = re.compile(r"layer-(0|[1-9][0-9]{0,6})")
_VALUE = "VARIABLE_VALUE"
_MOST_NODES = 1_000_000
_FREE_BYTES, _MOST_TIMES = 16 << 20, 8  # of arrays that layers share, for each byte of data
_LONGEST_NAME = 1000  # characters
_MOST_DEPTH = 64
_MOST_STEPS = 100_000  # of a walk, which shared objects may multiply
# Children that repeat others, or are no layers.
_SKIPPED = {
    "keras_api", "variables", "trainable_variables", "non_trainable_variables",
    "regularization_losses", "signatures", "optimizer", "save_counter", "loss_tracker",
    "compiled_metrics", "compiled_loss", "keras_metrics", "_metrics", "_trainable_variables",
    "_non_trainable_variables", "_all_variables", "_misc_assets", "states",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """An object: its children by name, and its array if it is a variable."""

    children: Mapping[str, int]
    key: str | None  # of the array in the checkpoint
    name: str  # of the variable: "dense/kernel"
    has_slots: bool  # as optimizers have

    @property
    def is_model(self) -> bool:
        """Whether it is a Sequential or Functional model."""
        return "layer-0" in self.children

    def list_model_layers(self) -> list[tuple[int, int]]:
        """Return the positions of a model's layers with their numbers."""
        found = ((_LAYER.fullmatch(name), child) for name, child in self.children.items())
        return sorted((int(match[1]), child) for match, child in found if match)

    @property
    def is_optimizer(self) -> bool:
        """Whether it is an optimizer of any Keras."""
        names = self.children.keys()
        return self.has_slots or "_iterations" in names or {"iter", "learning_rate"} <= names


def parse_object_graph(where: str, data: bytes | None) -> list[Node]:
    """Return the nodes of a graph, the root first; none if there is no graph.

    Raises:
        FileError: it is damaged, or refers to a node that it does not have.
    """
    graph = Message(where, memoryview(data or b""))
    items = list(graph.items(1))
    if len(items) > _MOST_NODES:
        graph.refuse(f"{len(items)} objects")
    return [_parse_node(Message(where, item), len(items)) for item in items]


def _parse_node(node: Message, count: int) -> Node:
    children: dict[str, int] = {}
    for child in node.messages(1):
        number, name = child.integer(1), child.text(2)
        if not 0 <= number < count or name in children or len(name) > _LONGEST_NAME:
            node.refuse(f"the child {name[:50]!r} twice, or as number {number} of {count} objects")
        children[name] = number
    values = [one for one in node.messages(2) if one.text(1) == _VALUE]
    if len(values) > 1:
        node.refuse("an object with two values")
    key = values[0].text(3) if values else None
    name = values[0].text(2) if values else ""
    if len(name) > _LONGEST_NAME:
        node.refuse(f"a variable whose name has {len(name)} characters")
    return Node(children, key, name, node.has(3))


class ObjectGraph:
    """The layers of a checkpoint by its graph."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        where = f"{checkpoint.source}: object graph"
        self.checkpoint, self.where = checkpoint, where
        self.nodes = parse_object_graph(where, checkpoint.read_graph())
        self.used: set[str] = set()  # the keys of arrays that belong to layers
        self._steps = 0
        self._size = 0  # bytes of the arrays of all layers

    @property
    def is_keras3(self) -> bool:
        """Whether Keras 3 wrote it, whose graphs do not have all layers in all versions."""
        return any("_operations" in node.children for node in self.nodes)

    def find_model(self) -> int:
        """Return the number of the model: the root, or its only child that is a model."""
        root = self.nodes[0]
        inner = {number for number in root.children.values() if self.nodes[number].is_model}
        return inner.pop() if len(inner) == 1 and not root.is_model else 0

    def list_layers(self) -> list[SavedLayer]:
        """Return the objects with weights; their paths are those of the graph from the model.

        Their names are the scopes of the variables: "bidirectional/forward_lstm/lstm_cell".
        """
        return [self._make_layer(*found) for found in self._walk(self.find_model(), "", (), set())]

    def list_variables(self) -> list[Node]:
        """Return the variables of a model whose objects are not those of Keras 2, in its order."""
        listed = self.nodes[0].children.get("variables")  # of an exported model
        if listed is not None:
            nodes = [self.nodes[number] for number in self.nodes[listed].children.values()]
            return [node for node in nodes if node.key is not None]
        found = self._walk(self.find_model(), "", (), set())
        return [variable for _, variables in found for variable in variables.values()]

    def _walk(
        self, number: int, path: str, around: tuple[int, ...], seen: set[int]
    ) -> Iterator[tuple[str, dict[str, Node]]]:
        """Yield the path of an object and its variables, and those of the objects inside it.

        An object is met once for each layer of a model that it belongs to, else once.
        """
        self._steps += 1
        if self._steps > _MOST_STEPS or len(around) > _MOST_DEPTH:
            limits = f"{_MOST_DEPTH} objects inside each other, or {_MOST_STEPS} in all"
            self._refuse(f"more than {limits}")
        node, prefix = self.nodes[number], f"{path}/" if path else ""
        if number in around or number in seen or node.is_optimizer:
            return
        around = (*around, number)
        if node.is_model:
            for k, child in node.list_model_layers():
                yield from self._walk(child, f"{prefix}layer-{k}", around, set())
            return
        seen.add(number)
        variables = {}
        for name, child in node.children.items():
            if self.nodes[child].key is not None and name not in _SKIPPED and child not in seen:
                variables[name] = self.nodes[child]
                seen.add(child)
        yield path, variables
        for name, child in node.children.items():
            if self.nodes[child].key is None and name not in _SKIPPED:
                yield from self._walk(child, f"{prefix}{name}", around, seen)

    def _make_layer(self, path: str, variables: Mapping[str, Node]) -> SavedLayer:
        weights, scope = [], None
        for name, variable in variables.items():
            scope, _, last = variable.name.rpartition("/")
            weight = self.make_weight(variable, f"{path}/{name}".lstrip("/"), last or name)
            if weight is not None:
                weights.append(weight)
        return SavedLayer(path, scope, tuple(weights))

    def make_weight(self, variable: Node, path: str, name: str) -> Weight | None:
        """Return the array of a variable, or None if it has no numbers."""
        key = variable.key or ""
        if key not in self.checkpoint.entries:
            self._refuse(f"the variable {path[:200]!r} without its array {key[:200]!r}")
        if not self.checkpoint.is_array(key):
            return None
        self.used.add(key)
        self._size += self.checkpoint.entries[key].size
        if self._size > _FREE_BYTES + _MOST_TIMES * self.checkpoint.size:
            self._refuse(f"arrays that so many layers share that they take {self._size} bytes")
        return self.checkpoint.make_weight(key, path, name)

    def _refuse(self, found: str) -> None:
        Message(self.where, memoryview(b"")).refuse(found)
