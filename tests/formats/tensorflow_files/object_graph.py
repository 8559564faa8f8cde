"""Graphs of a model's objects as TensorFlow's checkpoints hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.formats.tensorflow_files.bundle import GRAPH, Bundle, pack
from tests.formats.tensorflow_files.protobuf import Message, encode

MODELS = ("Sequential", "Functional", "Model")


@dataclass(eq=False)
class Variable:
    """A variable of a model: its full name, and its array."""

    full_name: str
    value: Any
    trainable: bool = True


@dataclass
class Node:
    """An object of a graph; all of it may be changed."""

    path: str  # "root.layer-0", as Keras's metadata names it
    key: str  # "layer-0", as keys name it
    children: list[tuple[int, str]] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    slots: list[tuple[int, str, int]] = field(default_factory=list)
    variable: Variable | None = None


@dataclass
class Checkpoint:
    """The objects and the arrays of a checkpoint; all of it may be changed."""

    nodes: list[Node]
    arrays: dict[str, Any]

    def graph(self) -> bytes:
        """Return the graph's message."""
        return encode([(1, self.encode_node(node)) for node in self.nodes])

    def encode_node(self, node: Node) -> Message:
        links = [(1, encode_link(*child)) for child in node.children]
        attributes = [
            (2, [(1, name), (2, full_name), (3, key)]) for name, full_name, key in node.attributes
        ]
        slots = [(3, [(1, owner), (2, name), (3, slot)]) for owner, name, slot in node.slots]
        return [*links, *attributes, *slots]

    def bundle(self, *, shards: int = 1) -> Bundle:
        """Return the bundle; of two shards, the first has the graph only, as in TF 2.0 to 2.2."""
        graph = {GRAPH: self.graph()}
        return pack({**self.arrays, **graph}) if shards == 1 else pack(graph, self.arrays)

    def files(self, prefix: str, *, shards: int = 1, **options: Any) -> dict[str, bytes]:
        """Return name -> content, with the file `checkpoint`."""
        text = f'model_checkpoint_path: "{prefix}"\nall_model_checkpoint_paths: "{prefix}"\n'
        return {
            "checkpoint": text.encode(),
            **self.bundle(shards=shards).files(prefix, **options),
        }


def encode_link(node: int, name: str) -> Message:
    return [(1, node), (2, name)] if node else [(2, name)]


def trace(
    root: Mapping[str, Any], slots: Iterable[tuple[Any, Variable, str, Variable]] = ()
) -> Checkpoint:
    """Return the graph of nested dicts whose leaves are variables.

    Args:
        root: An object; one that occurs twice is one node with two names.
        slots: Optimizer (a dict in the graph), variable, the slot's name, its variable.
    """
    numbers: dict[int, int] = {id(root): 0}
    queue: list[tuple[Any, Node]] = [(root, Node("root", ""))]
    arrays: dict[str, Any] = {}
    for value, node in queue:
        if isinstance(value, Variable):
            node.variable = value
            arrays[_add_attribute(node, value, f"{node.key}/")] = value.value
            continue
        for name, child in value.items():
            if id(child) not in numbers:
                numbers[id(child)] = len(queue)
                escaped = name.replace(".", "..").replace("/", ".S")
                key = f"{node.key}/{escaped}" if node.key else escaped
                queue.append((child, Node(f"{node.path}.{name}", key)))
            node.children.append((numbers[id(child)], name))
    nodes = [node for _, node in queue]
    for owner, variable, name, slot in slots:
        optimizer, original = nodes[numbers[id(owner)]], nodes[numbers[id(variable)]]
        node = Node("", "", variable=slot)
        key = f"{original.key}/.OPTIMIZER_SLOT/{optimizer.key}/{name}/"
        arrays[_add_attribute(node, slot, key)] = slot.value
        optimizer.slots.append((numbers[id(variable)], name, len(nodes)))
        nodes.append(node)
    return Checkpoint(nodes, arrays)


def _add_attribute(node: Node, variable: Variable, prefix: str) -> str:
    key = f"{prefix}.ATTRIBUTES/VARIABLE_VALUE"
    node.attributes.append(("VARIABLE_VALUE", variable.full_name, key))
    return key


def list_layers(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the layers of a model's config that its object has: no input of a Sequential."""
    layers = config["config"]["layers"]
    is_sequential = config["class_name"] == "Sequential"
    return [x for x in layers if not (is_sequential and x["class_name"] == "InputLayer")]


def track(
    config: Mapping[str, Any], arrays: Mapping[str, Any], *, variables: bool = False
) -> dict[str, Any]:
    """Return the objects of a model as Keras 2 tracks them.

    Args:
        config: The model's config, in Keras 2's dialect.
        arrays: Layer's name -> "kernel" or "cell/kernel" -> array, or a Variable that has a full
            name of its own; a nested model's name -> the same of its layers.
        variables: Whether the model has its list `variables`, too, as in a SavedModel.
    """
    found: dict[str, Any] = {}
    weighted, all_variables = 0, []
    for number, layer in enumerate(list_layers(config)):
        name = layer["config"]["name"]
        values = arrays.get(name, {})
        if layer["class_name"] in MODELS:
            value = track(layer, values)
        else:
            value = _nest(name, values)
        if values:
            found[f"layer_with_weights-{weighted}"] = value
            weighted += 1
        found[f"layer-{number}"] = value
        all_variables += _list_variables(value)
    if variables:
        found["variables"] = {str(number): v for number, v in enumerate(all_variables)}
    return found


def _nest(layer: str, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split("/")
        inner = found
        for parent in parents:
            inner = inner.setdefault(parent, {})
        is_variable = isinstance(value, Variable)
        inner[last] = value if is_variable else Variable(f"{layer}/{last}", value)
    return found


def _list_variables(value: Any) -> list[Variable]:
    if isinstance(value, Variable):
        return [value]
    children = [child for name, child in value.items() if not name.startswith("layer_with_")]
    return [variable for child in children for variable in _list_variables(child)]
