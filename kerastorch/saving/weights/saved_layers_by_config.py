"""Group the arrays of a source by layer, with the config of its model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from ..._core.registry import LAYERS
from ...graph.spec import LayerSpec, ModelSpec
from ..formats.weight_file import SavedLayer, Weight, WeightFile
from .flattened_layers import find_layers_after_flatten
from .keras_names import Names as Names
from .keras_names import (
    find_activation_spec,
    get_group_name,
    list_kinds_with_groups,
    list_weight_names,
    split_name,
    strip_number,
)
from .saved_layers import SourceLayer as SourceLayer
from .saved_layers import SourceLayers as SourceLayers
from .saved_layers import (
    group_without_config,
    make_natural_key,
    name_weight,
    put_below,
    update_names,
)


def group_by_layer(contents: WeightFile, spec: ModelSpec | None = None) -> SourceLayers:
    """Return the layers of a source.

    The config, where known, says what the source does not: the order of the layers in a tree, and
    which weights of a nested model in one group belong to which layer.
    """
    if spec is None or contents.named_by_caller:
        return group_without_config(contents)
    grouped = _Grouping(contents)
    if contents.layout == "classes":
        found = list(grouped.assign_keras3(spec, "", ()))
    elif contents.layout == "paths":
        found = list(grouped.assign_live(spec, ()))
    elif contents.layout == "positions":
        found = list(grouped.assign_positions(spec, "", ()))
    elif contents.layout == "scopes":
        leaves = [leaf for one in _list_own_layers(spec) for leaf in _list_leaves(one, ())]
        found = list(grouped.split_group(contents.layers[0], leaves))
    else:
        found = list(grouped.assign_legacy(spec))
    rest = [layer for layer in contents.layers if layer.path not in grouped.used]
    left = group_without_config(replace(contents, layers=tuple(rest))).layers
    marked = find_layers_after_flatten(spec)
    known = (replace(one, flattened=one.names in marked) for one in found if one.weights)
    ordered = not left or (contents.layout != "classes" and contents.in_order)
    return SourceLayers((*known, *left), ordered, crossed=tuple(grouped.crossed))


class _Grouping:
    """Assigns the groups of a source to the layers of a config, each once."""

    def __init__(self, contents: WeightFile) -> None:
        self.layers = {layer.path: layer for layer in contents.layers}
        self.used: set[str] = set()
        self.crossed: list[str] = []
        self.below: dict[str, list[str]] = {}  # a path -> the paths below it
        for path in self.layers:
            parts = path.split("/")
            for end in range(1, len(parts)):
                self.below.setdefault("/".join(parts[:end]), []).append(path)

    def _take(self, *paths: str) -> tuple[Weight, ...]:
        """Return the weights of a layer's group and of those of its activations."""
        self.used.update(paths)
        groups = [self.layers[path] for path in paths if path in self.layers]
        return tuple(weight for group in groups for weight in group.weights)

    def _take_tree(
        self, path: str, below: Iterable[str], *, in_order: bool = False
    ) -> tuple[Weight, ...]:
        """Return the weights of a layer's group and of groups below it, with their paths."""
        paths = [path, *(below if in_order else sorted(below, key=make_natural_key))]
        self.used.update(paths)
        groups = [self.layers[one] for one in paths if one in self.layers]
        return tuple(weight for group in groups for weight in put_below(group, path))

    def assign_keras3(self, model: ModelSpec, prefix: str, names: Names) -> Iterator[SourceLayer]:
        """Yield the layers of a model from its groups, which are named after classes."""
        container = f"{prefix}layers"
        groups = self._list_groups(container)
        pairs = [(spec, f"{container}/{group}") for spec, group in _match_groups(model, groups)]
        saved = {path: self.layers[path].name for _, path in pairs if path in self.layers}
        if {saved.get(path) for _, path in pairs} == {spec.name for spec, _ in pairs}:
            self.crossed += [path for spec, path in pairs if saved.get(path) != spec.name]
        paths = {spec.name: path for spec, path in pairs}
        for spec, path in [*pairs, *_find_wrapped_models(model, paths)]:
            inner = (*names, spec.name)
            if spec.model is not None:
                yield from self.assign_keras3(spec.model, f"{path}/", inner)
                continue
            below_it = self.below.get(path, ())
            parts_of_it = below_it if spec.class_name in LAYERS else _keep_activations(below_it)
            weights, kind = self._take_tree(path, parts_of_it), get_group_name(spec)
            for argument, name in () if weights else _list_wrapped(spec):
                weights += self._share(argument, paths.get(name))  # of a model that came first
            yield SourceLayer(inner, path, _add_names(weights, spec), kind, spec, container)
            for below in below_it:
                if below not in self.used:  # a layer inside a custom layer
                    parts = below.removeprefix(f"{path}/").split("/")
                    yield SourceLayer((*inner, *parts), below, self._take(below))

    def _share(self, argument: str, path: str | None) -> tuple[Weight, ...]:
        """Return the weights of a model for the wrapper that has it as an argument, too."""
        if path is None:
            return ()
        found = self._take_tree(path, self.below.get(path, ()))
        return tuple(replace(weight, group=f"{argument}/{weight.group}") for weight in found)

    def _list_groups(self, container: str) -> dict[str, bool]:
        """Return the names of the groups in a container, and whether they have weights."""
        groups: dict[str, bool] = {}
        for path in self.below.get(container, ()):
            name = path[len(container) + 1 :].partition("/")[0]
            groups[name] = groups.get(name, False) or bool(self.layers[path].weights)
        return groups

    def _is_there(self, path: str) -> bool:
        return path in self.layers or path in self.below

    def assign_live(
        self, model: ModelSpec, names: Names, outer: Names = ()
    ) -> Iterator[SourceLayer]:
        """Yield the layers of a live model, whose paths consist of names, below `outer`."""
        own = _list_own_layers(model)
        every = {spec.name: "/".join((*outer, spec.name)) for spec in own}
        paths = {name: path for name, path in every.items() if self._is_there(path)}
        for spec, path in _find_wrapped_models(model, paths, by_name=True):
            paths[spec.name] = path
        for spec in own:
            inner, path = (*names, spec.name), paths.get(spec.name, every[spec.name])
            if spec.model is not None:
                if path not in self.layers or not self.layers[path].weights:
                    self.used.add(path)
                yield from self.assign_live(spec.model, inner, (*path.split("/"),))
                continue
            groups, activation = [path], find_activation_spec(spec)
            while activation is not None:
                groups.append(f"{groups[-1]}/{activation.name}")
                activation = find_activation_spec(activation)
            if get_group_name(spec) in list_kinds_with_groups():
                weights = self._take_tree(path, self.below.get(path, ()), in_order=True)
                for argument, name in () if weights else _list_wrapped(spec):
                    weights += self._share(argument, paths.get(name))
            else:
                weights = self._take(*groups)
            yield SourceLayer(inner, path, weights, get_group_name(spec), spec)

    def assign_legacy(self, model: ModelSpec) -> Iterator[SourceLayer]:
        """Yield the layers of a model from its groups, which are named after its layers."""
        for spec in model.layers:
            if spec.operation or spec.name not in self.layers:
                continue
            group = self.layers[spec.name]
            if spec.model is not None and spec.alias is None:
                yield from self.split_group(group, list(_list_leaves(spec, ())))
                continue
            self.used.add(spec.name)
            if spec.alias is None:
                weights = tuple(name_weight(group, weight) for weight in group.weights)
                yield SourceLayer((spec.name,), group.path, weights, get_group_name(spec), spec)

    def assign_positions(
        self, model: ModelSpec, prefix: str, names: Names
    ) -> Iterator[SourceLayer]:
        """Yield the layers of a model from its groups, which are numbered as in the config."""
        skipped = ("InputLayer",) if model.kind == "Sequential" else ()  # no number since TF 2.2
        layers = [spec for spec in model.layers if spec.class_name not in skipped]
        start = int(bool(skipped) and self._is_there(f"{prefix}layer-{len(layers)}"))
        pairs = [(spec, f"{prefix}layer-{k}") for k, spec in enumerate(layers, start)]
        self._note_crossed(pairs)
        for spec, path in pairs:
            inner = (*names, spec.name)
            if spec.model is not None:
                yield from self.assign_positions(spec.model, f"{path}/", inner)
                continue
            weights = self._take_tree(path, self.below.get(path, ()), in_order=True)
            weights = update_names(weights)
            if spec.alias is None:
                yield SourceLayer(inner, path, weights, get_group_name(spec), spec)

    def _note_crossed(self, pairs: Sequence[tuple[LayerSpec, str]]) -> None:
        """Note groups whose variables have the names of the config's layers in another order."""
        known = {spec.name for spec, _ in pairs}
        saved: dict[str, set[str]] = {}  # the names of layers in those of variables
        for spec, path in pairs:
            groups = [
                self.layers[one] for one in (path, *self.below.get(path, ())) if one in self.layers
            ]
            scopes = [group.name or "" for group in groups if group.weights]
            if spec.model is None and scopes:
                saved[path] = {part for scope in scopes for part in scope.split("/")} & known
        own = {path: {spec.name} for spec, path in pairs if path in saved}
        if sorted(map(sorted, saved.values())) == sorted(map(sorted, own.values())):
            self.crossed += [path for path in saved if saved[path] != own[path]]

    def split_group(
        self, group: SavedLayer, leaves: Sequence[tuple[Names, LayerSpec, bool]]
    ) -> Iterator[SourceLayer]:
        """Yield layers whose weights are all in one group; none if it is not clear which is whose.

        The names of a layer, and of some models around it, are before those of its weights.
        """
        # Keras 3.0 to 3.2 has only the weights' own names, without those of the layers.
        by_key: dict[str, set[Names]] = {}  # the ends of what precedes ":name", or that
        kinds = list_kinds_with_groups()
        grouped = {spec.name for _, spec, _ in leaves if get_group_name(spec) in kinds}
        for names, spec, _ in leaves:
            activation = find_activation_spec(spec)
            ends = [spec.name, *([f"{spec.name}/{activation.name}"] if activation else [])]
            for key in (*ends, *(f":{name}" for name in list_weight_names(spec) or ())):
                by_key.setdefault(key, set()).add(names)
        found: dict[Names, list[Weight]] = {}
        for weight in group.weights:
            prefix, own = split_name(weight)
            prefix = _cut_inner_names(prefix, grouped)
            keys = ["/".join(prefix[start:]) for start in range(len(prefix))] or [f":{own}"]
            fitting = {names for key in keys for names in by_key.get(key, ())}
            longest = max((_count_common(names, prefix) for names in fitting), default=0)
            best = [names for names in fitting if _count_common(names, prefix) == longest]
            if len(best) != 1:
                return
            found.setdefault(best[0], []).append(name_weight(group, weight))
        self.used.add(group.path)
        for names, spec, is_alias in leaves:
            if names in found and not is_alias:
                path, kind = "/".join(names), get_group_name(spec)
                yield SourceLayer(names, path, tuple(found[names]), kind, spec)


def _cut_inner_names(prefix: Names, grouped: Collection[str]) -> Names:
    """Leave out what follows the name of a layer with layers inside, which are parts of it."""
    ends = [end for end, name in enumerate(prefix, 1) if name in grouped]
    return prefix[: ends[0]] if ends else prefix


def _list_wrapped(spec: LayerSpec) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a wrapper that hold a layer or model, and the names of these."""
    kind = LAYERS.get(spec.class_name)
    for argument in kind.nested_arguments if kind else ():
        entry = spec.config.get(argument)
        config = entry.get("config") if isinstance(entry, Mapping) else None
        if isinstance(config, Mapping) and isinstance(config.get("name"), str):
            yield argument, config["name"]


def _find_wrapped_models(
    model: ModelSpec, paths: Mapping[str, str], *, by_name: bool = False
) -> Iterator[tuple[LayerSpec, str]]:
    """Yield models without a group that a wrapper, which Keras wrote first, has in its own."""
    inside = {
        name: f"{paths[spec.name]}/{name if by_name else argument}"
        for spec in model.layers
        for argument, name in _list_wrapped(spec)
        if spec.name in paths
    }
    for spec in _list_own_layers(model):
        if spec.model is not None and spec.name not in paths and spec.name in inside:
            yield spec, inside[spec.name]


def _keep_activations(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path.rpartition("/")[2] == "activation"]


def _list_own_layers(model: ModelSpec) -> list[LayerSpec]:
    """Return the layers that own weights: no operations, no aliases."""
    return [layer for layer in model.layers if not layer.operation and layer.alias is None]


def _match_groups(model: ModelSpec, groups: Mapping[str, bool]) -> list[tuple[LayerSpec, str]]:
    """Return each layer of a model with its group; a class whose count differs is left out."""
    # Groups are numbered in the model's order, in each version of Keras with other gaps.
    layers = _list_own_layers(model)
    by_kind: dict[str, list[LayerSpec]] = {}
    for layer in layers:
        by_kind.setdefault(get_group_name(layer), []).append(layer)
    of_kind: dict[str, list[str]] = {}
    for group in groups:
        for kind in {group, strip_number(group)} & by_kind.keys():
            of_kind.setdefault(kind, []).append(group)
    found: dict[str, str] = {}
    for kind, specs in by_kind.items():
        named = sorted(of_kind.get(kind, ()), key=make_natural_key)
        filled = [group for group in named if groups[group]]
        weighty = [layer for layer in specs if list_weight_names(layer) != ()]
        for ours, theirs in ((specs, named), (specs, filled), (weighty, filled)):
            if len(ours) == len(theirs):
                found.update((a.name, b) for a, b in zip(ours, theirs, strict=True))
                break
    return [(layer, found[layer.name]) for layer in layers if layer.name in found]


def _list_leaves(
    spec: LayerSpec, outer: Names, is_alias: bool = False
) -> Iterator[tuple[Names, LayerSpec, bool]]:
    """Yield the layers inside a model, and whether each is part of an alias."""
    names, is_alias = (*outer, spec.name), is_alias or spec.alias is not None
    if spec.model is None:
        yield names, spec, is_alias
    for inner in spec.model.layers if spec.model else ():
        if not inner.operation:
            yield from _list_leaves(inner, names, is_alias)


def _count_common(names: Names, prefix: Names) -> int:
    """Return how many names, from the end, two paths have in common."""
    pairs = zip(reversed(names), reversed(prefix), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _add_names(weights: tuple[Weight, ...], spec: LayerSpec) -> tuple[Weight, ...]:
    """Return a tree's weights with the names of the config, if their number agrees."""
    names = list_weight_names(spec)
    inside = {weight.group for weight in weights if weight.group.rpartition("/")[2] != "activation"}
    if names is None or len(names) != len(weights) or len(inside) > 1:
        return weights
    return tuple(replace(w, name=name) for w, name in zip(weights, names, strict=True))
