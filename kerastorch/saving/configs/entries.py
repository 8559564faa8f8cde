"""Read one entry of a model's config: its name, class and config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._core.errors import FileError
from ..._core.registry import ALIASES, LAYERS
from ...operations.keras_ops import KERAS
from .nodes import parse_shape, raise_config_error

Entry = Mapping[str, Any]
MODELS = {"Sequential": "Sequential", "Functional": "Functional", "Model": "Functional"}
_PACKAGES = ("builtins", "keras", "keras_core", "tensorflow", "tf_keras")
_OPERATIONS = ("ops", "src.ops", "activations", "src.activations")
_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda")


def read_name(entry: Entry, where: str) -> str:
    """Return the name that an entry or its config has."""
    config = entry["config"]
    names = [entry.get("name"), config.get("name") if isinstance(config, Mapping) else None]
    given = [name for name in names if name is not None]
    if not given and isinstance(config, (list, tuple)):
        return "sequential"  # until Keras 2.2.2 no name was kept
    if not given or any(name != given[0] or not isinstance(name, str) for name in given):
        raise_config_error(where, "`name` must be one string", names)
    return str(given[0])


def read_class(entry: Entry) -> str:
    """Return an entry's class, prefixed by its package if that is not Keras: "my>Conv2D".

    A custom class may have the name of one of Keras's and compute something else.
    """
    module, registered = entry.get("module"), entry.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        return registered
    package = module.partition(".")[0] if isinstance(module, str) else "keras"
    name: str = entry["class_name"]
    return name if package in _PACKAGES else f"{package}>{name}"


def upgrade_layer_config(class_name: str, config: Entry, where: str) -> tuple[str, Entry]:
    """Return the class and the config of a layer as Keras 3 writes them."""
    class_name = ALIASES.get(class_name, class_name)
    try:
        if class_name in LAYERS:
            return class_name, LAYERS[class_name].upgrade_config(config)
    except ValueError as error:
        raise FileError(f"{where}: {error}") from None
    return class_name, config


def is_operation(entry: Entry) -> bool:
    """Return whether an entry is an operation rather than a layer."""
    if entry["class_name"] in _TENSORFLOW:
        return True
    module, config = entry.get("module"), entry["config"]
    if isinstance(module, str):
        package, _, rest = module.partition(".")
        inside = any(rest == name or rest.startswith(f"{name}.") for name in _OPERATIONS)
        return inside and package in ("keras", "keras_core")
    # Legacy files name no module, but the config of every layer of Keras's own has `trainable`.
    bare = "trainable" not in config
    return bare and entry["class_name"] in KERAS and "inbound_nodes" in entry


def read_built_shape(entry: Entry) -> Any:
    """Return the shape or shapes that a layer was built with, as tuples, or None."""
    built = entry.get("build_config")
    if not isinstance(built, Mapping):
        return None
    given = built.get("input_shape")
    if given is None and isinstance(built.get("shapes_dict"), Mapping):
        shapes = list(built["shapes_dict"].values())
        given = shapes[0] if len(shapes) == 1 else None
    shape = parse_shape(given)
    if shape is None and isinstance(given, (list, tuple)):
        shapes = [parse_shape(inner) for inner in given]
        return None if None in shapes else shapes
    return shape
