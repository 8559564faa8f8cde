"""Recordings: the inputs and outputs of every layer of a Keras model for one batch, as arrays.

It imports only NumPy, since `compat/record_reference.py` runs it where PyTorch may be missing.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
_Keep = Callable[[Any], Array]

VERSION = 1
_ABOUT = "about.json"


class Call(NamedTuple):
    """One call of a layer, with arrays in Keras's order of axes."""

    layer: str  # the path of names: "encoder/conv1"
    kind: str  # the class: "Conv2D"
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


class Recording(NamedTuple):
    """The inputs and outputs of a model and of all its layers. Equal arrays are one object."""

    model: str  # its name
    keras: str | None  # the version
    backend: str | None
    inputs: Any  # an array, or a list or dict of them
    outputs: tuple[Array, ...]
    calls: tuple[Call, ...]  # in the order in which they ended
    weights: Mapping[str, Mapping[str, Array]]  # layer -> name in the layer; empty if not recorded


def record(
    model: Any,
    inputs: Any,
    *,
    keras: str | None = None,
    backend: str | None = None,
    weights: bool = True,
) -> Recording:
    """Run a model of Keras 2 or 3 on a batch, and record all layers' inputs and outputs."""
    layers = dict(_inner_layers(model))
    calls: list[Call] = []
    keep = functools.partial(_keep, {})
    with _recording_calls(layers, calls, keep):
        outputs = model(inputs, training=False)
    kept = {path: _own_weights(layer) for path, layer in layers.items()} if weights else {}
    given, found = mapped(keep, inputs), tuple(map(keep, leaves(outputs)))
    recorded = {path: mapped(keep, own) for path, own in kept.items() if own}
    return Recording(str(model.name), keras, backend, given, found, tuple(calls), recorded)


def leaves(structure: Any) -> Iterator[Any]:
    """Yield the leaves of nested lists, tuples and dicts except None; dicts by sorted keys."""
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from leaves(structure[key])
    elif isinstance(structure, (list, tuple)):
        for inner in structure:
            yield from leaves(inner)
    elif structure is not None:
        yield structure


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """Return nested lists and dicts with `function` applied to the leaves."""
    if isinstance(structure, Mapping):
        return {key: mapped(function, inner) for key, inner in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [mapped(function, inner) for inner in structure]
    return function(structure)


def _keep(kept: dict[bytes, Array], value: Any) -> Array:
    """Return any backend's tensor as an array, the same object for equal ones."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    array = np.array(value, order="C")
    if array.dtype.name == "bfloat16":  # NumPy itself has none
        array = array.astype(np.float32)
    head = f"{array.dtype.str}{array.shape}".encode()
    return kept.setdefault(hashlib.sha256(head + array.tobytes()).digest(), array)


def _inner_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield every layer and operation inside a model once, with its path."""
    waiting, seen = [("", model)], {id(model)}
    while waiting:
        prefix, outer = waiting.pop()
        for layer in _children(outer):
            if id(layer) not in seen and callable(getattr(layer, "call", None)):
                seen.add(id(layer))
                path = f"{prefix}{layer.name}"
                yield path, layer
                waiting.append((f"{path}/", layer))


def _children(layer: Any) -> list[Any]:
    operations = getattr(layer, "operations", None)  # of a Functional model, layers included
    if operations is None and hasattr(layer, "_flatten_layers"):
        operations = layer._flatten_layers(include_self=False, recursive=False)
    return list(operations or ())


@contextmanager
def _recording_calls(layers: Mapping[str, Any], calls: list[Call], keep: _Keep) -> Iterator[None]:
    """Replace every layer's `call` by one that records, inside the context."""
    with ExitStack() as restoring:
        for path, layer in layers.items():
            own = vars(layer)
            if "call" in own:
                restoring.callback(own.update, call=own["call"])
            else:
                restoring.callback(own.pop, "call", None)
            own["call"] = _wrap_call(path, layer, calls, keep)
        yield


def _wrap_call(path: str, layer: Any, calls: list[Call], keep: _Keep) -> Callable[..., Any]:
    call = layer.call

    def keep_arrays(structure: Any) -> tuple[Array, ...]:
        found = (leaf for leaf in leaves(structure) if hasattr(leaf, "shape"))
        return tuple(keep(leaf) for leaf in found if hasattr(leaf, "dtype"))

    @functools.wraps(call)
    def record_call(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *(value for name, value in kwargs.items() if "mask" not in name)]
        inputs = keep_arrays(given)
        outputs = call(*args, **kwargs)
        calls.append(Call(path, type(layer).__name__, inputs, keep_arrays(outputs)))
        return outputs

    return record_call


def _own_weights(layer: Any) -> dict[str, Any]:
    """Return a layer's weights by name, or none if it has inner layers, which are recorded too."""
    if _children(layer) or not hasattr(layer, "get_weights"):
        return {}
    names = [variable.name.split("/")[-1].split(":")[0] for variable in layer.weights]
    return dict(zip(names, layer.get_weights(), strict=True))


def write_recording(recording: Recording, path: Path) -> None:
    """Write a recording as an `.npz` file without pickles; equal arrays are stored once."""
    arrays: dict[str, Array] = {}
    names: dict[int, str] = {}

    def number(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        name = names.setdefault(id(value), str(len(names)))
        arrays[name] = value
        return name

    calls = [call._asdict() for call in recording.calls]
    about = {"version": VERSION, **recording._asdict(), "calls": calls}
    text = np.frombuffer(json.dumps(mapped(number, about)).encode(), np.uint8)
    members: dict[str, Any] = {_ABOUT: text, **arrays}
    with path.open("wb") as file:
        np.savez(file, **members)


def as_recording(arrays: Mapping[str, Array]) -> Recording:
    """Return the recording in the arrays of an `.npz` file, or raise a ValueError that says why."""
    if _ABOUT not in arrays or arrays[_ABOUT].dtype != np.uint8:
        raise ValueError(f"It has no {_ABOUT!r}")

    def find(names: Any) -> tuple[Array, ...]:
        return tuple(arrays[name] for name in names)

    try:
        about = json.loads(arrays[_ABOUT].tobytes())
        if about["version"] != VERSION:
            raise ValueError(f"its version is {about['version']!r}, and {VERSION} is known")
        return Recording(
            model=str(about["model"]),
            keras=about["keras"],
            backend=about["backend"],
            inputs=mapped(arrays.__getitem__, about["inputs"]),
            outputs=find(about["outputs"]),
            calls=tuple(
                Call(str(c["layer"]), str(c["kind"]), find(c["inputs"]), find(c["outputs"]))
                for c in about["calls"]
            ),
            weights={k: mapped(arrays.__getitem__, v) for k, v in about["weights"].items()},
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its {_ABOUT!r} is damaged: {error!r}") from error
