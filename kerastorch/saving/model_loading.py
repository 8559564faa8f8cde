"""Load a whole Keras model: its config becomes modules, which get its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from .._core import arguments
from .._core.errors import FileError, argument_error
from ..graph.spec import ModelSpec
from ..layers.base.layer import Layer
from ..models.build import build_model
from ..models.functional import Model
from .configs.parse import parse_model_config
from .formats.byte_range import Progress
from .formats.weight_file import WeightFile
from .matching.copy import copy_weights, end_laziness
from .matching.load_plan import LoadPlan
from .matching.matcher import Matcher, list_custom_modules, list_layer_paths
from .weight_loading import open_source, require_complete, warn_about
from .weights.module_weights import has_load_method, list_module_weights, list_unbuilt_layers
from .weights.saved_layers_by_config import group_by_layer

_REMEDY = "The file is not of this model, or is damaged: save it again with Keras."
_NO_VALUES = "Load the model on a real device, or let `custom_layers` make modules without it."
_DIFFERENCES = "Let `custom_layers` make modules that compute what the file's layers do."


def load_model(
    path: Any,
    *,
    weights: Any = None,
    custom_layers: Mapping[str, Callable[..., nn.Module]] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    device: torch.device | str | int | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """Load a Sequential or Functional model from a file of any version of Keras, without Keras.

    Nothing in the file is imported or called. All weights and layers must match, shapes included,
    before any weight is read. The model is in eval mode: call `.train()` to train it. Weights that
    were not trainable do not require gradients. The optimizer's state is not loaded.

    On the device "meta" the model is a skeleton: everything is checked and built, and no array is
    read. `model.to_empty(device="cpu")` and `kerastorch.load_weights(model, path)` fill it. A
    config without weights is enough there.

    HDF5's C library reads the headers of HDF5 files in this process: load untrusted files in a
    process with few rights.

    Args:
        path: The path of a `.keras` archive or directory, of an HDF5 file of a whole model, of a
            SavedModel directory, of a TensorFlow.js `model.json`, or of a config in JSON with
            `weights`; or a Keras model in memory.
        weights: Where the weights are, if not at `path`: whatever `load_weights` accepts.
        custom_layers: Classes of your own -> functions that make a module from a layer's config.
            The module's inputs and outputs are those of the Keras layer, channels last. The
            layer's arrays are matched with its parameters by Keras's names and shapes, or by
            shapes that fit in one way only. Or it has a method `load_keras_weights(self,
            weights)`, called without gradients, which gets a dict of NumPy arrays: "kernel",
            "conv1/kernel", or in Keras 3's files, which number the arrays, "0", "conv1/0".
            Layers of torch.nn and of this package get the weights of Keras's layers of their kind.
        custom_objects: Names of your own activations, initializers, regularizers and
            constraints -> functions or classes.
        device: The model's device; by default torch's default device.
        progress: Called with the number of bytes as the arrays are read.

    Returns:
        The model. Its submodules have the names of Keras's layers.

    Raises:
        TypeError: `custom_layers` or `custom_objects` is no dict, or makes no module.
        ValueError: a path is empty, or there is no such device.
        FileError: the file is refused, has no config, has a layer that is not supported, or its
            weights do not match the model.
    """
    for name, given in (("custom_layers", custom_layers), ("custom_objects", custom_objects)):
        if not isinstance(given, Mapping | None):
            rule = "a dict of names, or None"
            raise TypeError(argument_error(load_model.__name__, name, rule, given))
    path = arguments.as_path(load_model.__name__, "path", path)
    weights = arguments.as_path(load_model.__name__, "weights", weights)
    target = _parse_device(device)
    on_meta = target is not None and target.type == "meta"
    with open_source(path, progress) as file:
        if file.config is None:
            remedy = "Build the model yourself and call `load_weights`."
            raise FileError(f"{file.source}: {file.missing_config}. Found: {file.format}. {remedy}")
        spec = parse_model_config(file.config, file.source, file.version)
        # Constants of the config need values, on "meta" too.
        with torch.device("cpu") if on_meta else nullcontext():
            model = build_model(spec, custom_layers, custom_objects)
        model._custom = {**dict.fromkeys(custom_layers or ()), **(custom_objects or {})}
        if target is not None and not on_meta:
            model.to(target)
        has_weights = any(layer.weights for layer in file.layers)
        if weights is None and not has_weights and list_module_weights(model):
            if on_meta:
                _make_skeleton(model, LoadPlan(), file.source)
                return model.eval()
            what, remedy = "it has a config and no weights", "Say where they are with `weights=`."
            raise FileError(f"{file.source}: {what}. Found: {file.format}. {remedy}")
        with nullcontext(file) if weights is None else open_source(weights, progress) as source:
            plan = _plan_load(model, spec, source)
            plan.warnings[:0] = dict.fromkeys((*file.notes, *source.notes))
            if on_meta:
                _make_skeleton(model, plan, source.source)
            else:
                copy_weights(plan, source.source)
        end_laziness(model)
    warn_about(file.source, load_model.__name__, plan.warnings, stacklevel=3)
    return model.eval()


def _parse_device(device: torch.device | str | int | None) -> torch.device | None:
    """Return the device that was asked for, or the default one if that is "meta"."""
    if device is None:
        default = torch.empty(0).device  # torch 2.6 has no other way inside `with`
        return default if default.type == "meta" else None
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except Exception as error:  # torch raises any of a dozen classes here
        rule = "a device that torch has on this machine"
        raise ValueError(argument_error(load_model.__name__, "device", rule, device)) from error
    return found


def _plan_load(model: Model, spec: ModelSpec, contents: WeightFile) -> LoadPlan:
    """Plan the load by the model's own config; anything unmatched is an error."""
    source = group_by_layer(contents, spec)
    matcher = Matcher(model, contents, source, automatic=True)
    how = "order" if source.bare else "name" if contents.named_by_caller else "structure"
    plan = matcher.match(how)
    for path, layer, input_shape in list_unbuilt_layers(model):
        found = plan.shapes.get(layer)
        try:
            known = input_shape is not None and bool(layer._find_unbuilt())  # weights of its own
            expected = layer._weight_shapes(input_shape) if known else None
        except ValueError as error:
            plan.problems.append(f"{path}: {error}")
            continue
        if found is not None and expected is not None and found != expected:
            what = f"{path} has the parameters {expected} by its input's shape {input_shape}"
            plan.problems.append(f"{what}. Found: {found}.")
    if plan.assignments or plan.calls or matcher.leaves or source.layers:
        require_complete(model, contents, plan, True, (_REMEDY, _DIFFERENCES))
    return plan


def _make_skeleton(model: Model, plan: LoadPlan, source: str) -> None:
    """Build a model on the device "meta", with the shapes of a plan or of its inputs."""
    unfilled = _find_unfilled(model, plan)
    lines = [f"  {path} has values that Keras's files do not hold." for path in unfilled]
    if lines:
        head = f"{source}: cannot be loaded on the device 'meta'."
        raise FileError("\n".join([head, *lines, _NO_VALUES]))
    model.to("meta")
    for layer, shapes in plan.shapes.items():
        layer._finish_build(layer._make_initial_values(shapes))
    for path, layer, input_shape in list(list_unbuilt_layers(model)):
        if input_shape is not None:
            layer.build(input_shape)
        else:
            what = f"the config does not have the shape of the input of {path}"
            raise FileError(f"{source}: {what}. Say where weights are with `weights=`.")


def _find_unfilled(model: Model, plan: LoadPlan) -> Iterator[str]:
    """Yield the tensors that weights in a file do not fill after `to_empty`."""
    filled = {id(pair.target.tensor) for pair in plan.assignments}
    for leaf in list_module_weights(model, list_custom_modules(list_layer_paths(model))):
        filled |= {id(target.tensor) for target in leaf.targets}
        if has_load_method(leaf.module):
            filled |= set(map(id, (*leaf.module.parameters(), *leaf.module.buffers())))
    for path, module in model.named_modules():
        if isinstance(module, (Layer, Model)):  # they restore their constants themselves
            continue
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in filled:
                yield f"{path}.{name}"
