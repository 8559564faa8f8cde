"""Writing weights as Keras 3 does: a `.weights.h5` file that its `load_weights` reads."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._core import arguments
from .._core.errors import problem
from .._core.layout import kernel_view
from .._core.registry import is_automatic_name
from ..layers.base.layer import Layer
from ..layers.base.lora import LoRA
from ..models.functional import Model
from .formats.hdf5.reader import library
from .weights.keras_names import kind_of
from .weights.misplaced import misplaced
from .weights.module_weights import Leaf, leaves_of
from .weights.parameters import MERGED, Target, layer_kind, variables_of

_SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class _Group:
    """A group `vars` in the file.

    Attributes:
        path: Where it is, without `vars`.
        name: The layer's name, an attribute of the group.
        arrays: What is in it, in Keras's order of axes.
    """

    path: str
    name: str
    arrays: tuple[Tensor, ...]


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's weights as `keras.Model.save_weights` of Keras 3 does.

    Keras's `model.load_weights(path)` reads the file into the same architecture: for a model of
    `load_model` that of its config, for any other module a `keras.Sequential` of its layers in
    the order in which they are registered. The file appears whole or not at all. LoRA's
    difference is merged into the kernel, as Keras merges it.

    Args:
        model: A model that consists of built layers of kerastorch, and of those of `torch.nn`
            that Keras has, too.
        path: Where to write; it must end in ".weights.h5", as Keras requires.

    Raises:
        TypeError: the model is no module, or the path none.
        ValueError: the path ends otherwise, a layer is not built, or a module has weights that
            Keras has no layer for, or another one in its place; nothing is written then.
        FileNotFoundError: there is no such directory.
        IsADirectoryError: the path is one.
        ImportError: h5py is not installed.

    Example:
        >>> import kerastorch, tempfile
        >>> model = nn.Sequential(kerastorch.Conv2D(4, 3, input_shape=(8, 8, 1)), nn.Flatten())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(model, f"{folder}/model.weights.h5")
        ...     report = kerastorch.load_weights(model, f"{folder}/model.weights.h5")
        >>> len(report.loaded)
        2
    """
    owner, rule = save_weights.__name__, f"a path that ends in {_SUFFIX!r}"
    if not isinstance(model, nn.Module):
        raise TypeError(problem(owner, "model", "a torch.nn.Module", type(model)))
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(problem(owner, "path", rule, path))
    place: Path = arguments.path(owner, "path", path)
    if not place.name.endswith(_SUFFIX):
        remedy = "Keras tells the format by it."
        raise ValueError(problem(owner, "path", rule, str(path), remedy))
    if place.is_dir():
        raise IsADirectoryError(f"{place}: is a directory. Name a file.")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"{place}: there is no directory {place.parent}. Make it first.")
    groups = _groups(model)
    h5py = library(str(place))
    unfinished = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        with h5py.File(unfinished, "x") as file:
            for group in groups:
                _write(file, group)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


def _write(file: Any, group: _Group) -> None:
    inside = file.create_group(f"{group.path}/vars".lstrip("/"))
    inside.attrs["name"] = group.name
    for index, tensor in enumerate(group.arrays):
        whole = tensor.detach().cpu().contiguous()
        if whole.dtype is torch.bfloat16:
            raw = inside.create_dataset(str(index), data=_raw(whole))
            raw.attrs["dtype"] = "bfloat16"
        else:
            inside.create_dataset(str(index), data=whole.numpy())


def _raw(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return bfloat16 as Keras stores it: two bytes without a type."""
    return tensor.view(torch.int16).numpy().view("V2")


# What is written


def _groups(model: nn.Module) -> list[_Group]:
    """Return all groups of the file, or raise all that forbids to write it."""
    problems = [
        f"  {leaf.path or 'the model'}: {found}"
        for leaf in leaves_of(model)
        for found in _problems(leaf)
    ]
    if isinstance(model, Model):
        problems += [f"  {found}" for found in misplaced(model)]
    if problems:
        owner, rule = save_weights.__name__, "a model whose weights Keras can take"
        remedy = "\n".join(["Nothing was written.", *problems])
        raise ValueError(problem(owner, "model", rule, type(model).__name__, remedy))
    if isinstance(model, Model):
        return [_Group("", model.name, ()), *_of_model(model, "", set())]
    return [_Group("", "sequential", ()), *_of_modules(model)]


def _problems(leaf: Leaf) -> Iterator[str]:
    if (leaf.refusal or leaf.parts is not None) and not layer_kind(leaf.module):
        kind = type(leaf.module).__name__
        yield f"Keras has no layer that takes the weights of {kind}. Save them with torch."
    elif leaf.refusal:
        yield leaf.refusal
    elif any(target.unbuilt for target in leaf.targets):
        remedy = "Call the model on a batch first."
        yield problem(type(leaf.module).__name__, "layer", "built", leaf.module, remedy)
    elif isinstance(leaf.module, nn.PReLU):
        yield "which axes share a slope is not known: use kerastorch.layers.PReLU in its place"
    for target in leaf.targets:
        if not target.unbuilt and target.tensor.device.type == "meta":
            what = f"{target.path} has no values: it is on the device 'meta'"
            yield f"{what}. Call `model.to_empty(device=...)` and load weights first."


def _of_model(model: Model, prefix: str, seen: set[nn.Module]) -> Iterator[_Group]:
    """Yield the groups of a model that was made from a config, as its Keras model has them."""
    counts: Counter[str] = Counter()
    sequential = model.spec.kind == "Sequential"
    for layer in model.spec.layers:
        if layer.operation or (sequential and layer.class_name == "InputLayer"):
            continue
        path = f"{prefix}layers/{_numbered(kind_of(layer), counts)}"
        if layer.class_name == "InputLayer":  # it may have been deleted: nothing calls it
            yield _Group(path, layer.name, ())
            continue
        module = model.layers[layer.name]
        if module in seen:
            continue
        seen.add(module)
        if isinstance(module, Model):
            yield _Group(path, layer.name, ())
            yield from _of_model(module, f"{path}/", seen)
        else:
            yield from _of_leaf(module, path, layer.name)


def _of_modules(model: nn.Module) -> Iterator[_Group]:
    """Yield the groups of a Sequential model of all layers in a module, in their order.

    A layer without a name of its own has its path in the module.
    """
    counts: Counter[str] = Counter()
    inside: set[nn.Module] = set()
    leaves = {leaf.module: leaf for leaf in leaves_of(model)}
    for place, module in model.named_modules():
        if module in inside or not (module in leaves or isinstance(module, Layer)):
            continue
        inside.update(module.modules())
        kind = layer_kind(module)
        group, own = _numbered(kind, counts), getattr(module, "name", kind)
        name = place if is_automatic_name(own, kind) else own
        yield from _of_leaf(module, f"layers/{group}", name or group)


def _numbered(kind: str, counts: Counter[str]) -> str:
    counts[kind] += 1
    return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"


def _of_leaf(module: nn.Module, path: str, name: str) -> Iterator[_Group]:
    """Yield the group of a layer, and that of its activation where it has weights."""
    if not (isinstance(module, Layer) or layer_kind(module)):
        yield _Group(path, name, ())
        for leaf in leaves_of(module):
            yield from _of_leaf(leaf.module, f"{path}/{leaf.path.replace('.', '/')}", leaf.path)
        return
    own = [target for target in variables_of(module) if target.owner is module]
    yield _Group(path, name, tuple(_array(target) for target in own if target.name not in MERGED))
    activation = getattr(module, "activation", None)
    if isinstance(module, Layer) and isinstance(activation, Layer):
        yield from _of_leaf(activation, f"{path}/activation", activation.name)


def _array(target: Target) -> Tensor:
    owner = target.owner
    if target.name == "kernel" and isinstance(owner, LoRA) and owner.lora_enabled:
        return kernel_view(owner._merged(owner.weight))
    return target.view(target.tensor)
