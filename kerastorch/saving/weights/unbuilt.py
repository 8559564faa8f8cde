"""The unbuilt layers of a model, and the input shapes that build them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...layers.base.layer import Layer
from ...models.functional import Model


def list_unbuilt_layers(model: Model) -> Iterator[tuple[str, Layer, Any]]:
    """Yield the path, layer and first input's shape or None of each unbuilt layer at any depth."""
    seen: set[int] = set()
    for path, layer, shape in _walk(model, ""):
        if not layer.built and id(layer) not in seen:
            seen.add(id(layer))
            yield path, layer, shape


def _walk(model: Model, prefix: str) -> Iterator[tuple[str, Layer, Any]]:
    shapes = model.input_shapes
    for name, layer in model.layers.items():
        path, shape = f"{prefix}{name}", shapes.get(name)
        if isinstance(layer, Model):
            yield from _walk(layer, f"{path}/")
        elif isinstance(layer, Layer):
            yield path, layer, shape
            inner = getattr(layer, "activation", None)
            if isinstance(inner, Layer):
                own: Any = layer
                after = None if shape is None else own.compute_output_shape(shape)
                yield f"{path}/activation", inner, after
