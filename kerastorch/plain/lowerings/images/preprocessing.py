"""Preprocessing that runs in a model."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .... import config
from ...._core.registry import LAYERS
from ....layers.preprocessing.augmentation import Augmentation
from ....layers.preprocessing.contrast import AutoContrast
from ....layers.preprocessing.normalization import Normalization, Rescaling
from ....layers.preprocessing.resizing import RandomCrop
from ...graph import GraphBuilder, Value
from ...printed import functions, modules
from ...registry import lowers
from ..activation import apply_elementwise
from ..convolution import set_tensors

_AUGMENTATIONS = [
    one for one in LAYERS.values() if issubclass(one, Augmentation) and one is not RandomCrop
]


@lowers(Rescaling, layout="any")
def lower_rescaling(build: GraphBuilder, layer: Rescaling, x: Value) -> Value:
    """A scale and an offset."""
    scale, offset = layer._constants
    if scale.ndim and config.image_data_format() == "channels_first":
        scale = scale.reshape(*scale.shape, *(1,) * (3 - scale.ndim))
    if not x.dtype.is_floating_point:
        x = build.method("float", x)
    y = _combine(build, operator.mul, x, scale, 1.0)
    if not offset.ndim and offset < 0:
        return _combine(build, operator.sub, y, -offset, 0.0)
    return _combine(build, operator.add, y, offset, 0.0)


def _combine(
    build: GraphBuilder, function: Callable[..., Any], x: Value, constant: Tensor, neutral: float
) -> Value:
    """Combine a value with a number, or with an array aligned to its last axes."""
    if not constant.ndim:
        number = float(constant)
        return x if number == neutral else apply_elementwise(build, function, x, number)
    x = build.as_in_keras(x) if x.flattened is not None or constant.ndim > 1 else x
    array = build.method("new_tensor", x, constant.double().tolist())
    if x.moved:
        array = build.method("view", array, -1, *(1,) * (x.rank - 2))
    return build.function(function, x, array)


@lowers(Normalization, layout="any")
def lower_normalization(build: GraphBuilder, layer: Normalization, x: Value) -> Value:
    """A mean and a variance, which are weights."""
    if x.flattened is not None:
        x = build.as_in_keras(x)
    if not x.dtype.is_floating_point:
        x = build.method("float", x)
    given: Any = layer._given_mean, layer._given_variance
    moments = given if given[0] is not None else (layer.mean, layer.variance)
    mean, variance = (_align(layer, moment, x) for moment in moments)
    options: dict[str, Any] = {"invert": bool(layer.invert), "eps": config.epsilon()}
    module = modules.Standardize(tuple(mean.shape), **options)
    set_tensors(module, mean=mean, variance=variance)
    return build.module(module, x)


def _align(layer: Normalization, moment: Tensor, x: Value) -> Tensor:
    """Return a moment that broadcasts to a value, as it lies."""
    found = layer._align_moment(moment, x.shape, "inputs")
    found = found.movedim(-1, 1) if x.moved else found
    while found.ndim and found.shape[0] == 1:
        found = found[0]
    return found


@lowers(AutoContrast)
def lower_auto_contrast(build: GraphBuilder, layer: AutoContrast, x: Value) -> Value:
    """The values of each channel over the whole range."""
    if x.rank != 4:
        build.refuse("its input is one image without a batch")
    return build.function(functions.auto_contrast, x, *layer.value_range)


@lowers(*_AUGMENTATIONS, layout="any")
def lower_augmentation(build: GraphBuilder, layer: Augmentation, x: Value) -> Value:
    """In evaluation nothing; training is refused."""
    return build.module(modules.OnlyInEvaluation(), x)
