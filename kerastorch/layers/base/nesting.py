"""Layers as arguments of layers: what `layer`, `cell` and the like accept, and their configs.

A list of them, such as `cells`, is accepted wherever one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..._core.errors import argument_error
from ..._core.registry import LAYERS, Registry, resolve_name

_LAYERS: Registry[nn.Module] = Registry("layer", "keras.layers", {}, layers=LAYERS)


def get(identifier: Any) -> Any:
    """Return a module unchanged, the layer that a config's entry describes, or None.

    Raises:
        ValueError: It is neither, or the entry's layer is unknown.
        TypeError: The entry is of another package, or its config is invalid.
    """
    if identifier is None or isinstance(identifier, nn.Module):
        return identifier
    if isinstance(identifier, (list, tuple)):
        return [get(one) for one in identifier]
    if isinstance(identifier, dict):
        return deserialize(identifier)
    rule = "a layer, another torch module or a config's entry"
    raise ValueError(argument_error("layer", "identifier", rule, identifier))


def serialize(layer: Any) -> Any:
    """Return the entry that Keras 3 writes for a layer that is not built.

    Raises:
        ValueError: It is a module without `get_config`.
    """
    if isinstance(layer, (list, tuple, nn.ModuleList)):
        return [_LAYERS.serialize(one) for one in layer]
    return _LAYERS.serialize(layer)


def deserialize(
    entry: Any, custom_objects: Mapping[str, Any] | None = None, keras_2: bool = False
) -> Any:
    """Return the layer that an entry of any Keras describes; `custom_objects` come first.

    A module is returned unchanged.

    Args:
        entry: A dict of `class_name` and `config`, or None; it is not modified.
        custom_objects: Your own names -> functions or classes.
        keras_2: Whether the layer computes what Keras 1 and 2 do, where that differs.

    Raises:
        ValueError: The layer is unknown, or the entry is malformed.
        TypeError: The entry is of another package, or its config is invalid.
    """
    if entry is None or isinstance(entry, nn.Module):
        return entry
    if isinstance(entry, (list, tuple)):
        return [deserialize(one, custom_objects, keras_2) for one in entry]
    name = entry.get("class_name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or not isinstance(entry.get("config"), Mapping):
        rule = "a dict with a `class_name` and a `config`"
        raise ValueError(argument_error("layer", "entry", rule, entry))
    if any(one in (custom_objects or {}) for one in (name, entry.get("registered_name"))):
        return _require_module(_LAYERS.deserialize(dict(entry), custom_objects))
    name, given = resolve_name(name, entry["config"])
    if name not in LAYERS:
        remedy = "Your own layers go in `custom_objects`."
        raise ValueError(argument_error("layer", "class_name", "a known layer", name, remedy))
    config = dict(given)
    if keras_2 and LAYERS[name].differs_in_keras_2:
        config["keras_2"] = True
    return _LAYERS.deserialize({**entry, "class_name": name, "config": config}, custom_objects)


def _require_module(found: Any) -> nn.Module:
    """Return what `custom_objects` made, or raise if it is no module."""
    if isinstance(found, nn.Module):
        return found
    rule = "names of layer classes"
    raise TypeError(argument_error("layer", "custom_objects", rule, found))
