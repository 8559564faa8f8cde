"""A model as a table of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from ..graph.spec import ModelSpec, iterate_refs

_TITLES = ("Layer (type)", "Output shape", "Params", "Connected to")
_INDENT = "  "


def format_summary(model: Any, kind: type[nn.Module]) -> str:
    """Return a table of a model's layers and totals; layers of nested models are indented."""
    rows = [_TITLES, *_rows(model, model._given, "", kind)]
    connected = any(row[3] for row in rows[1:])
    columns = list(zip(*rows, strict=True))[: 4 if connected else 3]
    widths = [max(map(len, column)) for column in columns]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [
        "  ".join(
            cell.rjust(width) if column == 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]
    title = f"{type(model).__name__} {model.name!r}"
    return "\n".join([title, rule, lines[0], rule, *lines[1:], rule, *_totals(model)])


def _rows(
    model: Any, given: Any, indent: str, kind: type[nn.Module]
) -> Iterator[tuple[str, str, str, str]]:
    sources, layers = _sources(model.spec), model.layers
    inputs, outputs = model._known_shapes(given)
    for name in model._attributes:
        layer = layers.get(name)
        shape = _shown(outputs[name]) if name in outputs else "?"
        shown, count = ("missing", "") if layer is None else (_kind(layer), _count(layer))
        yield f"{indent}{name} ({shown})", shape, count, ", ".join(sources.get(name, ()))
        if isinstance(layer, kind):
            yield from _rows(layer, inputs.get(name), indent + _INDENT, kind)


def _kind(layer: nn.Module) -> str:
    return str(getattr(layer, "key", type(layer).__name__))


def _sources(spec: ModelSpec) -> dict[str, list[str]]:
    """Return the tensors that each layer is called on, in Keras's notation."""
    found: dict[str, list[str]] = {}
    for call in spec.calls:
        tensors = iterate_refs([list(call.args), call.kwargs])
        named = [f"{ref.layer}[{ref.call}][{ref.index}]" for ref in tensors]
        found.setdefault(call.layer, []).extend(named)
    return found


def _shown(shape: Any) -> str:
    if isinstance(shape, tuple):
        return str(tuple(shape))
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in shape.items()) + "}"
    return "[" + ", ".join(map(_shown, shape)) + "]"


def _count(layer: nn.Module) -> str:
    tensors = [*layer.parameters(), *layer.buffers()]
    return "not built" if any(map(is_lazy, tensors)) else f"{_size(tensors):,}"


def _size(tensors: list[Any]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _totals(model: nn.Module) -> list[str]:
    weights = [*model.parameters(), *_kept_buffers(model)]
    if any(map(is_lazy, weights)):
        return ["Total params: not built yet"]
    trained = [weight for weight in weights if weight.requires_grad]
    total, trainable = _size(weights), _size(trained)
    return [
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
    ]


def _kept_buffers(model: nn.Module) -> list[Any]:
    """Return the persistent buffers, which are weights of Keras, each once."""
    found: dict[int, Any] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                found[id(buffer)] = buffer
    return list(found.values())
