"""Weights in memory: of a Keras layer or model, recognized without importing Keras, or arrays."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..._core.arrays import to_tensor
from ..._core.errors import argument_error
from ...dtype_policies import get_dtype_name
from .weight_file import SavedLayer, Weight, WeightFile, group_arrays

_KERAS = ("keras", "tf_keras", "keras_core", "tensorflow")
_MODELS = ("Sequential", "Functional", "Model")  # their configs describe the graph of layers


def is_keras_object(value: object) -> bool:
    """Return whether `value` is a layer or model of Keras 3, tf_keras or tf.keras."""
    return _find_package(value) is not None


def _find_package(value: object) -> str | None:
    """Return the package of the class `Layer` that an object is of, or None if not Keras's."""
    bases = [cls for cls in type(value).__mro__ if cls.__name__ == "Layer"]
    packages = [cls.__module__.partition(".")[0] for cls in bases]
    return next((package for package in packages if package in _KERAS), None)


def read_live_object(value: Any) -> WeightFile:
    """Return the weights of a built Keras layer or model of any backend, or of bare arrays."""
    package = _find_package(value)
    if package is None:
        return read_arrays(value)
    kind, name = type(value).__name__, value.name
    layers = tuple(_iterate_saved_layers(value, "", set()))
    if not getattr(value, "built", True) and not any(layer.weights for layer in layers):
        remedy = "Call it on a batch, or `build` it, first."
        raise ValueError(argument_error(kind, "source", "built", name, remedy))
    version = getattr(sys.modules.get(package), "__version__", None)
    return WeightFile(
        source=f"{kind} {name!r}",
        format=f"{package} object in memory",
        version=version if package != "tensorflow" else None,
        config=_config(value),
        layers=layers,
        layout="paths",
    )


def read_arrays(values: Any, source: str = "arrays") -> WeightFile:
    """Return the contents of a list of arrays, or of a dict as `group_arrays` accepts it."""

    def as_weight(path: str, name: str | None, value: Any) -> Weight:
        tensor = _to_cpu(value) if hasattr(value, "shape") else None
        if tensor is None:
            rule = "an array of real numbers"
            raise TypeError(argument_error(source, path, rule, type(value)))
        return _from_tensor(path, name, tensor)

    if not isinstance(values, (list, tuple, Mapping)):
        rule = "a path, a layer or a model of Keras, or arrays in a list or a dict"
        raise TypeError(argument_error(source, "source", rule, type(values)))
    if isinstance(values, Mapping) and not all(isinstance(key, str) for key in values):
        raise TypeError(argument_error(source, "source", "a dict by strings", list(values)[:5]))
    layers = group_arrays(values, as_weight)
    return WeightFile(source, "arrays in memory", layers, layout="paths", named_by_caller=True)


def _config(value: Any) -> Any:
    """Return a model's config as parsed JSON, or None if it does not describe the graph."""
    try:
        config = json.loads(value.to_json())
    except (AttributeError, NotImplementedError, TypeError, ValueError, RuntimeError):
        return None  # a layer, a subclassed model, or parts that are not serializable
    return config if config.get("class_name") in _MODELS else None


def _iterate_saved_layers(layer: Any, path: str, seen: set[int]) -> Iterator[SavedLayer]:
    """Yield a layer and all layers inside it, each once."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    inner = _inner_layers(layer)
    of_inner = {id(weight) for one in inner for weight in one.weights}
    own = [weight for weight in layer.weights if id(weight) not in of_inner]
    if path or own:
        yield SavedLayer(path, layer.name, tuple(_make_weight(path, weight) for weight in own))
    for one in inner:
        yield from _iterate_saved_layers(one, f"{path}/{one.name}" if path else one.name, seen)


def _inner_layers(layer: Any) -> list[Any]:
    """Return the direct sublayers: those of a model in its order, then the others."""
    listed = [*getattr(layer, "layers", ())]
    listed += layer._flatten_layers(include_self=False, recursive=False)
    return list({id(one): one for one in listed if is_keras_object(one)}.values())


def _make_weight(path: str, variable: Any) -> Weight:
    """Return a Keras variable as a weight."""
    name = variable.name.rpartition("/")[2].partition(":")[0]
    full_path = f"{path}/{name}" if path else name
    tensor = _to_cpu(variable)
    if tensor is None:
        rule, dtype = "one of real numbers", str(variable.dtype)
        raise TypeError(argument_error(full_path, "variable", rule, dtype))
    return _from_tensor(full_path, name, tensor)


def _from_tensor(path: str, name: str | None, tensor: Tensor) -> Weight:
    read = partial(tensor.clone, memory_format=torch.contiguous_format)
    return Weight(path, name, tuple(tensor.shape), get_dtype_name(tensor.dtype), read)


def _to_cpu(value: Any) -> Tensor | None:
    """Return an array or a variable of any backend as a CPU tensor, or None if not numeric."""
    inner = getattr(value, "value", None)
    if isinstance(inner, Tensor):  # Keras on torch: `numpy()` fails off the CPU
        value = inner
    elif hasattr(value, "numpy") and not isinstance(value, Tensor):
        value = value.numpy()
    found = to_tensor(value)
    return None if found is None else found.cpu()
