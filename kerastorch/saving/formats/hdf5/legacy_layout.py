"""The layout before Keras 3: groups named after layers, listed in the model's order."""

from __future__ import annotations

from ..weight_file import SavedLayer
from .objects import Array, Group, make_error

MODEL = "model_weights"
CONFIG = "model_config"
_LAYERS, _WEIGHTS = "layer_names", "weight_names"
_COUNT, _LAYER_COUNT = "nb_params", "nb_layers"  # before Keras 1
_MODEL_WEIGHTS = "top_level_model_weights"


def find_weights_group(root: Group) -> Group | None:
    """Return the group of the layers: the root, or a member of a saved model; None if absent."""
    if any(name in root.attributes for name in (_LAYERS, f"{_LAYERS}0", _LAYER_COUNT)):
        return root
    group = root.members.get(MODEL)
    return group if isinstance(group, Group) else None


def read_legacy_layers(source: str, group: Group) -> tuple[tuple[SavedLayer, ...], tuple[str, ...]]:
    """Return the layers, and the paths of the arrays that belong to no layer."""
    used: set[str] = set()
    listed, _ = _list_members(source, group, _LAYER_COUNT, "layer", _LAYERS)
    if len(set(listed)) != len(listed):
        what = f"two layers with the same name. Found: {list(listed[:8])} and so on"
        raise make_error(source, f"{group.path}@{_LAYERS}", what)
    layers = [_read_layer(source, group, name, used) for name in listed]
    own = group.members.get(_MODEL_WEIGHTS)
    if _MODEL_WEIGHTS not in listed and isinstance(own, Group) and any(own.arrays()):
        layers.append(_read_layer(source, group, _MODEL_WEIGHTS, used))
    return tuple(layers), tuple(a.path for a in group.arrays() if a.path not in used)


def _read_layer(source: str, parent: Group, name: str, used: set[str]) -> SavedLayer:
    group = parent.find(name.split("/"))
    if not isinstance(group, Group):
        raise make_error(source, parent.path, f"no group of the layer {name!r} that the file lists")
    listed, is_named = _list_members(source, group, _COUNT, "param", _WEIGHTS)
    weights = []
    for full in listed:
        array = group.find(full.split("/"))
        if not isinstance(array, Array) or array.path in used:
            what = f"no array of the weight {full!r} that the file lists, or a second time"
            raise make_error(source, group.path, what)
        used.add(array.path)
        bare = full.rsplit("/", 1)[-1].removesuffix(":0") if is_named else None
        weights.append(array.weight(full, bare))
    return SavedLayer(name, name if is_named else None, tuple(weights))


def _list_members(
    source: str, group: Group, counter: str, prefix: str, attribute: str
) -> tuple[tuple[str, ...], bool]:
    """Return the members in order, and whether the file names them (it counts them if not)."""
    count = group.attributes.get(counter)
    if count is None:
        return _read_names(source, group, attribute), True
    if not isinstance(count, int) or not 0 <= count <= len(group.members):
        what = f"a count of layers or weights that are not there. Found: {count!r}"
        raise make_error(source, group.path, what)
    return tuple(f"{prefix}_{k}" for k in range(count)), False


def _read_names(source: str, group: Group, attribute: str) -> tuple[str, ...]:
    """Return the names in an attribute, which Keras splits if they are long."""
    names = group.attributes.get(attribute)
    if names is None and f"{attribute}0" in group.attributes:
        count = sum(name.startswith(attribute) for name in group.attributes)
        parts = [group.attributes.get(f"{attribute}{number}") for number in range(count)]
        if None in parts:
            following = parts.index(None)
            what = f"a list of names `{attribute}` in parts, of which {following} follow another"
            raise make_error(source, group.path, what)
        names = tuple(name for part in parts if isinstance(part, tuple) for name in part)
    if not isinstance(names, tuple):
        what = f"no list of names `{attribute}`. Found: {str(names)[:100]!r}"
        raise make_error(source, group.path, what)
    return names
