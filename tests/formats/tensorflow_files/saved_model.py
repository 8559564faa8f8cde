"""SavedModels as Keras 2 writes them, with the config where each version of it put it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.formats.tensorflow_files.bundle import DTYPES, Bundle, store
from tests.formats.tensorflow_files.object_graph import (
    MODELS,
    Checkpoint,
    Node,
    encode_link,
    list_layers,
    trace,
    track,
)
from tests.formats.tensorflow_files.protobuf import Message, encode

NODE_ID, NODE_PATH, IDENTIFIER, METADATA, VERSION = range(2, 7)  # fields of a node's metadata
PREFIX = "variables/variables"
_IDENTIFIERS = {"Sequential": "sequential", "Functional": "network", "Model": "model"}


@dataclass
class SavedModel(Checkpoint):
    """The parts of a SavedModel; all of it may be changed."""

    config: dict[str, Any]
    metadata: dict[int, Message]  # by node; fields of `keras_metadata.pb`
    tensorflow: str

    def keras_metadata(self) -> bytes:
        """Return `keras_metadata.pb`."""
        return encode([(1, message) for message in self.metadata.values()])

    def saved_model(self, *, metadata: bool = False, objects: bool = True) -> bytes:
        """Return `saved_model.pb`, with Keras's metadata in it or not, and with objects or not."""
        graph = [(1, self._encode_object(number, metadata)) for number in range(len(self.nodes))]
        meta_info: Message = [(4, "serve"), (5, self.tensorflow)]
        return encode([(1, 1), (2, [(1, meta_info), (2, b""), *([(7, graph)] if objects else [])])])

    def _encode_object(self, number: int, metadata: bool) -> Message:
        node = self.nodes[number]
        links = [(1, encode_link(*child)) for child in node.children]
        slots = [(3, [(1, owner), (2, name), (3, slot)]) for owner, name, slot in node.slots]
        return [*links, *slots, self._encode_kind(number, node, metadata)]

    def _encode_kind(self, number: int, node: Node, metadata: bool) -> tuple[int, Message]:
        if node.variable is not None:
            stored = store(node.variable.value)
            dims = [(2, [(1, size)]) for size in stored.shape]
            trainable = [(3, 1)] if node.variable.trainable else []
            name = node.variable.full_name
            return 7, [(1, DTYPES[stored.dtype]), (2, dims), *trainable, (6, name)]
        fields = dict(self.metadata.get(number, [(IDENTIFIER, "_generic_user_object")]))
        text = fields.get(METADATA) if metadata else None
        version: Message = [(1, 1), (2, 1)]
        found = [(1, fields.get(IDENTIFIER)), (2, version), (3, text)]
        return 4, [(field, value) for field, value in found if value is not None]

    def files(
        self,
        form: str = "keras_metadata",
        *,
        bundle: Bundle | None = None,
        shards: int = 1,
        **options: Any,
    ) -> dict[str, bytes]:
        """Return name -> content.

        Args:
            form: Where the config is: in "keras_metadata" (since TensorFlow 2.6), "both" (2.5),
                "saved_model" (2.0 to 2.4), "assets" (`export_saved_model`), or "nowhere".
            bundle: A changed one.
            shards: How many data files there are, 1 or 2.
            options: Those of `table`.
        """
        inner = self.bundle(shards=shards) if bundle is None else bundle
        in_objects = form in ("saved_model", "both")
        saved = self.saved_model(metadata=in_objects, objects=form != "assets")
        found = {"saved_model.pb": saved, **inner.files(PREFIX, **options)}
        if form in ("keras_metadata", "both"):
            found["keras_metadata.pb"] = self.keras_metadata()
        if form == "assets":
            found["assets/saved_model.json"] = json.dumps(self.config).encode()
        return found


def build_saved_model(
    config: dict[str, Any],
    arrays: Mapping[str, Any],
    *,
    tensorflow: str = "2.15.0",
    producer: int = 2,
    variables: bool = True,
    root: Mapping[str, Any] | None = None,
    slots: Any = (),
    **changed: Any,
) -> SavedModel:
    """Return the SavedModel of a config, as `to_json` writes it, and of its arrays.

    Args:
        config: In Keras 2's dialect, with `keras_version` and `backend` or without.
        arrays: See `track`.
        tensorflow: The version that wrote it.
        producer: The version of the metadata.
        variables: See `track`.
        root: The model's objects, if these are not those that `track` returns.
        slots: See `trace`.
        changed: Entries of the root's metadata.
    """
    objects = track(config, arrays, variables=variables) if root is None else root
    checkpoint = trace(objects, slots)
    model: dict[str, Any] = {name: config[name] for name in ("class_name", "config")}
    written = as_metadata(model)
    more = {
        "is_graph_network": True,
        "keras_version": config.get("keras_version", tensorflow),
        "backend": config.get("backend", "tensorflow"),
        "model_config": written,
    }
    metadata: dict[int, Message] = {}
    pending = [(0, model, {**more, **changed})]
    for number, entry, added in pending:
        metadata[number] = describe_object(checkpoint.nodes[number], number, entry, added, producer)
        if entry["class_name"] in MODELS:
            named = {name: child for child, name in checkpoint.nodes[number].children}
            pending += [
                (named[f"layer-{k}"], layer, {})
                for k, layer in enumerate(list_layers(entry))
                if f"layer-{k}" in named
            ]
    metadata = dict(sorted(metadata.items()))
    return SavedModel(checkpoint.nodes, checkpoint.arrays, config, metadata, tensorflow)


def describe_object(
    node: Node, number: int, entry: Mapping[str, Any], added: Mapping[str, Any], producer: int
) -> Message:
    """Return the metadata of a model or a layer."""
    text = {
        "name": entry["config"].get("name"),
        "trainable": True,
        "expects_training_arg": False,
        "dtype": "float32",
        "batch_input_shape": None,
        "must_restore_from_config": False,
        "autocast": True,
        "class_name": entry["class_name"],
        "config": as_metadata(entry["config"]),
        **added,
    }
    kind = _IDENTIFIERS.get(entry["class_name"], "layer")
    return [
        *([(NODE_ID, number)] if number else []),
        (NODE_PATH, node.path),
        (IDENTIFIER, f"_tf_keras_{kind}"),
        (METADATA, json.dumps(text)),
        (VERSION, [(1, producer), (2, 1)]),
    ]


def as_metadata(value: Any) -> Any:
    """Return a config in which lists of sizes are tuples, as the metadata has them."""
    if isinstance(value, dict):
        return {key: as_metadata(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        if value and all(inner is None or type(inner) is int for inner in value):
            return {"class_name": "__tuple__", "items": list(value)}
        return [as_metadata(inner) for inner in value]
    return value
