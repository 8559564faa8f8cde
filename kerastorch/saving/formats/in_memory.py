"""Weights that are in memory already: a Keras layer or model, or bare arrays.

Nothing of Keras is imported: what a Keras object is, its classes' modules say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..._core.arrays import from_array
from ..._core.errors import problem
from ...dtype_policies import name_of
from .grouped_arrays import grouped
from .weight_file import Contents, SavedLayer, Weight

_KERAS = ("keras", "tf_keras", "keras_core", "tensorflow")
_MODELS = ("Sequential", "Functional", "Model")  # whose config says how their layers are wired


def is_live(value: object) -> bool:
    """Return whether `value` is a layer or model of Keras 3, tf_keras or tf.keras."""
    return any(c.__name__ == "Layer" and _top(c) in _KERAS for c in type(value).__mro__)


def live_contents(value: Any) -> Contents:
    """Return the weights of a Keras layer or model, or those of bare arrays, in memory.

    A layer inside another has the names of both as its path, "nested/conv", be the other a model
    or a wrapper. A layer that two models share is under the first of them only.

    Args:
        value: A built layer or model, of any backend; or arrays as `array_contents` takes them.

    Raises:
        TypeError: `value` is neither.
        ValueError: it is a layer or a model without weights yet.
    """
    if not is_live(value):
        return array_contents(value)
    layers = tuple(_saved_layers(value, "", set()))
    if not getattr(value, "built", True) and not any(layer.weights for layer in layers):
        remedy = "Call it on a batch, or `build` it, first."
        raise ValueError(problem(type(value).__name__, "source", "built", value.name, remedy))
    base = next(c for c in type(value).__mro__ if c.__name__ == "Layer" and _top(c) in _KERAS)
    version = getattr(sys.modules.get(_top(base)), "__version__", None)
    return Contents(
        source=f"{type(value).__name__} {value.name!r}",
        format=f"{_top(base)} object in memory",
        version=version if _top(base) != "tensorflow" else None,
        config=_config(value),
        layers=layers,
        named_by_path=True,
    )


def array_contents(values: Any, source: str = "arrays") -> Contents:
    """Return arrays in memory as what a file of them holds.

    Args:
        values: A list of arrays, as `get_weights()` returns one; or a dict: path -> array, as
            in "conv2d/kernel", or layer -> list of arrays or dict of them by name.
        source: What error messages call them.

    Raises:
        TypeError: `values` is something else, or has an element that is no array of numbers.
    """

    def as_weight(path: str, name: str | None, value: Any) -> Weight:
        tensor = _tensor(value) if hasattr(value, "shape") else None
        if tensor is None:
            rule = "an array of real numbers"
            raise TypeError(problem(source, path, rule, type(value)))
        return _weight(path, name, tensor)

    if not isinstance(values, (list, tuple, Mapping)):
        rule = "a path, a layer or a model of Keras, or arrays in a list or a dict"
        raise TypeError(problem(source, "source", rule, type(values)))
    if isinstance(values, Mapping) and not all(isinstance(key, str) for key in values):
        raise TypeError(problem(source, "source", "a dict by strings", list(values)[:5]))
    layers = grouped(values, as_weight)
    return Contents(source, "arrays in memory", layers, named_by_path=True, named_by_caller=True)


def _top(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _config(value: Any) -> Any:
    """Return a model's config as parsed JSON, None where it has none that tells its wiring."""
    try:
        config = json.loads(value.to_json())
    except (AttributeError, NotImplementedError, TypeError, ValueError, RuntimeError):
        return None  # a layer, a subclassed model, or one with parts that JSON cannot say
    return config if config.get("class_name") in _MODELS else None


def _saved_layers(layer: Any, path: str, seen: set[int]) -> Iterator[SavedLayer]:
    """Yield a layer and all those in it, each once."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    inner = _inner_layers(layer)
    theirs = {id(weight) for one in inner for weight in one.weights}
    own = [weight for weight in layer.weights if id(weight) not in theirs]
    if path or own:
        yield SavedLayer(path, layer.name, tuple(_variable(path, weight) for weight in own))
    for one in inner:
        yield from _saved_layers(one, f"{path}/{one.name}" if path else one.name, seen)


def _inner_layers(layer: Any) -> list[Any]:
    """Return the layers right inside another: a model's in its order, then all others."""
    listed = [*getattr(layer, "layers", ())]
    listed += layer._flatten_layers(include_self=False, recursive=False)
    return list({id(one): one for one in listed if is_live(one)}.values())


def _variable(path: str, variable: Any) -> Weight:
    """Return the weight that a variable of Keras is; it is read when the weight is."""
    name = variable.name.rpartition("/")[2].partition(":")[0]
    whole = f"{path}/{name}" if path else name
    tensor = _tensor(variable)
    if tensor is None:
        raise TypeError(problem(whole, "variable", "one of real numbers", str(variable.dtype)))
    return _weight(whole, name, tensor)


def _weight(path: str, name: str | None, tensor: Tensor) -> Weight:
    def read() -> Tensor:
        return tensor.clone(memory_format=torch.contiguous_format)

    return Weight(path, name, tuple(tensor.shape), name_of(tensor.dtype), read)


def _tensor(value: Any) -> Tensor | None:
    """Return an array or a variable of any backend as a CPU tensor, None if it is no numbers."""
    inner = getattr(value, "value", None)
    if isinstance(inner, Tensor):  # of Keras on torch: NumPy could not have it off the CPU
        value = inner
    elif hasattr(value, "numpy") and not isinstance(value, Tensor):
        value = value.numpy()
    found = from_array(value)
    return None if found is None else found.cpu()
