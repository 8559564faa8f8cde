"""Arrays that come without layers: in a list by their order, in a dict by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .weight_file import SavedLayer, Weight

# Path and name of an array, and the array -> what reads it. It refuses what is no array.
AsWeight = Callable[[str, str | None, Any], Weight]


def grouped(values: Any, as_weight: AsWeight) -> tuple[SavedLayer, ...]:
    """Return the layers that arrays make up.

    Args:
        values: A list of arrays, which make up one layer without a path; or a dict by path. An
            array's path is its layer's and its name: "conv2d/kernel"; a layer's path may have a
            list of arrays or a dict of them by name.
        as_weight: What makes a weight of an array.
    """
    if not isinstance(values, Mapping):
        return (SavedLayer("", None, _listed("", values, as_weight)),)
    found: dict[str, list[Weight]] = {}
    for path, value in values.items():
        if isinstance(value, (list, tuple)):
            found.setdefault(path, []).extend(_listed(f"{path}/", value, as_weight))
            continue
        inner = value.items() if isinstance(value, Mapping) else ((None, value),)
        for name, array in inner:
            whole = path if name is None else f"{path}/{name}"
            parent, _, last = whole.rpartition("/")
            found.setdefault(parent, []).append(as_weight(whole, last.removesuffix(":0"), array))
    return tuple(
        SavedLayer(path, path.rpartition("/")[2] or None, tuple(weights))
        for path, weights in found.items()
    )


def _listed(prefix: str, values: Any, as_weight: AsWeight) -> tuple[Weight, ...]:
    return tuple(as_weight(f"{prefix}{i}", None, value) for i, value in enumerate(values))
