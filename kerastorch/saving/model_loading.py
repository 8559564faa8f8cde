"""Load a whole Keras model: its config becomes modules, which get its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from .._core import arguments
from .._core.errors import FileError, argument_error
from ..graph.spec import ModelSpec
from ..models.build import build_model
from ..models.functional import Model
from .configs.parse import parse_model_config
from .formats.weight_file import WeightFile
from .matching.copy import copy_weights
from .matching.load_plan import LoadPlan
from .matching.matcher import Matcher
from .skeleton import make_skeleton
from .weight_loading import Progress, open_source, require_complete, warn_about
from .weights.module_weights import list_module_weights, list_unbuilt_layers
from .weights.saved_layers_by_config import group_by_layer

_REMEDY = "The file is not of this model, or is damaged: save it again with Keras."
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
    before any weight is read.

    The model is in eval mode: call `.train()` to train it. Weights that were not trainable do not
    require gradients. The optimizer's state is not loaded.

    On the device "meta" the model is a skeleton: everything is checked and built, and no array is
    read. `model.to_empty(device="cpu")` and `kerastorch.load_weights(model, path)` fill it. A
    config without weights is enough there.

    HDF5's C library reads the headers of HDF5 files in this process: load untrusted files in a
    process with few rights.

    Args:
        path: The path of a `.keras` archive or directory, of an HDF5 file of a whole model, or of
            a config in JSON with `weights`; or a Keras model in memory.
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
        spec = _parse_config(file)
        model = _build(target, spec, custom_layers, custom_objects)
        if weights is None and _lacks_weights(model, file, on_meta):
            make_skeleton(model, None, file.source)
            return model.eval()
        with nullcontext(file) if weights is None else open_source(weights, progress) as source:
            plan = _plan_load(model, spec, source)
            if on_meta:
                make_skeleton(model, plan, source.source)
            else:
                copy_weights(plan, source.source)
    warn_about(file.source, load_model.__name__, plan.warnings, stacklevel=3)
    return model.eval()


def _parse_config(file: WeightFile) -> ModelSpec:
    """Return a file's config."""
    if file.config is None:
        what = "it has weights only, and no config that describes the model"
        remedy = "Build the model yourself and call `load_weights`."
        raise FileError(f"{file.source}: {what}. Found: {file.format}. {remedy}")
    return parse_model_config(file.config, file.source, file.version)


def _build(
    target: torch.device | None,
    spec: ModelSpec,
    custom_layers: Mapping[str, Callable[..., nn.Module]] | None,
    custom_objects: Mapping[str, Any] | None,
) -> Model:
    """Build the model of a config, on a device unless that is "meta"."""
    on_meta = target is not None and target.type == "meta"
    # Constants of the config need values, on "meta" too.
    with torch.device("cpu") if on_meta else nullcontext():
        model = build_model(spec, custom_layers, custom_objects)
    model._custom = {**dict.fromkeys(custom_layers or ()), **(custom_objects or {})}
    return model if target is None or on_meta else model.to(target)


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


def _lacks_weights(model: Model, file: WeightFile, on_meta: bool) -> bool:
    """Return whether a file has no weights for a model with some, an error unless on "meta"."""
    if any(layer.weights for layer in file.layers) or not list_module_weights(model):
        return False
    if not on_meta:
        what, remedy = "it has a config and no weights", "Say where they are with `weights=`."
        raise FileError(f"{file.source}: {what}. Found: {file.format}. {remedy}")
    return True


def _plan_load(model: Model, spec: ModelSpec, contents: WeightFile) -> LoadPlan:
    """Plan the load by the model's own config; anything unmatched is an error."""
    source = group_by_layer(contents, spec)
    matcher = Matcher(model, contents, source, automatic=True)
    how = "order" if source.bare else "name" if contents.named_by_caller else "structure"
    plan = matcher.match(how)
    for path, layer, input_shape in list_unbuilt_layers(model):
        found = plan.shapes.get(layer)
        try:
            expected = None if input_shape is None else layer._weight_shapes(input_shape)
        except ValueError as error:
            plan.problems.append(f"{path}: {error}")
            continue
        if found is not None and expected is not None and found != expected:
            what = f"{path} has the parameters {expected} by its input's shape {input_shape}"
            plan.problems.append(f"{what}. Found: {found}.")
    if plan.assignments or plan.calls or matcher.leaves or source.layers:
        require_complete(model, contents, plan, True, _REMEDY, _DIFFERENCES)
    return plan
