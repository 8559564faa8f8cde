"""Mutated checkpoints, SavedModels and TensorFlow.js models, as `test_fuzz.py` has other files."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import strategies as st

pytest.importorskip("resource")

from compat.security.hostile.worker import Worker
from compat.security.mutations import (
    LEAST,
    Draw,
    Mutate,
    fuzz,
    json_mutated,
    message_mutated,
    mutated,
)
from tests.formats.tensorflow_files import table
from tests.formats.tensorflow_files.bundle import (
    CRC,
    GRAPH,
    OFFSET,
    SHARD,
    SIZE,
    Bundle,
    store,
    write_files,
)
from tests.formats.tensorflow_files.protobuf import Message, changed, decode, encode, fixed32
from tests.formats.tensorflow_files.saved_model import METADATA, NODE_ID, PREFIX
from tests.formats.tensorflow_files.tensorflow_js import build_model

FILES = Path(__file__).parents[1] / "files"
WRITERS = ("keras-2.12.1", "keras-2.15.1", "tf_keras-2.21")
MODELS = ("text", "teachable")
HDF5 = ("keras-2.13.1/fun_nested.h5", "keras-2.15.1/wrappers.h5", "tf_keras-2.21/seq_adam.h5")
KERAS, OBJECTS = "keras_metadata.pb", "saved_model.pb"
MANY = 1000  # examples of each kind in a sweep
Files = dict[str, bytes]


# Sources


def read_files(path: Path) -> Files:
    """Return name -> content of a directory, or suffix -> content of the files of a prefix."""
    if path.is_dir():
        paths = [inner for inner in path.rglob("*") if inner.is_file()]
        return {str(inner.relative_to(path)): inner.read_bytes() for inner in paths}
    beside = path.parent.glob(f"{path.name}.*")
    return {inner.name.removeprefix(path.name): inner.read_bytes() for inner in beside}


def put_files(path: Path, files: Files) -> None:
    if all(name.startswith(".") for name in files):
        write_files(path.parent, {f"{path.name}{name}": data for name, data in files.items()})
    else:
        write_files(path, files)


def to_old_form(files: Files) -> Files:
    """Return a SavedModel with its metadata in the objects, as TensorFlow 2.0 to 2.4 wrote it."""
    nodes = [dict(decode(node)) for _, node in decode(files[KERAS])]
    texts = {fields.get(NODE_ID, 0): fields[METADATA] for fields in nodes}

    def add(number: int, node: bytes) -> bytes:
        fields = decode(node)
        return encode(
            [
                (kind, encode([*decode(value), (3, texts[number])]))
                if kind == 4 and number in texts
                else (kind, value)
                for kind, value in fields
            ]
        )

    def add_all(graph: bytes) -> bytes:
        return encode([(1, add(k, node)) for k, (_, node) in enumerate(decode(graph))])

    def within(graphs: bytes) -> bytes:
        return encode([(k, add_all(v) if k == 7 else v) for k, v in decode(graphs)])

    saved = [(k, within(v) if k == 2 else v) for k, v in decode(files[OBJECTS])]
    return {**{k: v for k, v in files.items() if k != KERAS}, OBJECTS: encode(saved)}


def make_layers_model(path: Path, quantized: str | None) -> Files:
    """Return a whole model of Keras 2 as TensorFlow.js has it."""
    with h5py.File(path) as file:
        config = json.loads(file.attrs["model_config"])
        weights: dict[str, np.ndarray] = {}

        def add(name: str, value: Any) -> None:
            if isinstance(value, h5py.Dataset):
                weights[name.partition("/")[2].removesuffix(":0")] = value[()]

        file["model_weights"].visititems(add)
    return build_model({"model_config": config}, weights, quantized=quantized).files()


def read_bundle(files: Files, prefix: str) -> Bundle:
    blocks = table.read_blocks(files[f"{prefix}.index"])
    pairs = dict(pair for _, block in blocks for pair in table.read_pairs(block))
    header = decode(pairs.pop(b""))
    entries = {key.decode(): decode(value) for key, value in pairs.items()}
    names = sorted(name for name in files if name.startswith(f"{prefix}.data-"))
    return Bundle(header, entries, [files[name] for name in names])


# Mutations


def prefix_of(files: Files) -> str:
    return PREFIX if f"{PREFIX}.index" in files else ""


def in_bytes(suffix: str, change: Callable[[bytes, Draw], bytes] = mutated) -> Mutate:
    """Return what mutates a file whose name ends so."""

    def mutate(source: Path, to: Path, draw: Draw) -> None:
        files = read_files(source)
        name = draw(st.sampled_from(sorted(name for name in files if name.endswith(suffix))))
        put_files(to, {**files, name: change(files[name], draw)})

    return mutate


def in_data(source: Path, to: Path, draw: Draw) -> None:
    files = read_files(source)
    name = next(name for name in files if ".data-" in name)
    put_files(to, {**files, name: mutated(files[name], draw)})


def block_mutated(data: bytes, draw: Draw) -> bytes:
    """Return a table with its blocks' bytes mutated, and right checksums."""
    blocks = [(last, mutated(block, draw)) for last, block in table.read_blocks(data)]
    return table.assemble([(last, table.seal(block), len(block)) for last, block in blocks])


def entries_mutated(data: bytes, draw: Draw) -> bytes:
    """Return a table with one of its values mutated as a message, or a key."""
    pairs = [pair for _, block in table.read_blocks(data) for pair in table.read_pairs(block)]
    at = draw(st.integers(0, len(pairs) - 1))
    key, value = pairs[at]
    kind = draw(st.sampled_from(["value", "value", "value", "key", "drop", "repeat", "swap"]))
    if kind == "value":
        pairs[at] = (key, message_mutated(value, draw))
    elif kind == "key":
        pairs[at] = (mutated(key, draw), value)
    elif kind == "drop":
        del pairs[at]
    elif kind == "repeat":
        pairs.insert(at, (key + b"x", value))
    else:
        other = draw(st.integers(0, len(pairs) - 1))
        pairs[at], pairs[other] = (key, pairs[other][1]), (pairs[other][0], value)
    return table.table(sorted(pairs))


def in_graph(source: Path, to: Path, draw: Draw) -> None:
    """Mutate the graph of objects, with right checksums."""
    files = read_files(source)
    bundle = read_bundle(files, prefix_of(files))
    fields: dict[int, Any] = dict(bundle.entries[GRAPH])
    shard, start = fields.get(SHARD, 0), fields.get(OFFSET, 0)
    text = bundle.shards[shard][start : start + fields[SIZE]]
    number, at = table.read_varint(text, 0)
    stored = store(message_mutated(text[at + 4 : at + 4 + number], draw))
    entry: Message = bundle.entries[GRAPH]
    values = (OFFSET, len(bundle.shards[shard])), (SIZE, len(stored.data))
    for field, value in (*values, (CRC, fixed32(table.masked_crc32c(stored.checked)))):
        entry = changed(entry, field, value)
    bundle.entries[GRAPH] = entry
    bundle.shards[shard] += stored.data
    put_files(to, {**files, **bundle.files(prefix_of(files))})


def metadata_mutated(data: bytes, draw: Draw) -> bytes:
    """Return `keras_metadata.pb` with the JSON of an object mutated."""
    nodes = decode(data)
    at = draw(st.sampled_from([0, 0, draw(st.integers(0, len(nodes) - 1))]))
    fields = decode(nodes[at][1])
    text = json.dumps(json_mutated(json.loads(dict(fields)[METADATA]), draw))
    nodes[at] = (1, encode(changed(fields, METADATA, text)))
    return encode(nodes)


def model_json_mutated(data: bytes, draw: Draw) -> bytes:
    found = json.loads(data)
    part = draw(st.sampled_from(["all", "weightsManifest", "modelTopology"]))
    if part == "all":
        return json.dumps(json_mutated(found, draw)).encode()
    return json.dumps({**found, part: json_mutated(found[part], draw)}).encode()


KINDS: dict[str, tuple[Mutate, str]] = {
    "index's bytes": (in_bytes(".index"), "checkpoint"),
    "index's blocks": (in_bytes(".index", block_mutated), "checkpoint"),
    "index's entries": (in_bytes(".index", entries_mutated), "checkpoint"),
    "checkpoint's data": (in_data, "checkpoint"),
    "checkpoint's objects": (in_graph, "checkpoint"),
    "SavedModel's index": (in_bytes(".index", entries_mutated), "savedmodel"),
    "SavedModel's objects": (in_graph, "savedmodel"),
    "metadata's bytes": (in_bytes(KERAS), "savedmodel"),
    "metadata's messages": (in_bytes(KERAS, message_mutated), "savedmodel"),
    "metadata's JSON": (in_bytes(KERAS, metadata_mutated), "savedmodel"),
    "saved_model's bytes": (in_bytes(OBJECTS), "old"),
    "saved_model's messages": (in_bytes(OBJECTS, message_mutated), "old"),
    "model.json's bytes": (in_bytes("model.json"), "tfjs"),
    "model.json": (in_bytes("model.json", model_json_mutated), "tfjs"),
    "shard's bytes": (in_bytes(".bin"), "tfjs"),
}
CHECKED = ("index's bytes", "checkpoint's data")  # by checksums, so that any change is refused


# The tests


@pytest.fixture(scope="module")
def sources(unpack, tmp_path_factory) -> Callable[[str], list[Path]]:
    """Return a function that returns the genuine files of a kind."""
    made = tmp_path_factory.mktemp("made")

    @functools.cache
    def find(kind: str) -> list[Path]:
        if kind == "tfjs":
            paths = []
            for number, name in enumerate(HDF5):
                for quantized in (None, "uint8", "float16"):
                    paths.append(made / f"{number}_{quantized}")
                    write_files(paths[-1], make_layers_model(FILES / name, quantized))
            return paths
        folders = [(writer, name, unpack(writer)) for writer in WRITERS for name in MODELS]
        if kind == "checkpoint":
            return [folder / f"{name}_checkpoint" / name for _, name, folder in folders]
        models = [folder / f"{name}_savedmodel" for _, name, folder in folders]
        if kind == "savedmodel":
            return models
        old = [made / f"{writer}_{name}" for writer, name, _ in folders]
        for model, path in zip(models, old, strict=True):
            write_files(path, to_old_form(read_files(model)))
        return old

    return find


@pytest.fixture(scope="module")
def worker(sources) -> Iterator[Worker]:
    worker = Worker(sources("savedmodel")[0])
    yield worker
    worker.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_refused_or_read(kind: str, worker, sources, tmp_path) -> None:
    mutate, source = KINDS[kind]
    assert fuzz(mutate, sources(source), LEAST, worker, tmp_path)["refused"] > 0


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutated_files(kind: str, worker, sources, tmp_path) -> None:
    mutate, source = KINDS[kind]
    counts = fuzz(mutate, sources(source), MANY, worker, tmp_path)
    assert counts["refused"] > 0
    assert counts.get("read", 0) > 0 or kind in CHECKED


@pytest.mark.parametrize("kind", ["checkpoint", "savedmodel", "old", "tfjs"])
def test_unchanged_files_are_read(kind: str, worker, sources) -> None:
    for path in sources(kind):
        assert worker.read(path) == "read"


@pytest.mark.parametrize("kind", ["checkpoint", "savedmodel"])
def test_files_written_anew_are_read(kind: str, worker, sources, tmp_path) -> None:
    for number, source in enumerate(sources(kind)):
        files = read_files(source)
        prefix = prefix_of(files)
        path = tmp_path / f"{kind}{number}"
        put_files(path, {**files, **read_bundle(files, prefix).files(prefix)})
        assert worker.read(path) == "read"
