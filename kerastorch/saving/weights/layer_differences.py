"""Where a layer of kerastorch computes something else than the layer that a config describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ... import activations
from ..._core.config_arrays import plain
from ..._core.errors import shown
from ...activations.serialization import KERAS_2_NAMES
from ...graph.shapes import ERRORS
from ...graph.spec import LayerSpec
from ...layers.base.config import NOT_IN_CONFIG
from ...layers.base.layer import Layer
from .keras_names import weight_names
from .torch_modules import is_equal

# Arguments that do not change the outputs, or not alone: `data_format` is the inputs' as well.
_NOT_COMPARED = (*NOT_IN_CONFIG, "data_format", "axis", "lora_rank", "lora_alpha")
_STEP = 37  # so that a few of the values below are of all sizes


def find_layer_differences(
    layer: Layer, spec: LayerSpec, custom: Mapping[str, Any]
) -> Iterator[str]:
    """Yield each argument by which a layer computes something else than a saved one.

    Args:
        layer: The layer.
        spec: The saved layer's class and config.
        custom: The caller's own classes and functions by name; None for what makes modules.
    """
    classes = type(layer).__mro__
    base: Any = next((cls for cls in classes if cls.__name__ == spec.class_name), None)
    if base is None:
        if weight_names(spec) is not None:  # else a class of the user's own, which it stands for
            yield f"it is a {classes[0].__name__}, where the source has a {spec.class_name}"
        return
    if "activation" in base.arguments():
        yield from _compare_activations(layer, spec, custom)
    config = {n: value for n, value in spec.config.items() if n == "axis" or _is_compared(base, n)}
    try:
        saved = base.from_config(config).get_config()
    except (TypeError, ValueError):  # a config that the class does not take
        return
    own = _config_of(layer)
    for name, value in saved.items():
        if _is_compared(base, name) and name in own and not is_equal(own[name], value):
            yield f"{name}={shown(own[name])}, where the source has {shown(value)}"


def _is_compared(cls: type[Layer], argument: str) -> bool:
    return argument not in _NOT_COMPARED and argument not in cls.argument_namespaces


def _config_of(layer: Layer) -> dict[str, Any]:
    """Return a layer's config; without the functions where no config can name one of them."""
    try:
        return layer.get_config()
    except (TypeError, ValueError):
        names = [name for name in layer.arguments() if name not in layer.argument_namespaces]
        return {name: plain(getattr(layer, name)) for name in names if hasattr(layer, name)}


# Activations: what two functions compute counts, and not what they are called


def _compare_activations(layer: Any, spec: LayerSpec, custom: Mapping[str, Any]) -> Iterator[str]:
    own, given = layer.activation, spec.config.get("activation")
    names = _names_of(given)
    if any(name in custom and custom[name] is None for name in names):
        return  # a module that the caller made
    objects = {**(KERAS_2_NAMES if spec.keras2 else {}), **custom}
    try:
        saved = activations.get(activations.deserialize(given, objects))
    except ERRORS:  # not one of Keras's, so that only its name is known
        if _is_built_in(own):
            yield f"activation={_title(own)}, where the source has {shown(names[0])}"
        return
    if isinstance(own, Layer) and isinstance(saved, Layer):
        inner: Any = given  # only a dict describes a layer
        inner_spec = replace(spec, class_name=type(saved).__name__, config=inner["config"])
        for difference in find_layer_differences(own, inner_spec, custom):
            yield f"activation: {difference}"
        return
    if own is saved or (type(own) is type(saved) and type(saved) in custom.values()):
        return
    channels = getattr(layer, "units", getattr(layer, "filters", None))
    if not _computes_the_same(own, saved, channels):
        yield f"activation={_title(own)}, where the source has {_title(saved)}"


def _names_of(given: Any) -> list[str]:
    """Return the names by which a config may mean a function or class of the user's."""
    if isinstance(given, Mapping):
        found = [given.get("registered_name"), given.get("class_name"), given.get("config")]
    else:
        found = [given]
    names = [name for name in found if isinstance(name, str) and name != "function"]
    return [*names, *(name.rpartition(">")[2] for name in names)] or ["a function"]


def _is_built_in(activation: Any) -> bool:
    return isinstance(activation, Layer) or _name_of(activation) is not None


def _name_of(activation: Any) -> str | None:
    """Return Keras's name of a function, or None where it is not one of Keras's."""
    try:
        found = activations.serialize(activation)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def _title(activation: Any) -> str:
    name = _name_of(activation)
    if name is not None:
        return repr(name)
    own = getattr(activation, "__name__", None)
    return own if isinstance(own, str) else shown(activation)


def _computes_the_same(own: Any, saved: Any, channels: int | None) -> bool:
    """Return whether two activations agree on a few values, in a shape that both take."""
    # Small values close together, where curves bend, and large ones, where limits are.
    probes = [n / 8 for n in range(-44, 45)]
    probes += [sign * n for n in (7, 9, 11, 25, 120, 900) for sign in (-1, 1)]
    shapes: list[tuple[int, ...]] = [(2, 3, 4, 5)]
    if channels is not None:
        shapes += [(64, channels), (4, channels, 2, channels)]
    for shape in shapes:
        order = (n * _STEP % len(probes) for n in range(prod(shape)))
        values = torch.tensor([probes[n] for n in order], dtype=torch.float32, device="cpu")
        values = values.reshape(shape)
        try:
            with torch.no_grad():
                outputs = [
                    (one.forward if isinstance(one, nn.Module) else one)(values.clone())
                    for one in (own, saved)
                ]
        except Exception:  # whatever the user's own code raises of a shape
            continue
        return _are_close(*outputs)
    return False


def _are_close(left: Any, right: Any) -> bool:
    if not (isinstance(left, Tensor) and isinstance(right, Tensor)) or left.shape != right.shape:
        return False
    return torch.allclose(left.to(right), right, rtol=1e-5, atol=1e-5, equal_nan=True)
