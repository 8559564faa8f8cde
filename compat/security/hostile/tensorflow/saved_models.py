"""Hostile SavedModels: what their metadata may say, and what may lie where."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from compat.security.hostile.configs import code
from compat.security.hostile.parts import (
    Case,
    Place,
    keras2_layer,
    keras2_model,
    members,
    saved_model,
)
from compat.security.hostile.tensorflow.parts import HUGE, LINK, POINTER, Write, folder, link, pipe
from compat.security.hostile.tensorflow.shared import write_shared, write_shared_array
from tests.formats.tensorflow_files.bundle import write_files
from tests.formats.tensorflow_files.protobuf import Message, changed, encode, varint
from tests.formats.tensorflow_files.saved_model import (
    IDENTIFIER,
    METADATA,
    NODE_ID,
    NODE_PATH,
    SavedModel,
)

KERAS, OBJECTS, EXPORTED = "keras_metadata.pb", "saved_model.pb", "assets/saved_model.json"
OLD = {"tensorflow": "2.3.0", "producer": 1}
DROPPED = object()
Files = dict[str, bytes]


def _case(name: str, effect: str, write: Write, refused: Any = "as a model") -> Case:
    return Case(f"{name}.savedmodel", "residual", effect, write, refused)


def _model(change: Callable[[SavedModel], object], form: str = "keras_metadata") -> Write:
    """Return what writes a SavedModel whose objects or metadata are changed."""

    def write(place: Place) -> None:
        found = saved_model(**(OLD if form == "saved_model" else {}))
        change(found)
        write_files(place.path, found.files(form))

    return write


def _config(config: Callable[[Place], dict[str, Any]], form: str = "keras_metadata") -> Write:
    """Return what writes a SavedModel of another config."""
    return lambda place: write_files(place.path, saved_model(config(place)).files(form)) and None


def _conv(**arguments: Any) -> Write:
    return _config(lambda _: keras2_model(**arguments))


def _field(number: int, *values: Any, node: int = 0, form: str = "keras_metadata") -> Write:
    """Return what writes a SavedModel whose metadata of an object has other values."""

    def change(found: SavedModel) -> None:
        found.metadata[node] = changed(found.metadata[node], number, *values)

    return _model(change, form)


def _root(form: str = "keras_metadata", **entries: Any) -> Write:
    """Return what writes a SavedModel whose model's metadata has other entries."""

    def change(found: SavedModel) -> None:
        text = {**json.loads(dict(found.metadata[0])[METADATA]), **entries}
        kept = {name: value for name, value in text.items() if value is not DROPPED}
        found.metadata[0] = changed(found.metadata[0], METADATA, json.dumps(kept))

    return _model(change, form)


def _text(text: str | bytes, form: str = "keras_metadata") -> Write:
    return _field(METADATA, text, form=form)


def _after(text: str) -> Write:
    """Return what writes a SavedModel whose model's metadata begins with raw JSON."""

    def change(found: SavedModel) -> None:
        before = dict(found.metadata[0])[METADATA]
        found.metadata[0] = changed(found.metadata[0], METADATA, f"{{{text}, {before[1:]}")

    return _model(change)


def _files(change: Callable[[Files], object], form: str = "keras_metadata") -> Write:
    """Return what writes a SavedModel whose files are changed."""

    def write(place: Place) -> None:
        files = saved_model(**(OLD if form == "saved_model" else {})).files(form)
        change(files)
        write_files(place.path, files)

    return write


def _set(name: str, data: Callable[[bytes], bytes], form: str = "keras_metadata") -> Write:
    return _files(lambda files: files.update({name: data(files.get(name, b""))}), form)


def _special(
    name: str, make: Callable[[Place, Any], object] | None, form: str = "keras_metadata"
) -> Write:
    """Return what writes a SavedModel of which a file is something else, or is missing."""

    def write(place: Place) -> None:
        _files(lambda files: [files.pop(key) for key in list(files) if key.startswith(name)], form)(
            place
        )
        if make is not None:
            (place.path / name).parent.mkdir(exist_ok=True)
            make(place, place.path / name)

    return write


def _link_to_folder(place: Place, path: Any) -> None:
    path.symlink_to(place.outside)


def _lambda(place: Place) -> dict[str, Any]:
    function = {"class_name": "__tuple__", "items": [code(place)["config"]["code"], None, None]}
    return keras2_model(
        keras2_layer("Lambda", name="l", function=function, function_type="lambda", arguments={})
    )


def _graph_operation(place: Place) -> dict[str, Any]:
    """Return a model with an operation of TensorFlow's, as text of a graph's node."""
    text = f'name: "x" op: "WriteFile" attr {{ key: "{place.touched}" }}'
    config = {"name": "x", "node_def": text, "constants": {}, "dtype": "float32"}
    return keras2_model(keras2_layer("TensorFlowOpLayer", **config))


def _two(found: SavedModel) -> None:
    """Add the metadata of another model at the same place."""
    other = json.loads(dict(found.metadata[0])[METADATA])
    other["config"]["name"] = other["model_config"]["config"]["name"] = "other"
    found.metadata[99] = changed(found.metadata[0], METADATA, json.dumps(other))


def _disagreeing(files: Files) -> None:
    other = saved_model(keras2_model(filters=2, padding="same"), **OLD)
    files[OBJECTS] = other.saved_model(metadata=True)


def _two_graphs(files: Files) -> None:
    """Put two graphs of objects, which say different things, into one file."""
    first = saved_model(**OLD).saved_model(metadata=True)
    second = saved_model(keras2_model(padding="same"), **OLD).saved_model(metadata=True)
    files[OBJECTS] = first + second[2:]


def _functions(files: Files) -> None:
    """Add a graph of functions that would write a file."""
    node: Message = [(1, "x"), (2, "WriteFile"), (5, [(1, "dtype"), (2, b"\xff\xff")])]
    files[OBJECTS] += encode([(2, [(2, [(1, node)])])])


def _whole(files: Files) -> None:
    files.update(members())


def _nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = b"\x12" + varint(len(data)) + data
    return data


def _moved(found: SavedModel) -> None:
    """Take the only layer away from the model's objects."""
    found.nodes[0].children = [(n, name) for n, name in found.nodes[0].children if n != 1]


def _kernel_for_layer(found: SavedModel) -> None:
    kernel = found.nodes[1].children[0][0]
    found.nodes[0].children = [
        (kernel if name == "layer-0" else node, name) for node, name in found.nodes[0].children
    ]


_TUPLE = "has a tuple that is none"

CASES = (
    # What a config may name and claim
    _case("lambda", "runs bytecode", _config(_lambda)),
    _case("lambda_old", "runs bytecode", _config(_lambda, "saved_model")),
    _case("lambda_exported", "runs bytecode", _config(_lambda, "assets")),
    _case("operation", "runs an operation of a graph", _config(_graph_operation)),
    _case("registered", "is a class of any package",
          _config(lambda _: keras2_model(keras2_layer("os>Popen", name="x", args="true")))),
    _case("filters", "allocates kernels before it reads any", _conv(filters=HUGE)),
    _case("kernel_size", "allocates kernels before it reads any", _conv(kernel_size=[HUGE] * 2)),
    _case("name_parent", "makes a path of a layer's name", _conv(name="../../touched"), "never"),
    _case("name_long", "fills messages and memory", _conv(name="n" * 2**20), "never"),
    *(_case(f"tuple_{name}", _TUPLE, _conv(kernel_size={"class_name": kind, **items}))
      for name, kind, items in (
          ("null", "__tuple__", {"items": None}), ("none", "__tuple__", {}),
          ("number", "__tuple__", {"items": 3}), ("text", "__tuple__", {"items": "33"}),
          ("dict", "__tuple__", {"items": {"3": 3}}), ("list", ["__tuple__"], {"items": [3, 3]}),
          ("shape", "TensorShape", {"items": None}), ("spec", "TypeSpec", {"type_spec": "os"}))),
    _case("tuple_more", "has more in a tuple than its items",
          _conv(kernel_size={"class_name": "__tuple__", "items": [3, 3], "x": 1}), "never"),
    # The metadata
    _case("json_deep", "exhausts the stack", _text("[" * 100_000)),
    _case("json_dicts", "exhausts the stack",
          _after('"x": ' + '{"x":' * 50_000 + "1" + "}" * 50_000)),
    _case("json_tuples", "exhausts the stack",
          _after('"x": ' + '{"class_name":"__tuple__","items":[' * 20_000 + "]}" * 20_000)),
    _case("json_digits", "spends time on a number", _after('"x": ' + "9" * 100_000)),
    _case("json_twice", "says two things under one key", _after('"class_name": "Functional"')),
    _case("json_null", "is no config", _text("null")),
    _case("json_list", "is no config", _text("[1]")),
    _case("json_cut", "is cut off", _text('{"class_name": "Sequ')),
    _case("json_bytes", "is no text", _text(b"\xff\xfe{")),
    _case("json_empty", "says nothing", _text("")),
    _case("json_none", "says nothing", _field(METADATA)),
    _case("json_number", "has a number for text", _field(METADATA, 7)),
    _case("config_number", "has a number for a config", _root(model_config=7, config=7)),
    _case("config_none", "has no config", _root(model_config=DROPPED, config=DROPPED)),
    _case("config_null", "has no config", _root(model_config=None, config=None)),
    _case("class_none", "has no class", _root(model_config=None, class_name=None)),
    _case("class_long", "fills messages",
          _root(model_config=None, config=None, class_name="x" * 1_000_000)),
    _case("keras_long", "fills messages", _root(keras_version="9" * 1_000_000), "never"),
    _case("tensorflow_long", "fills messages",
          lambda place: write_files(
              place.path, saved_model(tensorflow="9" * 1_000_000).files("nowhere")) and None),
    _case("root_far", "fills messages", _field(NODE_PATH, "x" * 1_000_000)),
    _case("root_missing", "has no model, but layers only", _model(lambda m: m.metadata.pop(0))),
    _case("root_layer", "has a layer for a model", _field(IDENTIFIER, "_tf_keras_layer"), "never"),
    _case("root_metric", "has a metric for a model", _field(IDENTIFIER, "_tf_keras_metric")),
    _case("root_other", "has any object for a model", _field(IDENTIFIER, "os.system")),
    _case("root_two", "has two models in one place", _model(_two)),
    _case("node_negative", "counts objects from the end", _field(NODE_ID, -1, node=1), "never"),
    _case("node_huge", "names an object that is not there", _field(NODE_ID, HUGE, node=1), "never"),
    _case("root_number", "has the model at another place", _field(NODE_ID, 1)),
    _case("path_parent", "makes a path of an object's", _field(NODE_PATH, "root.../..", node=1),
          "never"),
    _case("path_bytes", "has a path that is no text", _field(NODE_PATH, b"\xff\xfe", node=1),
          "never"),
    _case("layer_other", "says another thing of the layer than of the model",
          _field(METADATA, '{"class_name": "Dense", "config": {}}', node=1), "never"),
    _case("metadata_empty", "is empty", _set(KERAS, lambda _: b"")),
    _case("metadata_cut", "is cut off", _set(KERAS, lambda data: data[:-99])),
    _case("metadata_random", "is nothing",
          _set(KERAS, lambda _: np.random.default_rng(0).bytes(999))),
    _case("metadata_pointer", "is a Git LFS pointer", _set(KERAS, lambda _: POINTER)),
    _case("metadata_page", "is a web page", _set(KERAS, lambda _: b"<!DOCTYPE html>\n<html>")),
    _case("metadata_recoded", "was taken for text of Windows, and made UTF-8",
          _set(KERAS, lambda data: data.decode("latin-1").encode())),
    _case("metadata_lines", "has lost bytes at the ends of lines",
          _set(KERAS, lambda data: data.replace(b"\n", b"\r"))),
    _case("metadata_both", "had both ends of lines before they were changed",
          _set(KERAS, lambda data: data.replace(b"\n", b"\r\n") + b"\n\r\n\n")),
    _case("metadata_many", "allocates an object for each two bytes",
          _set(KERAS, lambda data: data + b"\x0a\x00" * 500_000), "never"),
    _case("metadata_nested", "exhausts the stack of a parser",
          _set(KERAS, lambda _: _nested(9000))),
    _case("metadata_length", "allocates what a field declares",
          _set(KERAS, lambda _: b"\x0a" + varint(HUGE))),
    _case("metadata_pipe", "never ends", _special(KERAS, pipe)),
    _case("metadata_link", LINK, _special(KERAS, link)),
    _case("metadata_folder", "has a directory for a file", _special(KERAS, folder)),
    # The objects that the config belongs to
    _case("layer_missing", "has no object for a layer", _model(_moved), "never"),
    _case("layer_kernel", "has a weight for a layer", _model(_kernel_for_layer), "never"),
    _case("shared", "allocates the weights of one layer a thousand times", write_shared),
    _case("shared_array", "allocates one array a thousand times", write_shared_array),
    _case("more_layers", "has a layer that has no object",
          _config(lambda _: keras2_model(keras2_layer("ReLU", name="relu"))), "never"),
    # saved_model.pb
    _case("objects_random", "is nothing",
          _set(OBJECTS, lambda _: np.random.default_rng(0).bytes(999), "saved_model")),
    _case("objects_empty", "is empty", _set(OBJECTS, lambda _: b"", "saved_model")),
    _case("objects_cut", "is cut off", _set(OBJECTS, lambda data: data[:-99], "saved_model")),
    _case("objects_nested", "exhausts the stack of a parser",
          _set(OBJECTS, lambda _: _nested(9000), "saved_model")),
    _case("objects_many", "allocates an object for each two bytes",
          _set(OBJECTS, lambda _: encode([(1, 1), (2, [(7, b"\x0a\x00" * 500_000)])]),
               "saved_model")),
    _case("objects_two", "says two things in one file", _files(_two_graphs, "saved_model")),
    _case("objects_unused", "is nothing, and not needed",
          _set(OBJECTS, lambda _: b"\xff" * 99), "never"),
    _case("objects_differ", "says another thing than the metadata beside it", _files(_disagreeing),
          "never"),
    _case("functions", "runs a graph", _files(_functions), "never"),
    _case("functions_old", "runs a graph", _files(_functions, "saved_model"), "never"),
    _case("objects_pipe", "never ends", _special(OBJECTS, pipe, "saved_model")),
    _case("objects_link", LINK, _special(OBJECTS, link, "saved_model")),
    _case("objects_pointer", "is a Git LFS pointer",
          _set(OBJECTS, lambda _: POINTER, "saved_model")),
    _case("old_json", "exhausts the stack", _text("[" * 100_000, "saved_model")),
    _case("old_root", "has any object for a model",
          _field(IDENTIFIER, "signature_map", form="saved_model")),
    _case("old_bytes", "is no text", _text(b"\xff\xfe{", "saved_model")),
    _case("nowhere", "has no config", _files(lambda _: None, "nowhere")),
    # assets/saved_model.json
    _case("exported_link", LINK, _special(EXPORTED, link, "assets")),
    _case("exported_pipe", "never ends", _special(EXPORTED, pipe, "assets")),
    _case("exported_folder", LINK, _special("assets", _link_to_folder, "assets")),
    _case("exported_text", "is no config", _set(EXPORTED, lambda _: b"[1]", "assets")),
    _case("exported_deep", "exhausts the stack", _set(EXPORTED, lambda _: b"[" * 99_999, "assets")),
    # The directory
    _case("variables_none", "has no weights", _special("variables", None), "always"),
    _case("variables_link", LINK, _special("variables", _link_to_folder), "always"),
    _case("variables_pipe", "never ends", _special("variables", pipe), "always"),
    _case("variables_index", LINK, _special("variables/variables.index", link), "always"),
    _case("two_formats", "is a directory of Keras 3's, too", _files(_whole), "never"),
)  # fmt: skip
