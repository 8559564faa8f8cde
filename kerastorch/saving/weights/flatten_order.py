"""Find layers that receive flattened feature maps: their weights depend on the axes' order."""

from __future__ import annotations

from collections.abc import Iterator

from ..._core.registry import LAYERS
from ...graph.spec import LayerSpec, ModelSpec, iterate_refs

Names = tuple[str, ...]


def find_layers_after_flatten(model: ModelSpec, outer: Names) -> set[Names]:
    """Return the paths of layers that receive feature maps flattened in a model."""
    layers = {layer.name: layer for layer in model.layers}
    before = dict(_list_predecessors(model))
    found = set()
    for layer in model.layers:
        if layer.model is not None:
            found |= find_layers_after_flatten(layer.model, (*outer, layer.name))
        source = _find_source(layers, before, layer.name)
        if source is not None and source.class_name == "Flatten":
            flattened = layers.get(before.get(source.name, ""))
            first = source.config.get("data_format") == "channels_first"
            if not first and (flattened is None or not _has_fact(flattened, "is_flat")):
                found.add((*outer, layer.name))
    return found


def _find_source(
    layers: dict[str, LayerSpec], before: dict[str, str], name: str
) -> LayerSpec | None:
    """Return the layer before one, skipping those that keep the order of the axes."""
    for _ in layers:
        name = before.get(name, "")
        if name not in layers or not _has_fact(layers[name], "keeps_flatten_order"):
            break
    return layers.get(name)


def _has_fact(layer: LayerSpec, fact: str) -> bool:
    """Return whether a layer's class declares a fact about itself."""
    return getattr(LAYERS.get(layer.class_name), fact, False)


def _list_predecessors(model: ModelSpec) -> Iterator[tuple[str, str]]:
    """Yield each layer that has a single predecessor, and that predecessor."""
    if model.kind == "Sequential":
        names = [layer.name for layer in model.layers]
        yield from zip(names[1:], names, strict=False)
        return
    for call in model.calls:
        sources = [ref.layer for ref in iterate_refs([*call.args, *call.kwargs.values()])]
        if len(sources) == 1:
            yield call.layer, sources[0]
