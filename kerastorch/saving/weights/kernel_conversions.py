"""Convert arrays of old or special files to Keras 3's form."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ..._core.errors import FileError
from ..._core.layout import permute_axes
from ...layers.base.owner import LayerOwner
from ..formats.weight_file import Weight, WeightFile
from .module_weights import ModuleWeights
from .parameters import MERGED, list_keras_classes
from .recurrent_conversions import convert_recurrent_weights
from .saved_layers_by_config import SourceLayer

_CONVOLUTIONS = ("conv", "depthwise_conv", "separable_conv")
Axes = tuple[int, ...]
_KERAS1_NAME = re.compile(r"_W(:[0-9]+)?$")
_FLIPPED = (*("conv1d", "conv2d", "conv3d", "conv2d_transpose", "conv3d_transpose", "conv_lstm2d"),)
_NOT_FLIPPED = ("locally_connected",)


def convert_weights(
    contents: WeightFile, saved: SourceLayer, leaf: ModuleWeights
) -> tuple[Weight, ...]:
    """Return a layer's weights in Keras 3's form, for one module.

    LoRA factors are merged; kernels of Keras on Theano, which flipped them, are flipped back; the
    arrays of old recurrent layers are converted.

    Raises:
        FileError: the conversion is ambiguous.
    """
    try:
        weights = list(_merge_lora(saved, leaf))
        kernels = [n for n, weight in enumerate(weights) if len(weight.shape) > 2]
        for n, inner in zip(kernels, _enter_layers(saved, leaf, len(kernels)), strict=True):
            weights[n] = _convert_kernel(contents, *inner, weights[n])
        return convert_recurrent_weights(weights)
    except ValueError as error:
        remedy = "Load the model with Keras, and save it again."
        raise FileError(f"{contents.source}: {saved.title}: {error}. {remedy}") from error


def _enter_layers(
    saved: SourceLayer, leaf: ModuleWeights, count: int
) -> list[tuple[SourceLayer, ModuleWeights]]:
    """Return the saved layer and the module of each kernel: those inside a layer of layers."""
    found = []
    for target in leaf.targets if isinstance(leaf.module, LayerOwner) else ():
        kinds = list_keras_classes(target.owner)
        if target.name.endswith("kernel") and any(k.startswith(_CONVOLUTIONS) for k in kinds):
            config = {"data_format": getattr(target.owner, "data_format", None)}
            spec = None if saved.spec is None else replace(saved.spec, config=config)
            inner = replace(leaf, module=target.owner, kinds=kinds, targets=(target,))
            found.append((replace(saved, spec=spec), inner))
    return found if len(found) == count else [(saved, leaf)] * count


def _convert_kernel(
    contents: WeightFile, saved: SourceLayer, leaf: ModuleWeights, weight: Weight
) -> Weight:
    """Return a weight of more than two axes in Keras 3's order and direction."""
    is_convolution = any(kind.startswith(_CONVOLUTIONS) for kind in leaf.kinds)
    if contents.may_be_keras1 and "conv1d" in leaf.kinds and len(weight.shape) == 4:
        weight = _drop_width(leaf, weight)
    elif is_convolution and contents.may_be_keras1 and len(weight.shape) in (4, 5):
        last, first = _find_keras1_orders(contents, leaf, weight)
        straight, turned = _turn(weight, last), _turn(weight, first)
        is_first = _is_filters_first(saved, leaf, weight, straight.shape, turned.shape)
        weight = turned if is_first else straight
    if contents.backend == "theano" and not set(leaf.kinds) & set(_NOT_FLIPPED):
        if not set(leaf.kinds) & set(_FLIPPED):
            raise ValueError("kernels that Keras on Theano may have flipped")
        axes = tuple(range(len(weight.shape) - 2))
        weight = _change_values(weight, lambda kernel: kernel.flip(axes))
    return weight


def _drop_width(leaf: ModuleWeights, weight: Weight) -> Weight:
    """Return a 1-D kernel of Keras 1: (steps, 1, in, out), or (out, in, steps, 1) before 1.2."""
    first, second, third, last = weight.shape
    wanted = leaf.targets[0].shape
    filters_last, filters_first = (first, third, last), (third, second, first)
    found = [
        shape
        for shape, width in ((filters_last, second), (filters_first, last))
        if width == 1 and wanted in (None, shape)
    ]
    if len(set(found)) != 1:
        raise ValueError(f"a kernel of Keras 1 of the shape {weight.shape}, not {wanted}")
    if found[0] == filters_last:
        return replace(_change_values(weight, lambda kernel: kernel[:, 0]), shape=filters_last)
    moved = _change_values(weight, lambda kernel: permute_axes(kernel, (2, 3, 1, 0))[:, 0])
    return replace(moved, shape=filters_first)


def _find_keras1_orders(
    contents: WeightFile, leaf: ModuleWeights, weight: Weight
) -> tuple[Axes, Axes]:
    """Return Keras 3's axes of a kernel of Keras 1 with the filters last, and with them first.

    Keras 1 kept the kernel of a transposed convolution as that of a convolution, whose inputs come
    before its outputs; where it is square, only the version or the name of the array tells.
    """
    count = len(weight.shape)
    same, spatial = tuple(range(count)), tuple(range(2, count))
    if not any(kind.endswith("_transpose") for kind in leaf.kinds):
        return same, (*spatial, 1, 0)
    is_keras1 = contents.version is not None or _KERAS1_NAME.search(weight.path)
    return (*same[:-2], count - 1, count - 2) if is_keras1 else same, (*spatial, 0, 1)


def _turn(weight: Weight, axes: Axes) -> Weight:
    """Return a weight with its axes in another order."""
    if axes == tuple(range(len(axes))):
        return weight
    shape = tuple(weight.shape[axis] for axis in axes)
    return replace(_change_values(weight, lambda kernel: permute_axes(kernel, axes)), shape=shape)


def _is_filters_first(
    saved: SourceLayer, leaf: ModuleWeights, weight: Weight, last: Axes, first: Axes
) -> bool:
    """Return whether a kernel of Keras 1, with its shape in each order, has the filters first."""
    if saved.spec is not None:
        return saved.spec.config.get("data_format") == "channels_first"
    named = {target.name: target for target in leaf.targets}
    wanted = named.get(weight.name or "", leaf.targets[0]).shape
    if wanted is None or wanted == last == first:
        what = "a kernel of Keras 1 whose order of axes is in no config"
        raise ValueError(f"{what}: {last}")
    return wanted == first


def _merge_lora(saved: SourceLayer, leaf: ModuleWeights) -> tuple[Weight, ...]:
    """Return the weights with LoRA factors merged into the kernel if the module has no LoRA."""
    named = {weight.name: weight for weight in saved.weights}
    if not named.keys() & set(MERGED) or any(one.name in MERGED for one in leaf.targets):
        return saved.weights
    config = {} if saved.spec is None else saved.spec.config
    rank, alpha = config.get("lora_rank"), config.get("lora_alpha", config.get("lora_rank"))
    kind = "kernel" if "kernel" in named else "embeddings"
    factors = (f"lora_{kind}_a", f"lora_{kind}_b")
    kernel, a, b = (named.get(name) for name in (kind, *factors))
    known = isinstance(rank, int) and isinstance(alpha, (int, float)) and rank > 0
    if kernel is None or a is None or b is None or not known:
        raise ValueError("LoRA factors separate from the kernel, without the scale to merge them")
    if a.shape[-1:] != (rank,) or b.shape[:1] != (rank,):
        raise ValueError(f"LoRA factors of another rank than {rank}")
    if (*a.shape[:-1], *b.shape[1:]) != kernel.shape:
        raise ValueError(f"LoRA factors of the shapes {a.shape} and {b.shape}")

    def merge(values: Tensor) -> Tensor:
        left, right = a.read().to(values.dtype), b.read().to(values.dtype)
        merged: Tensor = values + (alpha / rank) * (left @ right)
        return merged

    others = (weight for weight in saved.weights if weight.name not in MERGED)
    return tuple(_change_values(one, merge) if one is kernel else one for one in others)


def _change_values(weight: Weight, function: Callable[[Tensor], Tensor]) -> Weight:
    return replace(weight, read=lambda: function(weight.read()))
