"""Grouping of bare arrays into layers: a list by order, a dict by path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .weight_file import SavedLayer, Weight

# (path, name, array) -> Weight; raises if the value is not an array.
AsWeight = Callable[[str, str | None, Any], Weight]


def group_arrays(values: Any, as_weight: AsWeight) -> tuple[SavedLayer, ...]:
    """Group arrays into layers.

    A list is one layer without a path. A dict maps "layer/array" to an array, or a layer's path
    to a list of arrays or a dict of them by name.
    """
    if not isinstance(values, Mapping):
        return (SavedLayer("", None, _list_weights("", values, as_weight)),)
    found: dict[str, list[Weight]] = {}
    for path, value in values.items():
        if isinstance(value, (list, tuple)):
            found.setdefault(path, []).extend(_list_weights(f"{path}/", value, as_weight))
            continue
        named = value.items() if isinstance(value, Mapping) else ((None, value),)
        for name, array in named:
            full_path = path if name is None else f"{path}/{name}"
            layer, _, last = full_path.rpartition("/")
            found.setdefault(layer, []).append(as_weight(full_path, last.removesuffix(":0"), array))
    return tuple(
        SavedLayer(path, path.rpartition("/")[2] or None, tuple(weights))
        for path, weights in found.items()
    )


def _list_weights(prefix: str, values: Any, as_weight: AsWeight) -> tuple[Weight, ...]:
    return tuple(as_weight(f"{prefix}{i}", None, value) for i, value in enumerate(values))
