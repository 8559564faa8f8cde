"""Hostile graphs of objects in TensorFlow's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compat.security.hostile.parts import BIAS, KERNEL, Place, checkpoint
from compat.security.hostile.tensorflow.parts import (
    BIAS_KEY,
    HUGE,
    KERNEL_KEY,
    Write,
    case,
)
from tests.formats.tensorflow_files.bundle import GRAPH, SHAPE, Stored, pack, store, write_files
from tests.formats.tensorflow_files.object_graph import Checkpoint, Node, Variable, trace
from tests.formats.tensorflow_files.protobuf import changed, encode, varint

ROOT, LAYER, KERNEL_NODE, BIAS_NODE = range(4)  # the nodes of the genuine model


def _nodes(change: Callable[[list[Node]], object]) -> Write:
    """Return what writes a checkpoint whose objects are changed."""

    def write(place: Place) -> None:
        found = checkpoint()
        change(found.nodes)
        _write(place, found)

    return write


def _write(place: Place, found: Checkpoint) -> None:
    write_files(place.path.parent, found.bundle().files(place.path.name))


def _child(owner: int, *links: tuple[int, str]) -> Write:
    """Return what writes a checkpoint in which an object has more children."""
    return _nodes(lambda nodes: nodes[owner].children.extend(links))


def _instead(owner: int, *links: tuple[int, str]) -> Write:
    """Return what writes a checkpoint in which an object has other children."""
    return _nodes(lambda nodes: setattr(nodes[owner], "children", list(links)))


def _attribute(*attributes: tuple[str, str, str]) -> Write:
    """Return what writes a checkpoint in which the kernel has other attributes."""
    return _nodes(lambda nodes: setattr(nodes[KERNEL_NODE], "attributes", list(attributes)))


def _named(full_name: str) -> Write:
    return _attribute(("VARIABLE_VALUE", full_name, KERNEL_KEY))


def _keyed(key: str) -> Write:
    return _attribute(("VARIABLE_VALUE", "conv2d/kernel", key))


def _objects(root: Callable[[], dict[str, Any]]) -> Write:
    return lambda place: _write(place, trace(root()))


def _graph(value: bytes | list[bytes] | np.ndarray | Stored | None) -> Write:
    """Return what writes a checkpoint with another text for its objects, or without one."""

    def write(place: Place) -> None:
        text = {} if value is None else {GRAPH: value}
        files = pack({**checkpoint().arrays, **text}).files(place.path.name)
        write_files(place.path.parent, files)

    return write


def _layer() -> dict[str, Any]:
    return {"kernel": Variable("conv2d/kernel", KERNEL), "bias": Variable("conv2d/bias", BIAS)}


def _deep(nodes: list[Node]) -> None:
    """Put thirty thousand objects between the layer and its kernel."""
    count = len(nodes)
    nodes += [Node("", "", [(count + k + 1, "cell")]) for k in range(30_000)]
    nodes[-1].children = [(KERNEL_NODE, "kernel")]
    nodes[LAYER].children = [(count, "cell"), (BIAS_NODE, "bias")]


def _left(owner: str, name: str, full_name: str) -> Write:
    """Return what writes a checkpoint with one more weight, with these names."""
    variable = Variable(full_name, KERNEL)

    def write(place: Place) -> None:
        found = trace({"layer-0": _layer(), "left": {"kernel": variable}})
        child = found.nodes[0].children[1][0]
        found.nodes[0].children[1] = (child, owner)
        found.nodes[child].children = [(found.nodes[child].children[0][0], name)]
        _write(place, found)

    return write


def _long_child(place: Place) -> None:
    """Write a checkpoint whose kernel has a long name, and another shape than bytes."""
    found = checkpoint()
    found.nodes[LAYER].children[0] = (KERNEL_NODE, "k" * 1_000_000)
    bundle = found.bundle()
    bundle.entries[KERNEL_KEY] = changed(bundle.entries[KERNEL_KEY], SHAPE, [(2, [(1, 9)])])
    write_files(place.path.parent, bundle.files(place.path.name))


def _doubled() -> dict[str, Any]:
    """Return a model of the same model twice, of the same model twice, and so on."""
    inner = {"layer_with_weights-0": (layer := _layer()), "layer-0": layer}
    for _ in range(60):
        inner = {"layer-0": inner, "layer-1": inner}
    return inner


def _cut_text(stored: Stored, data: bytes, checked: bytes) -> Stored:
    return Stored(stored.dtype, stored.shape, data, checked)


def _wrong_length() -> Stored:
    """Return the text of the objects with another checksum of its length, as the entry has it."""
    stored = store(checkpoint().graph())
    length = stored.checked[:4]
    checked = length + b"\0\0\0\0" + stored.checked[8:]
    start = len(varint(int.from_bytes(length, "little")))
    return _cut_text(stored, stored.data[:start] + b"\0\0\0\0" + stored.data[start + 4 :], checked)


def _declared(length: int) -> Stored:
    """Return the text of the objects with another length before it, and right checksums."""
    stored = store(checkpoint().graph())
    start = len(varint(int.from_bytes(stored.checked[:4], "little")))
    return _cut_text(stored, varint(length) + stored.data[start:], stored.checked)


_CYCLE = "never finds the last object"

CASES = (
    case("child_beyond", "names an object that is not there", _child(LAYER, (99, "gamma"))),
    case("child_huge", "names an object that is not there", _child(LAYER, (HUGE, "gamma"))),
    case("child_negative", "counts objects from the end", _child(LAYER, (-1, "gamma"))),
    case("kernel_beyond", "names an object that is not there",
         _instead(LAYER, (99, "kernel"), (BIAS_NODE, "bias"))),
    case("kernel_negative", "counts objects from the end",
         _instead(LAYER, (-2, "kernel"), (BIAS_NODE, "bias"))),
    case("two_kernels", "has two children of one name", _child(LAYER, (BIAS_NODE, "kernel"))),
    case("two_layers", "has two layers of one number", _child(ROOT, (KERNEL_NODE, "layer-0"))),
    case("own_child", "is its own child", _child(LAYER, (LAYER, "cell")), "never"),
    case("root_child", _CYCLE, _child(LAYER, (ROOT, "cell")), "never"),
    case("root_layer", _CYCLE, _child(ROOT, (ROOT, "layer-1")), "never"),
    case("kernel_child", _CYCLE,
         _nodes(lambda nodes: nodes[KERNEL_NODE].children.append((LAYER, "cell"))), "never"),
    case("kernel_layer", "has a layer for a weight",
         _instead(LAYER, (LAYER, "kernel"), (BIAS_NODE, "bias")), "by a module"),
    case("layer_kernel", "has a weight for a layer",
         _instead(ROOT, (KERNEL_NODE, "layer-0"), (KERNEL_NODE, "layer_with_weights-0")),
         "by a module"),
    case("deep", "exhausts the stack with thirty thousand objects", _nodes(_deep), "never"),
    case("doubled", "takes for ever, with models of the same model twice", _objects(_doubled),
         "never"),
    case("many_children", "allocates a child for each few bytes",
         _child(ROOT, *[(LAYER, f"a{k}") for k in range(50_000)]), "never"),
    case("many_objects", "allocates an object for each two bytes",
         _nodes(lambda nodes: nodes.extend([Node("", "")] * 400_000)), "never"),
    case("huge_number", "fills memory with as many layers as a number says",
         _child(ROOT, (LAYER, f"layer-{HUGE}")), "never"),
    case("long_number", "spends time on a number", _child(ROOT, (LAYER, "layer-" + "9" * 100_000)),
         "never"),
    case("digits", "has a number of other digits", _child(ROOT, (LAYER, "layer-\u00b2")), "never"),
    case("layers_differ", "has one layer by one name and another by another",
         _instead(ROOT, (LAYER, "layer-0"), (KERNEL_NODE, "layer_with_weights-0")), "never"),
    case("more_layers", "has a layer that the module lacks",
         _objects(lambda: {"layer-0": _layer(),
                           "layer-1": {"kernel": Variable("hidden/kernel", KERNEL)}}),
         "by a module"),
    # Attributes
    case("key_missing", "names an array that is not there", _keyed("nowhere")),
    case("key_empty", "has the header for an array", _keyed("")),
    case("key_graph", "has the graph for an array", _keyed(GRAPH), "by a module"),
    case("key_twice", "has one array for two weights", _keyed(BIAS_KEY), "by a module"),
    case("name_long_left", "fills messages", _left("x" * 4000, "y" * 4000, "z" * 4000),
         "never"),
    case("name_long_kernel", "fills messages", _long_child),
    case("key_path", "names a file", _keyed("../../outside/secret")),
    case("key_long", "fills messages", _keyed("k" * 1_000_000)),
    case("attribute_other", "has a table for a weight",
         _attribute(("table", "conv2d/kernel", KERNEL_KEY)), "by a module"),
    case("attribute_none", "has no array", _attribute(), "by a module"),
    case("attributes_two", "has two arrays for one weight",
         _attribute(("VARIABLE_VALUE", "conv2d/kernel", KERNEL_KEY),
                    ("VARIABLE_VALUE", "conv2d/kernel", BIAS_KEY))),
    *(case(f"name_{name}", "makes a path of a name", _named(text), "never")
      for name, text in (("parent", "../../touched/kernel"), ("absolute", "/touched"),
                         ("empty", ""), ("nul", "conv2d\0/kernel"), ("dots", "a.b/__class__"),
                         ("slashes", "/" * 1000), ("long", "n" * 1_000_000),
                         ("bias", "conv2d/bias"))),
    case("child_path", "makes a path of a name",
         _instead(ROOT, (LAYER, "../../touched"), (LAYER, "layer-0")), "never"),
    case("slot_beyond", "names an object that is not there",
         _nodes(lambda nodes: nodes[ROOT].slots.append((99, "m", 99))), "never"),
    case("slot_kernel", "has its kernel for an optimizer's state",
         _nodes(lambda nodes: nodes[ROOT].slots.append((KERNEL_NODE, "m", KERNEL_NODE))), "never"),
    # The text
    case("graph_none", "has no objects", _graph(None), "never"),
    case("graph_empty", "has no objects", _graph(b""), "never"),
    case("graph_random", "is nothing", _graph(np.random.default_rng(0).bytes(400))),
    case("graph_cut", "is cut off", _graph(checkpoint().graph()[:-20])),
    case("graph_text", "has a name that is no text",
         _graph(encode([(1, [(1, [(2, b"\xff\xfe")])])]))),
    case("graph_kind", "has a number for a list", _graph(encode([(1, 7)]))),
    case("graph_nested", "exhausts the stack of a parser",
         _graph(b"".join(b"\x0a" + varint(4 * k) for k in range(3000, 0, -1)))),
    case("graph_two", "has two texts", _graph([checkpoint().graph(), b""])),
    case("graph_array", "has an array for its objects", _graph(BIAS)),
    case("graph_checksum", "is damaged in the length of a text", _graph(_wrong_length())),
    case("graph_length", "is longer than it is", _graph(_declared(2**20))),
    case("graph_length_huge", "allocates what a text declares", _graph(_declared(2**62))),
    case("graph_short", "is shorter than it is", _graph(_declared(9))),
)  # fmt: skip
