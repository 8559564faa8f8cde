"""What hostile files are made of: a case, and the genuine model that each of them spoils."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from tests.formats.tensorflow_files.bundle import write_files
from tests.formats.tensorflow_files.object_graph import Checkpoint, trace, track
from tests.formats.tensorflow_files.saved_model import SavedModel, build_saved_model
from tests.formats.tensorflow_files.tensorflow_js import Model, build_model

SECRET = b"a secret that no weight file may hold. " * 20
KERNEL = np.arange(54, dtype="float32").reshape(3, 3, 3, 2) / 54
BIAS = np.array([0.25, -0.5], "float32")


@dataclass(frozen=True)
class Place:
    """Where a hostile file goes, and what it is after.

    Attributes:
        path: The file or the directory to write, or what the names of several files begin with.
        outside: A directory that holds `secret` and `secret.h5`, and where `touched` would
            appear if anything in the file were run.
    """

    path: Path
    outside: Path

    @property
    def touched(self) -> Path:
        return self.outside / "touched"

    @property
    def secret(self) -> Path:
        return self.outside / "secret"


@dataclass(frozen=True)
class Case:
    """One hostile file.

    Attributes:
        name: The file's name.
        issue: The published issue that it reproduces, or "residual" for a weakness without one.
        effect: What it does to a reader that trusts it.
        write: What writes it.
        refused: "always"; "by a module" where what is wrong shows beside a module only; "as a
            model" where what is wrong is in the config, so that the weights alone may be read; or
            "never" where a careful reader is not harmed.
    """

    name: str
    issue: str
    effect: str
    write: Callable[[Place], object]
    refused: Literal["always", "by a module", "as a model", "never"] = "always"


# The genuine model: one Conv2D


def layer(class_name: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def input_layer() -> dict[str, Any]:
    return layer("InputLayer", batch_shape=[None, 5, 7, 3], dtype="float32", name="input_layer")


def conv(**changed: Any) -> dict[str, Any]:
    arguments = {"name": "conv2d", "filters": 2, "kernel_size": [3, 3]}
    return layer("Conv2D", **{**arguments, **changed})


def sequential(*layers: Any, **changed: Any) -> dict[str, Any]:
    config = {"name": "sequential", "trainable": True, "layers": [input_layer(), *layers]}
    return layer("Sequential", "keras", **{**config, **changed})


def functional(*layers: Any, last: str, first: str = "input_layer") -> dict[str, Any]:
    entries = [{**input_layer(), "name": "input_layer", "inbound_nodes": []}, *layers]
    ends = {"input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]]}
    return layer("Functional", "keras", name="functional", trainable=True, layers=entries, **ends)


def called(entry: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a layer of a functional model that is called on `args`."""
    node = {"args": list(args), "kwargs": kwargs}
    return {**entry, "name": entry["config"].get("name", "x"), "inbound_nodes": [node]}


def tensor(name: str = "input_layer", node: int = 0) -> dict[str, Any]:
    history = {"shape": [None, 5, 7, 3], "dtype": "float32", "keras_history": [name, node, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


# The genuine model as Keras 2 writes it


def keras2_layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}


def keras2_model(*layers: Any, **changed: Any) -> dict[str, Any]:
    """Return the config of a model of these layers before its Conv2D, whose arguments change."""
    shape = [None, 5, 7, 3]
    first = keras2_layer("InputLayer", batch_input_shape=shape, dtype="float32", name="input")
    arguments = {"name": "conv2d", "batch_input_shape": shape, "filters": 2, "kernel_size": [3, 3]}
    last = keras2_layer("Conv2D", **{**arguments, **changed})
    return keras2_layer("Sequential", name="sequential", layers=[first, *layers, last])


def last_name(config: dict[str, Any]) -> str:
    """Return the name of the Conv2D."""
    return config["config"]["layers"][-1]["config"]["name"]


def checkpoint() -> Checkpoint:
    return trace(track(keras2_model(), {"conv2d": {"kernel": KERNEL, "bias": BIAS}}))


def saved_model(config: dict[str, Any] | None = None, **options: Any) -> SavedModel:
    found = config or keras2_model()
    weights = {last_name(found): {"kernel": KERNEL, "bias": BIAS}}
    return build_saved_model(found, weights, **options)


def layers_model(config: dict[str, Any] | None = None, **options: Any) -> Model:
    found = config or keras2_model()
    topology = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": found}
    name = last_name(found)
    return build_model(topology, {f"{name}/kernel": KERNEL, f"{name}/bias": BIAS}, **options)


# The genuine files


@contextmanager
def tree(path: Path | BytesIO, **options: Any) -> Iterator[h5py.File]:
    """Write the weights as Keras 3 does, to be changed while the file is open."""
    with h5py.File(path, "w", **options) as file:
        group = file.create_group("layers/conv2d/vars")
        group["0"], group["1"] = KERNEL, BIAS
        group.attrs["name"] = "conv2d"
        yield file


@contextmanager
def legacy(path: Path, config: Any = None) -> Iterator[h5py.File]:
    """Write a whole model as Keras 2 does, to be changed while the file is open."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config or sequential(conv()))
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"conv2d"])
        weights.attrs["backend"], weights.attrs["keras_version"] = "tensorflow", "2.15.0"
        group = weights.create_group("conv2d")
        group.attrs["weight_names"] = np.array([b"conv2d/kernel:0", b"conv2d/bias:0"])
        group["conv2d/kernel:0"], group["conv2d/bias:0"] = KERNEL, BIAS
        yield file


def weights() -> bytes:
    """Return a genuine `model.weights.h5`."""
    buffer = BytesIO()
    with tree(buffer):
        pass
    return buffer.getvalue()


def members(config: Any = None) -> dict[str, bytes]:
    """Return the members of a genuine `.keras` archive."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config or genuine())
    return {
        "metadata.json": b'{"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}',
        "config.json": text.encode() if isinstance(text, str) else text,
        "model.weights.h5": weights(),
    }


def genuine() -> dict[str, Any]:
    return sequential(conv())


def archive(place: Place, config: Any = None, **changed: bytes) -> None:
    """Write a `.keras` archive with another config."""
    with zipfile.ZipFile(place.path, "w") as file:
        for name, data in members(config).items():
            file.writestr(name, data)


GENUINE: dict[str, Callable[[Place], object]] = {
    "genuine.keras": archive,
    "genuine.weights.h5": lambda place: place.path.write_bytes(weights()),
    "genuine.h5": lambda place: _close(legacy(place.path)),
    "genuine.npz": lambda place: np.savez(place.path, KERNEL, BIAS),
    "genuine.ckpt": lambda place: _write_checkpoint(place),
    "genuine.index": lambda place: write_files(
        place.path.parent, checkpoint().bundle().files("genuine")
    ),
    "two_shards.ckpt": lambda place: _write_checkpoint(place, shards=2),
    "genuine.savedmodel": lambda place: write_files(place.path, saved_model().files()),
    "in_objects.savedmodel": lambda place: write_files(
        place.path, saved_model(tensorflow="2.3.0", producer=1).files("saved_model", shards=2)
    ),
    "in_assets.savedmodel": lambda place: write_files(place.path, _exported()),
    "line_ends.savedmodel": lambda place: write_files(place.path, _converted()),
    "genuine.tfjs": lambda place: write_files(place.path, layers_model().files()),
    "renamed.json": lambda place: write_files(place.path.parent, _renamed(place.path.name)),
    "three_shards.tfjs": lambda place: write_files(place.path, layers_model(most=99).files()),
}


def _write_checkpoint(place: Place, **options: Any) -> None:
    files = checkpoint().files(place.path.name, **options)
    del files["checkpoint"]
    write_files(place.path.parent, files)


def _renamed(name: str) -> dict[str, bytes]:
    """Return a TensorFlow.js model whose JSON has this name."""
    files = layers_model().files()
    return {name: files.pop("model.json"), **files}


def _exported() -> dict[str, bytes]:
    return saved_model(tensorflow="1.15.0").files("assets")


def _converted() -> dict[str, bytes]:
    """Return a SavedModel after a checkout that changed the ends of lines."""
    files = saved_model().files()
    changed = files["keras_metadata.pb"].replace(b"\n", b"\r\n")
    return {**files, "keras_metadata.pb": changed}


def _close(context: Any) -> None:
    with context:
        pass


def prepare(outside: Path) -> None:
    """Write what hostile files are after."""
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "secret").write_bytes(SECRET)
    with tree(outside / "secret.h5") as file:
        del file["layers/conv2d/vars/0"]
        stolen = np.frombuffer(SECRET[:216], "float32").reshape(KERNEL.shape)
        file["layers/conv2d/vars/0"] = stolen
