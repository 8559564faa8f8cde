"""A model as a table of its layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from ..graph.spec import iterate_refs

_TITLES = ("Layer (type)", "Output shape", "Params", "Connected to")
_ALIGNMENT = "<<><"
_INDENT = "  "


def format_summary(model: Any, kind: type[nn.Module]) -> str:
    """Return a table of a model's layers and totals; layers of nested models are indented."""
    rows = [_TITLES, *_rows(model, model._given, "", kind)]
    connected = any(row[3] for row in rows[1:])
    columns = list(zip(*rows, strict=True))[: 4 if connected else 3]
    widths = [max(map(len, column)) for column in columns]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = []
    for row in rows:
        cells = zip(row, _ALIGNMENT, widths, strict=False)
        lines.append("  ".join(f"{cell:{align}{width}}" for cell, align, width in cells).rstrip())
    title = f"{type(model).__name__} {model.name!r}"
    return "\n".join([title, rule, lines[0], rule, *lines[1:], rule, *_totals(model)])


def _rows(model: Any, given: Any, indent: str, kind: type[Any]) -> Iterator[tuple[str, ...]]:
    layers = model.layers
    inputs, outputs = model._known_shapes(given)
    sources: defaultdict[str, list[str]] = defaultdict(list)  # in Keras's notation
    for call in model.spec.calls:
        refs = iterate_refs(call.arguments)
        sources[call.layer] += [f"{ref.layer}[{ref.call}][{ref.index}]" for ref in refs]
    for name in model._attributes:
        layer = layers.get(name)
        shown, count = "missing", ""
        if layer is not None:
            shown = getattr(layer, "key", type(layer).__name__)
            tensors = [*layer.parameters(), *layer.buffers()]
            count = "not built" if any(map(is_lazy, tensors)) else f"{_count(tensors):,}"
        shape = _format_shape(outputs[name]) if name in outputs else "?"
        yield f"{indent}{name} ({shown})", shape, count, ", ".join(sources[name])
        if isinstance(layer, kind):
            yield from _rows(layer, inputs.get(name), indent + _INDENT, kind)


def _format_shape(shape: Any) -> str:
    if isinstance(shape, tuple):
        return str(tuple(shape))
    if isinstance(shape, dict):
        inner = (f"{key}: {_format_shape(one)}" for key, one in shape.items())
        return "{" + ", ".join(inner) + "}"
    return "[" + ", ".join(map(_format_shape, shape)) + "]"


def _count(tensors: Iterable[Any]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _totals(model: nn.Module) -> list[str]:
    buffers = {  # those that are weights of Keras, each once
        id(buffer): buffer
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    }
    weights = [*model.parameters(), *buffers.values()]
    if any(map(is_lazy, weights)):
        return ["Total params: not built yet"]
    total, trainable = _count(weights), _count(one for one in weights if one.requires_grad)
    return [
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
    ]
