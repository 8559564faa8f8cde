"""What the written code leaves out: regularizers and constraints, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ...layers.base.layer import Layer
from ...models.base import Model
from .names import clean_text, format_literal

_MOST_LAYERS = 4  # that are listed by name
_KINDS = ("regularizer", "constraint")


def describe_left_out(model: Model) -> list[str]:
    """Return a sentence for each regularizer and constraint, with the layers that have it."""
    layers: defaultdict[str, list[str]] = defaultdict(list)
    for path, module in model.named_modules():
        if isinstance(module, Layer):
            for text in _list_rules(module):
                layers[text].append(clean_text(path.replace(".", "/")))
    return [f"{text} of {_join_names(names)}" for text, names in layers.items()]


def _list_rules(layer: Layer) -> Iterator[str]:
    for argument in layer.arguments():
        kind = argument.rpartition("_")[2]
        rule = getattr(layer, argument, None) if kind in _KINDS else None
        if rule is not None:
            yield f"{argument} {_format_rule(rule)}"


def _format_rule(rule: Any) -> str:
    """Return the class and the numbers of a regularizer or constraint."""
    get_config = getattr(rule, "get_config", None)
    config = get_config() if callable(get_config) else {}
    numbers = {
        name: value
        for name, value in (config.items() if isinstance(config, Mapping) else ())
        if type(value) in (int, float, bool) and str(name).isidentifier()
    }
    shown = ", ".join(f"{clean_text(name)}={format_literal(one)}" for name, one in numbers.items())
    return f"{clean_text(getattr(rule, '__name__', type(rule).__name__))}({shown})"


def _join_names(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_LAYERS])
    rest = len(names) - _MOST_LAYERS
    return shown if rest <= 0 else f"{shown} and {rest} more"
