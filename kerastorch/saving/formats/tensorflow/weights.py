"""The weights of a checkpoint, by its graph of objects, else by the names of its variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..byte_range import ByteRange, Progress
from ..weight_file import SavedLayer, Weight, WeightFile
from .checkpoint import GRAPH, Checkpoint
from .object_graph import ObjectGraph

OBJECTS = "TensorFlow checkpoint"
EXPORTED = "TensorFlow checkpoint of an exported model"
KERAS_3 = "TensorFlow checkpoint of Keras 3"
VARIABLES = "TensorFlow checkpoint of variables, without objects"
_SEED = "seed_generator_state"  # of Keras 3's random layers, no weight


def read_checkpoint(
    source: str, prefix: str, open_file: Callable[[str], ByteRange], progress: Progress | None
) -> WeightFile:
    """Return the weights of a checkpoint; what belongs to no layer is listed as ignored.

    Args:
        source: The checkpoint, for messages.
        prefix: The start of its files' names.
        open_file: Opens a file beside it.
        progress: Called with the number of bytes as arrays are read.
    """
    checkpoint = Checkpoint(source, prefix, open_file, progress)
    graph = ObjectGraph(checkpoint)
    if not graph.nodes:
        keys = [key for key in checkpoint.entries if checkpoint.is_array(key)]
        weights = [checkpoint.make_weight(key, key, key.rpartition("/")[2]) for key in keys]
        graph.used.update(keys)
        return _make_file(checkpoint, graph, VARIABLES, weights, in_order=False)
    layers = () if graph.is_keras3 else tuple(graph.list_layers())
    if any(layer.weights for layer in layers):
        ignored = _list_ignored(checkpoint, graph)
        return WeightFile(source, OBJECTS, layers, layout="positions", ignored=ignored)
    found = (
        graph.make_weight(variable, variable.name, variable.name.rpartition("/")[2])
        for variable in graph.list_variables()
        if not variable.name.endswith(_SEED)
    )
    kind = KERAS_3 if graph.is_keras3 else EXPORTED
    return _make_file(checkpoint, graph, kind, [w for w in found if w is not None])


def _make_file(
    checkpoint: Checkpoint,
    graph: ObjectGraph,
    kind: str,
    weights: list[Weight],
    in_order: bool = True,
) -> WeightFile:
    """Return the contents whose arrays have full names."""
    layers, ignored = (SavedLayer("", None, tuple(weights)),), _list_ignored(checkpoint, graph)
    known: dict[str, Any] = {"ignored": ignored, "in_order": in_order}
    return WeightFile(checkpoint.source, kind, layers, layout="scopes", **known)


def _list_ignored(checkpoint: Checkpoint, graph: ObjectGraph) -> tuple[str, ...]:
    """Return the names of what belongs to no layer: an optimizer's slots, counters, tables."""
    names = {node.key: node.name for node in graph.nodes}
    used = graph.used | {GRAPH}
    shown = {names.get(key) for key in used}  # Keras 3 exports some variables twice
    rest = [key for key in checkpoint.entries if key not in used]
    found = (names.get(key) or key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for key in rest)
    return tuple(name for name in found if name not in shown)
