"""Keras's names of a layer's weights, from its config and from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..._core.registry import LAYERS, to_snake_case
from ...graph.spec import LayerSpec
from ...layers.base.layer import Layer
from ..formats.weight_file import Weight

Names = tuple[str, ...]

# Layers that this package does not implement.
_CONVOLUTION = re.compile(r"(Depthwise)?Conv[123]D(Transpose)?")
_NOW = {  # names of Keras 1 and 2, and of TensorFlow 1
    "W": "kernel",
    "weights": "kernel",
    "biases": "bias",
    "U": "recurrent_kernel",
    "b": "bias",
    "W_carry": "carry_kernel",
    "b_carry": "carry_bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
_KERAS_1 = re.compile(
    r".+_([WUb]|[WUb]_([ifcozrh]|carry)|gamma|beta|running_mean|running_std|(depth|point)wise_kernel)"
)


def get_group_name(spec: LayerSpec) -> str:
    """Return a layer's class in snake_case, after which its group in a tree is named."""
    return to_snake_case(spec.class_name.rpartition(">")[2])


def strip_number(name: str) -> str:
    """Return a group's or layer's name without its number: "conv2d" for "conv2d_1"."""
    return re.sub(r"_[0-9]+$", "", name)


def list_weight_names(spec: LayerSpec) -> Names | None:
    """Return Keras's names of a layer's weights in its order; None if unknown."""
    own, inner = _own_names(spec.class_name, spec.config), find_activation_spec(spec)
    return own if own is None or inner is None else (*own, *(list_weight_names(inner) or ()))


def _own_names(name: str, config: Mapping[str, Any]) -> Names | None:
    if name in LAYERS:
        inner = (config.get(argument) for argument in LAYERS[name].nested_arguments)
        if not all(map(_is_known, inner)):
            return None
        try:
            found: Names = LAYERS[name].weight_names(config)
        except (AttributeError, KeyError, TypeError, ValueError):  # no layer has such a config
            return None
        return found
    if _CONVOLUTION.fullmatch(name):
        return ("kernel", "bias") if config.get("use_bias", True) else ("kernel",)
    return ("embeddings",) if name == "Embedding" else None


def _is_known(entry: Any) -> bool:
    """Return whether the layers in an argument, and those inside them, are of this package."""
    if isinstance(entry, (list, tuple)):
        return all(map(_is_known, entry))
    if entry is None:
        return True
    name = entry.get("class_name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or name not in LAYERS:  # a model or a custom class
        return False
    config = entry.get("config")
    return isinstance(config, Mapping) and all(
        _is_known(config.get(argument)) for argument in LAYERS[name].nested_arguments
    )


def find_activation_spec(spec: LayerSpec) -> LayerSpec | None:
    """Return a layer's activation if it is a layer with weights, such as PReLU."""
    found = spec.config.get("activation")
    activation = found if isinstance(found, Mapping) else {}
    class_name, config = activation.get("class_name"), activation.get("config")
    if not (isinstance(class_name, str) and isinstance(config, Mapping)):
        return None
    name = config.get("name")
    name = name if isinstance(name, str) else to_snake_case(class_name)
    inner = LayerSpec(class_name, name, config)
    return inner if list_weight_names(inner) else None


def list_kinds_with_groups() -> frozenset[str]:
    """Return the classes, in snake_case, that have weights in groups below their own."""
    found = (cls for cls in LAYERS.values() if declares_groups(cls))
    return frozenset(to_snake_case(cls.__name__) for cls in found)


def declares_groups(cls: Any) -> bool:
    """Return whether Keras stores weights of a class below the layer's own group."""
    base: Any = Layer.weight_groups
    return bool(cls.nested_arguments) or cls.weight_groups.__func__ is not base.__func__


def split_name(weight: Weight) -> tuple[Names, str | None]:
    """Return the names before a weight's own in an old file, and its own (None for a number)."""
    *before, last = weight.path.split("/")
    last = re.sub(r":[0-9]+$", "", last)
    if re.fullmatch(r"param_[0-9]+", last):
        return (), None
    found = None if before else _KERAS_1.fullmatch(last)
    name = found[1] if found else last
    return tuple(before), _NOW.get(name, name)
