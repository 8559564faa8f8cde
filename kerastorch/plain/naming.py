"""The names of modules in the written code: attributes of its classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from .._core.registry import to_snake_case
from ..layers.base.layer import Layer
from ..models.base import Model
from ..operations.operation import Operation
from .text.names import make_identifier

# What torch's users call the modules of layers to which Keras gave their names.
_USUAL_NAMES = (
    (r"(conv|separable_conv|depthwise_conv)[123]d(_transpose)?", "conv"),
    (r"batch_normalization(_v[12])?", "bn"),
    (r"(layer|group|unit|rms)_normalization", "norm"),
    (r"dense", "linear"),
    (r"(spatial_|alpha_|gaussian_)?dropout([123]d)?", "dropout"),
    (r"(cu_dnn|cudnn)?(lstm|gru)", r"\2"),
    (r"bidirectional", "birnn"),
    (r"multi_head_attention", "attention"),
    (r"simple_rnn", "rnn"),
    (r"p_re_lu", "prelu"),
)


def name_modules(model: Model) -> dict[str, str]:
    """Return the attribute of the written class for each attribute of a model.

    Names that an author chose stay; those that Keras made, such as "conv2d_17", are numbered from
    1 with torch's usual words: "conv1".
    """
    taken: set[str] = set()
    found: dict[str, str] = {}
    automatic: list[tuple[str, str]] = []
    for name, attribute in model._attributes.items():
        layer = model._modules.get(attribute)
        usual = find_usual_name(layer, name)
        if usual is None:
            found[attribute] = make_identifier(name, taken)
            taken.add(found[attribute])
        else:
            automatic.append((attribute, usual))
    totals = Counter(usual for _, usual in automatic)
    counts: Counter[str] = Counter()
    for attribute, usual in automatic:
        counts[usual] += 1
        number = str(counts[usual]) if totals[usual] > 1 else ""
        found[attribute] = make_identifier(f"{usual}{number}", taken)
        taken.add(found[attribute])
    return found


def find_usual_name(layer: Any, name: str) -> str | None:
    """Return torch's usual word for a layer to which Keras gave its name, None for other names."""
    kinds = {"sequential", "model", "functional"} if isinstance(layer, Model) else set()
    if isinstance(layer, (Layer, Operation)):
        kind = layer.key if isinstance(layer, Operation) else type(layer).__name__
        kinds = {to_snake_case(kind)}
    base = re.sub(r"_\d+$", "", name)
    if base not in kinds:
        return None
    for pattern, usual in _USUAL_NAMES:
        if re.fullmatch(pattern, base):
            return re.sub(pattern, usual, base)
    return base


def pair_names(model: Model, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the Keras name and the written attribute of each layer."""
    return [(name, names[own]) for name, own in model._attributes.items() if own in names]
