"""SavedModel directories: the config of the model, and the arrays in `variables/`."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from ...._core.errors import FileError, short_repr
from .. import json_file
from ..byte_range import ByteRange, Progress
from ..weight_file import WeightFile
from .checkpoint import INDEX
from .message import Message
from .weights import EXPORTED, KERAS_3, VARIABLES, read_checkpoint

METADATA, GRAPHS = "keras_metadata.pb", "saved_model.pb"
CONFIG = "assets/saved_model.json"  # of TensorFlow 1.13 to 2.0
_FOLDER, _VARIABLES = "variables", "variables/variables"
_MOST_METADATA = 64 << 20
_MOST_GRAPHS = 2 << 30  # which TensorFlow writes at most
_REPAIRED = (
    f"{METADATA} was changed by version control or an editor (the ends of lines); it was read with "
    "the original ones"
)
_BARE = "layer was saved without config"
_CHANGED = "a conversion of text changed it, by which bytes were lost"

OpenFile = Callable[[str], ByteRange]
Root = Mapping[str, Any]  # what Keras noted about the model, as parsed JSON


def read_saved_model(
    source: str, names: Container[str], open_file: OpenFile, progress: Progress | None
) -> WeightFile:
    """Return the contents of a SavedModel; no function in it is read, let alone run.

    Args:
        source: The directory, for messages.
        names: The names in it.
        open_file: Opens a file in it.
        progress: Called with the number of bytes as arrays are read.
    """
    notes: list[str] = []
    root: Root | None = None
    writer = ""
    if METADATA in names:
        root = _read_metadata(source, open_file(METADATA), notes)
    else:
        window = open_file(GRAPHS)
        writer, text = _read_graphs(f"{source}: {GRAPHS}", window)
        root = _parse_root(f"{source}: {GRAPHS}", text) if text else None
    config = None if root is None else _find_config(root)
    if root is None and CONFIG in names:
        config = _read_json_config(source, open_file)
    is_flat = _FOLDER not in names and f"{_FOLDER}{INDEX}" in names  # uploaded file by file
    prefix = _FOLDER if is_flat else _VARIABLES
    found = read_checkpoint(source, prefix, open_file, progress)
    version = None if root is None else root.get("keras_version")
    return replace(
        found,
        format="TensorFlow SavedModel",
        version=version if isinstance(version, str) else None,
        backend="tensorflow",
        config=config,
        missing_config=_explain(root, found, writer),
        notes=tuple(notes),
    )


def _read_metadata(source: str, window: ByteRange, notes: list[str]) -> Root:
    """Return what Keras noted about the root, after a repair of the ends of lines if necessary."""
    where = f"{source}: {METADATA}"
    if window.size > _MOST_METADATA:
        raise FileError(f"{where}: more than {_MOST_METADATA} bytes.")
    data = window.read_at(0, window.size)
    try:
        return _parse_metadata(where, data)
    except FileError as error:
        if b"\r\n" not in data:
            raise
        try:  # every length in the message must agree again, so that nothing is guessed
            found = _parse_metadata(where, data.replace(b"\r\n", b"\n"))
        except FileError:
            raise FileError(f"{error} It may be that {_CHANGED}.") from None
    notes.append(_REPAIRED)
    return found


def _parse_metadata(where: str, data: bytes) -> Root:
    nodes = list(Message(where, memoryview(data)).messages(1))
    kinds = [(node.integer(2), node.text(3), node.text(4)) for node in nodes]
    roots = [k for k, (number, path, kind) in enumerate(kinds)
             if number == 0 and path == "root" and _is_layer(kind)]  # fmt: skip
    if len(roots) != 1:
        what = "metadata of no model, or of several"
        raise FileError(f"{where}: {what}. Found: {[path[:50] for _, path, _ in kinds[:8]]}.")
    return _parse_root(where, nodes[roots[0]].text(5))


def _is_layer(kind: str) -> bool:
    """Return whether an object of Keras's is a model or a layer."""
    return kind.startswith("_tf_keras_") and kind != "_tf_keras_metric"


def _parse_root(where: str, text: str) -> Root:
    root = json_file.parse_json(where, text)
    if not isinstance(root, dict):
        raise FileError(f"{where}: metadata of a model must be a dict. Found: {str(root)[:100]}.")
    return root


def _read_graphs(where: str, window: ByteRange) -> tuple[str, str]:
    """Return TensorFlow's version, and what Keras up to 2.4 noted about the root ("" if nothing).

    The graphs of functions are skipped.
    """
    if window.size > _MOST_GRAPHS:
        raise FileError(f"{where}: more than {_MOST_GRAPHS} bytes.")
    version, roots = "", []
    for graph in Message(where, memoryview(window.read_at(0, window.size))).messages(2):
        version = graph.message(1).text(5) or version
        roots += [Message(where, item) for item in islice(graph.message(7).items(1), 1)]
    if len(roots) > 1:
        raise FileError(f"{where}: several graphs of objects, where TensorFlow writes one.")
    kinds = [root.message(4) for root in roots]
    return version, next((kind.text(3) for kind in kinds if _is_layer(kind.text(1))), "")


def _find_config(root: Root) -> Any:
    """Return the model's config, or None if its class is the user's own."""
    config = root.get("model_config")
    if not isinstance(config, dict):
        config = {name: root.get(name) for name in ("class_name", "config")}
    inner = config.get("config")
    has_layers = isinstance(inner, list) or (isinstance(inner, dict) and "layers" in inner)
    return _unwrap(config) if has_layers else None


def _unwrap(value: Any) -> Any:
    """Return a config with plain tuples where TensorFlow wraps them, and shapes."""
    if isinstance(value, list):
        return [_unwrap(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind, items = value.get("class_name"), value.get("items")
    if kind in ("__tuple__", "TensorShape") and isinstance(items, list):
        return tuple(map(_unwrap, items))
    return {name: _unwrap(one) for name, one in value.items()}


def _read_json_config(source: str, open_file: OpenFile) -> Any:
    data = open_file(CONFIG).read_at(0, json_file.MOST_BYTES + 1)
    return json_file.parse_json(f"{source}: {CONFIG}", data)


def _list_bare_classes(config: Any) -> str:
    """Return the classes of a model's layers that Keras saved without their config."""
    layers = config.get("layers") if isinstance(config, dict) else None
    entries = [one for one in layers if isinstance(one, dict)] if isinstance(layers, list) else []
    configs = ((str(one.get("class_name")), one.get("config")) for one in entries)
    bare = {name: None for name, inner in configs if isinstance(inner, dict) and _BARE in inner}
    return short_repr([*bare]) if bare else ""


def _explain(root: Root | None, found: WeightFile, version: str) -> str:
    """Return why there is no config."""
    if root is not None:
        bare = _list_bare_classes(root.get("config"))
        if bare:
            return f"layers of classes without `get_config` have no config in it: {bare}"
        return (
            f"its model is a {short_repr(root.get('class_name'))}, a class whose code is in no file"
        )
    by = f"TensorFlow {version[:20]}" if version else "TensorFlow"
    writers = {
        KERAS_3: f"{by} saved a model of Keras 3 by `tf.saved_model.save`",
        EXPORTED: f"{by} wrote it by `model.export` of Keras, or for TensorFlow Hub",
        VARIABLES: f"{by} wrote it in the way of TensorFlow 1",
    }
    writer = writers.get(found.format, f"{by} wrote it by `tf.saved_model.save`")
    return f"{writer}, which keeps what is computed and no config of layers"
