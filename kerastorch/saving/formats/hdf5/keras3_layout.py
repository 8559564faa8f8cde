"""The layout of Keras 2.12 and later: groups named after classes."""

from __future__ import annotations

from collections.abc import Iterator

from ..weight_file import SavedLayer
from .objects import Array, Group, make_error

VARS = "vars"
_LAYERS = "layers"
_OLD_LAYERS = "_layer_checkpoint_dependencies"  # Keras 2.12 to 2.14
NOT_LAYERS = ("optimizer", "metrics")


def is_keras3_layout(root: Group) -> bool:
    """Return whether a file has this layout."""
    groups = {name: found for name, found in root.members.items() if isinstance(found, Group)}
    starts = {_split_name(name)[0] for name in groups}
    return bool(starts & {VARS, _LAYERS}) or any(VARS in g.members for g in groups.values())


def is_keras2_tree(root: Group) -> bool:
    """Return whether Keras 2.12 to 2.14 wrote the file."""
    return any(_OLD_LAYERS in name.split("\\") for name in root.members)


def read_keras3_layers(source: str, root: Group) -> tuple[tuple[SavedLayer, ...], tuple[str, ...]]:
    """Return the layers, and the paths of the optimizer's and the metrics' groups."""
    layers: dict[str, SavedLayer] = {}
    ignored = []
    for layer in _walk_layers(source, root, ()):
        if layer.path.split("/")[0] in NOT_LAYERS:
            ignored.append(layer.path)
        elif layer.path in layers:
            what = "two groups for one layer, one of them with another name for `layers`"
            raise make_error(source, layer.path, what)
        else:
            layers[layer.path] = layer
    return tuple(layers.values()), tuple(ignored)


def _walk_layers(source: str, group: Group, path: tuple[str, ...]) -> Iterator[SavedLayer]:
    for name, member in group.members.items():
        if isinstance(member, Array):
            what = "an array outside of the groups `vars`, where no Keras has one"
            raise make_error(source, member.path, what)
        if name == VARS:
            yield _read_layer(source, member, "/".join(path))
        else:
            yield from _walk_layers(source, member, (*path, *_split_name(name)))


def _read_layer(source: str, group: Group, path: str) -> SavedLayer:
    weights = []
    keys = sorted(group.members, key=_sort_key)
    numbered = [key for key in keys if _sort_key(key) < (True,)]
    gap = numbered != [str(number) for number in range(len(numbered))]
    if gap and path.split("/")[0] not in NOT_LAYERS:  # a shard may hold a part of these
        what = f"arrays that are not numbered from 0 without a gap. Found: {numbered[:8]}"
        raise make_error(source, group.path, what)
    for key in keys:
        array = group.members[key]
        if isinstance(array, Group):
            raise make_error(source, array.path, "a group where Keras has the arrays of a layer")
        weights.append(array.weight(f"{path}/{VARS}/{key}".lstrip("/"), None))
    name = group.attributes.get("name")
    return SavedLayer(path, name if isinstance(name, str) else None, tuple(weights))


def _sort_key(key: str) -> tuple[bool, int, str]:
    """Sort "2" before "10", and both before names."""
    number = key.isascii() and key.isdecimal() and len(key) < 10
    return (not number, int(key) if number else 0, key)


def _split_name(name: str) -> list[str]:
    """Split a name at backslashes, which Keras once wrote on Windows, and update old names."""
    return [_LAYERS if part == _OLD_LAYERS else part for part in name.split("\\")]
