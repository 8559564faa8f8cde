"""Write weights as Keras 3 does: a `.weights.h5` file for its `load_weights`."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._core import arguments
from .._core.errors import argument_error
from .._core.registry import is_automatic_name, number_group
from ..graph.spec import LayerSpec
from ..layers.base.layer import Layer
from ..models.error_context import make_missing_layer_error
from ..models.functional import Model
from .formats.hdf5.reader import import_h5py
from .weights.keras_names import find_activation_spec, get_group_name, list_weight_names
from .weights.module_weights import ModuleWeights, list_module_weights
from .weights.parameters import (
    MERGED,
    ParameterSlot,
    find_saved_class,
    list_keras_classes,
    list_model_groups,
    list_parameters,
)

_SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class _Group:
    """A group `vars` in the file."""

    path: str  # of the group, without `vars`
    name: str  # of the layer, an attribute of the group
    arrays: tuple[Tensor, ...] = ()  # in Keras's order of axes


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's weights as `keras.Model.save_weights` of Keras 3 does.

    Keras's `model.load_weights(path)` reads the file into the same architecture: for a model of
    `load_model` that of its config, for any other module a `keras.Sequential` of its layers in
    the order in which they are registered. LoRA factors are merged into the kernel, as Keras does.

    Args:
        model: A model of built layers of kerastorch and those layers of `torch.nn` that Keras has.
        path: Where to write; it must end in ".weights.h5", as Keras requires.

    Raises:
        TypeError: the model is not a module, or the path is not a path.
        ValueError: the path has another suffix, a layer is not built, or Keras's model has no
            layer for a module's weights; nothing is written then.
        FileNotFoundError: there is no such directory.
        IsADirectoryError: the path is a directory.
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
        raise TypeError(argument_error(owner, "model", "a torch.nn.Module", type(model)))
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(argument_error(owner, "path", rule, path))
    target: Path = arguments.as_path(owner, "path", path)
    if not target.name.endswith(_SUFFIX):
        remedy = "Keras recognizes the format by it."
        raise ValueError(argument_error(owner, "path", rule, str(path), remedy))
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a directory. Name a file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no directory {target.parent}. Make it first.")
    groups = _list_groups(model)
    h5py = import_h5py(str(target))
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with h5py.File(unfinished, "x") as file:
            for group in groups:
                _write(file, group)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _write(file: Any, group: _Group) -> None:
    inside = file.create_group(f"{group.path}/vars".lstrip("/"))
    inside.attrs["name"] = group.name
    for index, tensor in enumerate(group.arrays):
        values = tensor.detach().cpu().contiguous()
        if values.dtype is torch.bfloat16:  # which Keras stores as two bytes without a dtype
            raw = values.view(torch.int16).numpy().view("V2")
            inside.create_dataset(str(index), data=raw).attrs["dtype"] = "bfloat16"
        else:
            inside.create_dataset(str(index), data=values.numpy())


def _list_groups(model: nn.Module) -> list[_Group]:
    """Return all groups of the file, or raise all that prevents writing it."""
    problems = [
        f"  {leaf.path or 'the model'}: {found}"
        for leaf in list_module_weights(model)
        for found in _find_problems(leaf)
    ]
    if isinstance(model, Model):
        problems += [f"  {found}" for found in _find_misplaced(model)]
    if problems:
        owner, rule = save_weights.__name__, "a model whose weights Keras can load"
        remedy = "\n".join(["Nothing was written.", *problems])
        raise ValueError(argument_error(owner, "model", rule, type(model).__name__, remedy))
    if isinstance(model, Model):
        return [_Group("", model.name), *_list_model_groups(model)]
    return [_Group("", "sequential"), *_list_module_groups(model)]


def _find_misplaced(model: Model, prefix: str = "") -> Iterator[str]:
    """Yield the layers whose weights the config's Keras model cannot load, whatever its sizes."""
    for layer in model.spec.layers:
        if layer.operation or layer.class_name == "InputLayer":
            continue
        module, path = model.layers.get(layer.name), f"{prefix}{layer.name}"
        if module is None:
            attribute = model._attributes[layer.name]
            yield str(make_missing_layer_error(model._title, layer.name, attribute))
        elif isinstance(module, Model) and layer.model is not None:
            yield from _find_misplaced(module, f"{path}/")
        elif not _has_weights_of(layer, module):
            what = f"the model's config has a {layer.class_name}, which cannot load what is there"
            yield f"{path}: {what}. Found: {type(module).__name__}. Save the weights with torch."


def _has_weights_of(layer: LayerSpec, module: nn.Module) -> bool:
    """Return whether the layer of a config has the weights of a module."""
    if layer.model is not None:
        return False
    names = list_weight_names(layer)
    if names is None:  # a custom class
        return True
    if not names:
        return not list_module_weights(module)
    if get_group_name(layer) not in list_keras_classes(module):
        return False
    inner = find_activation_spec(layer)
    own = {target.name for target in list_parameters(module) if target.owner is not module}
    return inner is None or own.issuperset(list_weight_names(inner) or ())


def _find_problems(leaf: ModuleWeights) -> Iterator[str]:
    if (leaf.refusal or leaf.parts is not None) and not find_saved_class(leaf.module):
        kind = type(leaf.module).__name__
        yield f"Keras has no layer with the weights of {kind}. Save them with torch."
    elif leaf.refusal:
        yield leaf.refusal
    elif any(target.unbuilt for target in leaf.targets):
        remedy = "Call the model on a batch first."
        yield argument_error(type(leaf.module).__name__, "layer", "built", leaf.module, remedy)
    elif isinstance(leaf.module, nn.PReLU):
        yield "which axes share a slope is not known: use kerastorch.layers.PReLU instead"
    for target in leaf.targets:
        if not target.unbuilt and target.tensor.device.type == "meta":
            what = f"{target.path} has no values: it is on the device 'meta'"
            yield f"{what}. Call `model.to_empty(device=...)` and load weights first."


def _list_model_groups(model: Model) -> Iterator[_Group]:
    """Yield the groups of a model that was made from a config."""
    for path, layer, module in list_model_groups(model):
        if module is None or isinstance(module, Model):
            yield _Group(path, layer.name)
        else:
            yield from _list_layer_groups(module, path, layer.name)


def _list_module_groups(model: nn.Module) -> Iterator[_Group]:
    """Yield the groups of a Sequential model of all layers in a module, in their order."""
    counts: Counter[str] = Counter()
    inside: set[nn.Module] = set()
    leaves = {leaf.module: leaf for leaf in list_module_weights(model)}
    for path, module in model.named_modules():
        if module in inside or not (module in leaves or isinstance(module, Layer)):
            continue
        inside.update(module.modules())
        kind = find_saved_class(module)
        group, own = number_group(kind, counts), getattr(module, "name", kind)
        name = path if is_automatic_name(own, kind) else own
        yield from _list_layer_groups(module, f"layers/{group}", name or group)


def _list_layer_groups(module: nn.Module, path: str, name: str) -> Iterator[_Group]:
    """Yield the group of a layer, and those of the layers inside it."""
    if not (isinstance(module, Layer) or find_saved_class(module)):
        yield _Group(path, name)
        for leaf in list_module_weights(module):
            inner = f"{path}/{leaf.path.replace('.', '/')}"
            yield from _list_layer_groups(leaf.module, inner, leaf.path)
        return
    arrays: dict[str, list[ParameterSlot]] = {"": []}
    for target in list_parameters(module):
        if target.name not in MERGED:
            arrays.setdefault(target.group, []).append(target)
    if getattr(module, "repeats_inner_weight", False):
        arrays[""].insert(0, next(found[0] for group, found in arrays.items() if group))
    for group, targets in arrays.items():
        inner = name if not group else _find_inner_name(targets[0].owner, group)
        yield _Group(f"{path}/{group}".rstrip("/"), inner, tuple(map(_convert, targets)))


def _find_inner_name(owner: nn.Module, group: str) -> str:
    """Return the name of a layer inside a layer: of its cell, if it is a part of it."""
    kind, last = find_saved_class(owner), group.rpartition("/")[2]
    if last == "cell" and not kind.endswith("_cell"):
        return f"{kind}_cell"
    return getattr(owner, "name", last)


def _convert(target: ParameterSlot) -> Tensor:
    """Return the array of a parameter in Keras's order of axes."""
    owner = target.owner
    if isinstance(owner, Layer):
        return target.view(owner._tensor_to_save(target.parameter))
    return target.view(target.tensor)
