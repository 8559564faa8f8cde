"""Read one entry of a model's config: its name, class and config, and which object it is."""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..._core.errors import FileError
from ..._core.registry import APPLICATIONS, LAYERS, resolve_name
from ...graph.spec import LayerSpec
from ...operations.keras_ops import KERAS
from .nodes import parse_shape, raise_config_error

Entry = Mapping[str, Any]
Path = tuple[str, ...]  # of names, from the outer model to a layer
MODELS = {"Sequential": "Sequential", "Functional": "Functional", "Model": "Functional"}
_PACKAGES = ("builtins", "keras", "keras_core", "tensorflow", "tf_keras")
_OPERATIONS = ("ops", "src.ops", "activations", "src.activations")
_APPLICATION = re.compile(r"(keras|tf_keras|tensorflow)\.(\w+\.)*applications\.\w+")
_SHARED_ID = "shared_object_id"
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
    """Return an entry's class, prefixed by its package if that is not Keras: "my>Conv2D"."""
    module, registered = entry.get("module"), entry.get("registered_name")
    if _is_of_applications(entry):
        return _get_application_key(entry)
    if isinstance(registered, str) and ">" in registered:
        return registered
    package = module.partition(".")[0] if isinstance(module, str) else "keras"
    name: str = entry["class_name"]
    return name if package in _PACKAGES else f"{package}>{name}"


def _get_application_key(entry: Entry) -> str:
    return f"{APPLICATIONS}>{entry['class_name'].removeprefix('Custom>')}"


def _is_of_applications(entry: Entry) -> bool:
    """Return whether an entry is a layer of `keras.applications`.

    A user's own class may bear the same name: the module tells, where the file has one, and the
    config must have exactly the arguments of the class.
    """
    cls, config = LAYERS.get(_get_application_key(entry)), entry["config"]
    if cls is None or not isinstance(config, Mapping):
        return False
    if "module" in entry and not _APPLICATION.fullmatch(str(entry["module"])):
        return False
    parameters = inspect.signature(cls).parameters.values()
    own = {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    return config.keys() - {"name", "trainable", "dtype"} == own


def upgrade_layer_config(class_name: str, config: Entry, where: str) -> tuple[str, Entry]:
    """Return the class and the config of a layer as Keras 3 writes them."""
    class_name, config = resolve_name(class_name, config)
    try:
        if class_name in LAYERS:
            return class_name, LAYERS[class_name].upgrade_config(config)
    except ValueError as error:
        raise FileError(f"{where}: {error}") from None
    return class_name, config


def fill_data_formats(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """Give layers whose `data_format` Keras 1 or 2 left out that of the layers beside them."""
    classes = [LAYERS.get(one.class_name) for one in layers]
    formats: defaultdict[Any, set[Any]] = defaultdict(set)
    for one, cls in zip(layers, classes, strict=True):
        found = one.config.get("data_format")
        if cls is not None and isinstance(found, str):
            formats[cls.rank].add(found)
    filled = []
    for one, cls in zip(layers, classes, strict=True):
        omits = cls is not None and cls.omits_data_format and "data_format" not in one.config
        if cls is not None and omits and "data_format" in cls.arguments():
            beside = formats[cls.rank]
            given = {"data_format": next(iter(beside))} if len(beside) == 1 else {}
            one = replace(one, config={**one.config, **given})
        filled.append(one)
    return filled


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


class SharedObjects:
    """Finds the earlier entry that is the same object as an entry.

    Keras marks an object that it writes again with an identifier. Inside a model the first entry of
    the object lacks it: that is then the earlier one of the same class, name and config.
    """

    def __init__(self) -> None:
        self._by_id: dict[Any, Path] = {}
        self._earlier: defaultdict[tuple[str, str], list[tuple[Path, Any]]] = defaultdict(list)

    def find_earlier(self, entry: Entry, name: str, path: Path) -> list[Path]:
        """Return the paths of earlier entries that may be the same object; none for the first."""
        key, mark = (entry["class_name"], name), entry.get(_SHARED_ID)
        found: list[Path] = []
        if isinstance(mark, (int, str)):
            if mark in self._by_id:
                return [self._by_id[mark]]
            own = _canonical(entry["config"])
            found = [p for p, config in self._earlier[key] if _canonical(config) == own]
            self._by_id[mark] = found[0] if found else path
        if not found:
            self._earlier[key].append((path, entry["config"]))
        return found


def _canonical(config: Any) -> str:
    """Return a config as text without identifiers."""
    return json.dumps(_without_ids(config), sort_keys=True, default=repr)


def _without_ids(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_ids(v) for key, v in value.items() if key != _SHARED_ID}
    if isinstance(value, (list, tuple)):
        return [_without_ids(inner) for inner in value]
    return value
