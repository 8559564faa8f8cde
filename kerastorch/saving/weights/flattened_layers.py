"""Which layers receive feature maps that a model flattened."""

from __future__ import annotations

from ..._core.registry import LAYERS
from ...graph.spec import LayerSpec, ModelSpec, iterate_refs
from .keras_names import Names


def find_layers_after_flatten(model: ModelSpec, outer: Names = ()) -> set[Names]:
    """Return the paths of layers that receive feature maps flattened in a model."""
    before = _find_predecessors(model)
    found = set()
    for layer in model.layers:
        if layer.model is not None:
            found |= find_layers_after_flatten(layer.model, (*outer, layer.name))
        source = before.get(layer.name)
        for _ in before:  # at most: a layer that is called twice may be in a circle
            if source is None or not _has_fact(source, "keeps_flatten_order"):
                break
            source = before.get(source.name)
        if source is None or source.class_name != "Flatten":
            continue
        flattened = before.get(source.name)
        first = source.config.get("data_format") == "channels_first"
        if not first and (flattened is None or not _has_fact(flattened, "is_flat")):
            found.add((*outer, layer.name))
    return found


def _has_fact(layer: LayerSpec, fact: str) -> bool:
    """Return whether a layer's class declares a fact about itself."""
    return getattr(LAYERS.get(layer.class_name), fact, False)


def _find_predecessors(model: ModelSpec) -> dict[str, LayerSpec]:
    """Return the predecessor of each layer that has a single one."""
    layers = {layer.name: layer for layer in model.layers}
    if model.kind == "Sequential":
        return dict(zip(list(layers)[1:], model.layers, strict=False))
    before = {}
    for call in model.calls:
        sources = [ref.layer for ref in iterate_refs([*call.args, *call.kwargs.values()])]
        if len(sources) == 1 and sources[0] in layers:
            before[call.layer] = layers[sources[0]]
    return before
