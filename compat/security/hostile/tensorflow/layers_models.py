"""Hostile TensorFlow.js models: what `model.json` may say, and what may lie beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from compat.security.hostile.configs import code
from compat.security.hostile.parts import (
    BIAS,
    KERNEL,
    Case,
    Place,
    keras2_layer,
    keras2_model,
    layers_model,
)
from compat.security.hostile.tensorflow.parts import HUGE, LINK, POINTER, Write, folder, link, pipe
from tests.formats.tensorflow_files.bundle import write_files
from tests.formats.tensorflow_files.tensorflow_js import Model

DROPPED = object()
SHARD, MODEL = "group1-shard1of1.bin", "model.json"


def _case(name: str, effect: str, write: Write, refused: Any = "always") -> Case:
    return Case(f"{name}.tfjs", "residual", effect, write, refused)


def _model(change: Callable[[Model], object], **options: Any) -> Write:
    """Return what writes a model whose JSON or data is changed."""

    def write(place: Place) -> None:
        found = layers_model(**options)
        change(found)
        write_files(place.path, found.files())

    return write


def _config(config: Callable[[Place], dict[str, Any]]) -> Write:
    return lambda place: write_files(place.path, layers_model(config(place)).files()) and None


def _conv(**arguments: Any) -> Write:
    return _config(lambda _: keras2_model(**arguments))


def _top(**entries: Any) -> Write:
    """Return what writes a model whose JSON has other entries at the top."""
    return _model(lambda found: _update(found.json, entries))


def _update(owner: dict[str, Any], entries: dict[str, Any]) -> None:
    owner.update(entries)
    for name in [name for name, value in owner.items() if value is DROPPED]:
        del owner[name]


def _group(**entries: Any) -> Write:
    """Return what writes a model whose group of weights has other entries."""
    return _model(lambda found: _update(found.group, entries))


def _weight(number: int = 0, **entries: Any) -> Write:
    """Return what writes a model in which a weight has other entries."""
    return _model(lambda found: _update(found.group["weights"][number], entries))


def _quantized(**entries: Any) -> Write:
    """Return what writes a quantized model in which the kernel has other rules to undo it."""

    def change(found: Model) -> None:
        _update(found.group["weights"][0]["quantization"], entries)

    return _model(change, quantized="uint8")


def _paths(*paths: Any) -> Write:
    """Return what writes a model whose weights are said to be at these paths."""

    def write(place: Place) -> None:
        found = layers_model()
        shown = [
            path.replace("OUTSIDE", str(place.outside)) if isinstance(path, str) else path
            for path in paths
        ]
        found.group["paths"] = shown
        text = json.dumps(found.json)
        write_files(place.path, {MODEL: text.encode(), SHARD: found.data, "sub/x.bin": found.data})

    return write


def _special(name: str, make: Callable[[Place, Any], object] | None) -> Write:
    """Return what writes a model of which a file is something else, or is missing."""

    def write(place: Place) -> None:
        files = layers_model().files()
        del files[name]
        write_files(place.path, files)
        if make is not None:
            make(place, place.path / name)

    return write


def _set(name: str, data: Callable[[bytes], bytes]) -> Write:
    def write(place: Place) -> None:
        files = layers_model().files()
        write_files(place.path, {**files, name: data(files[name])})

    return write


def _before(text: str) -> Write:
    """Return what writes a model whose JSON begins with raw JSON."""
    return _set(MODEL, lambda data: b"{" + text.encode() + b", " + data[1:])


def _lambda(place: Place) -> dict[str, Any]:
    function = [code(place)["config"]["code"], None, None]
    return keras2_model(
        keras2_layer("Lambda", name="l", function=function, function_type="lambda", arguments={})
    )


def _twice(found: Model) -> None:
    """Have the one file twice, for arrays of twice its bytes."""
    weights = found.group["weights"]
    weights += [{**weight, "name": f"x{weight['name']}"} for weight in weights]
    found.group["paths"] = [SHARD, SHARD]


def _twice_in_groups(found: Model) -> None:
    group = {**found.group, "paths": [SHARD]}
    found.group["paths"] = [SHARD]
    weights = [{**weight, "name": f"x{weight['name']}"} for weight in group["weights"]]
    found.json["weightsManifest"].append({**group, "weights": weights})


def _many_groups(found: Model) -> None:
    found.json["weightsManifest"] += [{"paths": [], "weights": []}] * 50_000


def _many_weights(found: Model) -> None:
    empty = {"shape": [0], "dtype": "float32"}
    found.group["weights"] += [{"name": f"e{number}", **empty} for number in range(20_000)]


def _long_names(found: Model) -> None:
    for weight in found.group["weights"]:
        weight["name"] = "n" * 1_000_000


def _long_truth(found: Model) -> None:
    _truth(found)
    found.group["weights"][0]["name"] = "conv2d/" + "n" * 1_000_000


def _truth(found: Model) -> None:
    """Make the kernel an array of truth values, one of which is 2."""
    found.group["weights"][0]["dtype"] = "bool"
    found.data = b"\x02" + bytes(53) + BIAS.tobytes()


def _text_weight(found: Model) -> None:
    found.group["weights"].append({"name": "text", "shape": [1], "dtype": "string"})
    found.data += b"\xff\xff\xff\x7fabc"


def _hidden(found: Model) -> None:
    found.group["weights"].append({"name": "hidden/kernel", "shape": [2], "dtype": "float32"})
    found.data += BIAS.tobytes()


def _graph_in_model(found: Model) -> None:
    found.json["modelTopology"]["node"] = [{"name": "x", "op": "WriteFile"}]


_OUTSIDE = "reads outside of its directory"
_DECLARES = "allocates what a shape declares"
_NO_FILE = "names no file"
_NODES = {"node": [{"name": "x", "op": "WriteFile"}], "versions": {}, "library": {}}

CASES = (
    # Paths
    *(_case(f"path_{name}", _OUTSIDE, _paths(path))
      for name, path in (
          ("parent", "../../outside/secret"), ("deep", "x/../../../outside/secret"),
          ("absolute", "OUTSIDE/secret"), ("url", "file://OUTSIDE/secret"),
          ("backslash", "..\\..\\outside\\secret"), ("drive", "C:group1-shard1of1.bin"),
          ("percent", "%2e%2e/%2e%2e/outside/secret"), ("home", "~/secret"),
          ("folder", "sub/x.bin"), ("variable", "$HOME/secret"))),
    _case("path_request", "requests any address", _paths("http://127.0.0.1:9/x.bin")),
    *(_case(f"path_{name}", _NO_FILE, _paths(path))
      for name, path in (
          ("empty", ""), ("dot", "."), ("dots", ".."), ("slash", "/"), ("nul", f"{SHARD}\0"),
          ("number", 7), ("null", None), ("list", [SHARD]), ("surrogate", "\ud800"),
          ("long", "n" * 100_000), ("sub", "sub"), ("missing", "missing.bin"), ("model", MODEL))),
    _case("path_here", "names itself in a roundabout way", _paths(f"./{SHARD}"), "never"),
    _case("path_again", "names one file in two ways", _paths(SHARD, f"./{SHARD}")),
    _case("paths_none", "names no files", _paths()),
    _case("paths_text", "has text for a list of files", _group(paths=SHARD)),
    _case("paths_null", "has nothing for a list of files", _group(paths=DROPPED)),
    _case("paths_twice", "has the bytes of one file twice", _model(_twice)),
    _case("paths_in_groups", "has the bytes of one file twice", _model(_twice_in_groups)),
    _case("paths_often", "spends time on one file, a hundred thousand times",
          _paths(*[SHARD] * 100_000)),
    _case("paths_many", "names a hundred thousand files",
          _paths(*[f"s{number}.bin" for number in range(100_000)])),
    _case("shard_link", LINK, _special(SHARD, link)),
    _case("shard_pipe", "never ends", _special(SHARD, pipe)),
    _case("shard_folder", "has a directory for a file", _special(SHARD, folder)),
    _case("shard_missing", "lacks its weights", _special(SHARD, None)),
    _case("shard_empty", "is empty", _set(SHARD, lambda _: b"")),
    _case("shard_cut", "is cut off", _set(SHARD, lambda data: data[:-5])),
    _case("shard_longer", "has data behind its end", _set(SHARD, lambda data: data + b"abcd")),
    _case("shard_pointer", "is a Git LFS pointer", _set(SHARD, lambda _: POINTER)),
    _case("model_link", LINK, _special(MODEL, link)),
    _case("model_pipe", "never ends", _special(MODEL, pipe)),
    _case("model_pointer", "is a Git LFS pointer", _set(MODEL, lambda _: POINTER)),
    # The manifest
    *(_case(f"manifest_{name}", "has something else for its weights", _top(weightsManifest=value))
      for name, value in (("none", DROPPED), ("null", None), ("number", 7), ("dict", {}),
                          ("text", "x"), ("numbers", [7]), ("lists", [[]]), ("groups", [{}]))),
    _case("manifest_empty", "has no weights", _top(weightsManifest=[]), "by a module"),
    _case("weights_null", "has nothing for its weights", _group(weights=None)),
    _case("weights_text", "has text for its weights", _group(weights="x")),
    _case("weights_numbers", "has numbers for its weights", _group(weights=[7, 8])),
    _case("groups_many", "allocates a group for each few bytes", _model(_many_groups), "never"),
    _case("weights_many", "has twenty thousand weights of nothing", _model(_many_weights),
          "never"),
    _case("weight_hidden", "has a weight of no layer", _model(_hidden), "never"),
    *(_case(f"name_{name}", "has something else for a name", _weight(name=value))
      for name, value in (("none", DROPPED), ("null", None), ("number", 7), ("list", ["x"]))),
    _case("name_twice", "has two weights of one name", _weight(1, name="conv2d/kernel")),
    _case("name_long_twice", "fills messages", _model(_long_names)),
    _case("name_long_truth", "fills messages", _model(_long_truth)),
    _case("name_empty", "has no name", _weight(name=""), "as a model"),
    _case("name_parent", "makes a path of a name", _weight(name="../../touched"), "as a model"),
    _case("name_long", "fills messages and memory", _weight(name="n" * 2**20), "as a model"),
    *(_case(f"shape_{name}", _DECLARES, _weight(shape=shape))
      for name, shape in (
          ("huge", [2**62]), ("overflow", [2**32, 2**32, 54]), ("negative", [-54, -1]),
          ("floats", [3.0, 3.0, 3.0, 2.0]), ("truth", [True, 54]), ("null", None),
          ("none", DROPPED), ("nulls", [None, 54]), ("text", "54"), ("texts", ["54"]),
          ("nested", [[54]]), ("number", 54), ("larger", [3, 3, 3, 3]), ("smaller", [3, 3, 3, 1]),
          ("axes", [54, *[1] * 100_000]), ("digits", [10**30]), ("zero", [0, 2**62]))),
    _case("shape_other", "has another shape", _weight(shape=[3, 3, 2, 3]), "by a module"),
    *(_case(f"dtype_{name}", "has text or objects for numbers", _weight(dtype=dtype))
      for name, dtype in (
          ("object", "object"), ("string", "string"), ("complex", "complex64"), ("null", None),
          ("none", DROPPED), ("number", 1), ("list", ["float32"]), ("large", "float64"),
          ("fields", "f4,f4"), ("times", "M8[s]"), ("big", ">f4"), ("path", "os.system"))),
    _case("truth", "has a truth value of 2", _model(_truth)),
    _case("text_weight", "allocates what a text declares", _model(_text_weight), "never"),
    # Quantization
    *(_case(f"quantization_{name}", "has something else for numbers", _quantized(**entries))
      for name, entries in (
          ("scale_text", {"scale": "1"}), ("scale_nan", {"scale": float("nan")}),
          ("scale_infinite", {"scale": float("inf")}), ("scale_null", {"scale": None}),
          ("scale_none", {"scale": DROPPED}), ("scale_truth", {"scale": True}),
          ("scale_list", {"scale": [1.0]}), ("scale_digits", {"scale": 10**30 * 10**9 * 10**300}),
          ("min_text", {"min": "0"}), ("min_infinite", {"min": float("-inf")}),
          ("min_none", {"min": DROPPED}), ("dtype_none", {"dtype": DROPPED}),
          ("dtype_other", {"dtype": "int4"}), ("dtype_object", {"dtype": "object"}),
          ("dtype_larger", {"dtype": "uint16"}), ("dtype_float", {"dtype": "float32"}))),
    _case("quantization_large", "overflows", _quantized(scale=1e308, min=1e308), "never"),
    _case("quantization_zero", "has all values alike", _quantized(scale=0.0), "never"),
    _case("quantization_negative", "has its values in reverse", _quantized(scale=-1.0), "never"),
    _case("quantization_original", "was of another kind", _quantized(original_dtype="object"),
          "never"),
    *(_case(f"quantization_{name}", "has something else for rules", _weight(quantization=value))
      for name, value in (("list", []), ("text", "uint8"), ("number", 7), ("truth", True))),
    # The model
    _case("graph", "runs a graph", _top(format="graph-model", modelTopology=_NODES)),
    _case("graph_disguised", "runs a graph", _top(modelTopology=_NODES)),
    _case("graph_too", "is a graph, too", _model(_graph_in_model)),
    _case("graph_said", "says that it is a graph", _top(format="graph-model")),
    *(_case(f"topology_{name}", "has something else for a model", _top(modelTopology=value),
            "as a model")
      for name, value in (("none", DROPPED), ("null", None), ("number", 7), ("list", [1]),
                          ("text", "x"), ("empty", {}), ("null_config", {"model_config": None}))),
    _case("keras", "is a config of Keras, too", _top(**keras2_model())),
    _case("shards", "is an index of Keras's shards, too",
          _top(weight_map={"/layers/conv2d/vars": "x.weights.h5"})),
    _case("lambda", "runs bytecode", _config(_lambda), "as a model"),
    _case("filters", "allocates kernels before it reads any", _conv(filters=HUGE), "as a model"),
    _case("layer_parent", "makes a path of a layer's name", _conv(name="../../touched"), "never"),
    _case("json_deep", "exhausts the stack", _set(MODEL, lambda _: b"[" * 100_000)),
    _case("json_deep_inside", "exhausts the stack",
          _before('"x": ' + '{"x":' * 50_000 + "1" + "}" * 50_000)),
    _case("json_digits", "spends time on a number", _before('"x": ' + "9" * 100_000)),
    _case("json_twice", "says two things under one key", _before('"weightsManifest": []')),
    _case("json_cut", "is cut off", _set(MODEL, lambda data: data[:-9])),
    _case("json_bytes", "is no text", _set(MODEL, lambda _: b'{"\xff\xfe": 1}')),
    _case("json_empty", "is empty", _set(MODEL, lambda _: b"")),
    _case("more", "says more than a reader knows", _top(userDefinedMetadata={"x": [KERNEL.size]}),
          "never"),
)  # fmt: skip
