"""The masks of a model in plain PyTorch: which calls get them, and those of the outputs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch

from ..layers.attention.attention import Attention
from ..layers.base.computation import Computation
from ..layers.core.embedding import Embedding
from ..layers.core.identity import Identity
from ..layers.core.masking import Masking
from ..layers.core.reversible_embedding import ReversibleEmbedding
from ..layers.merging.concatenate import Concatenate
from ..layers.merging.dot import Dot
from ..layers.merging.merge import Merge
from ..layers.pooling.global_pooling import GlobalAveragePooling1D
from ..layers.recurrent.layer import RecurrentLayer
from ..layers.wrappers.bidirectional import Bidirectional
from ..layers.wrappers.spectral_normalization import SpectralNormalization
from ..layers.wrappers.time_distributed import TimeDistributed
from ..models.calls import ModuleCall, has_mask
from ..models.masks import add_masks, creates_mask, get_first_argument
from .graph import GraphBuilder, Value

Rule = Callable[..., Any]  # (builder, layer, first argument, its mask, options) -> Value or None
_RULES: dict[Any, Rule] = {}  # a `compute_mask` of the layers -> what it is in plain PyTorch


def add_call_masks(
    call: ModuleCall, layer: Any, kwargs: dict[str, Any], values: Sequence[Any]
) -> tuple[bool, Any]:
    """Add the masks that a call gets to its arguments, as the loaded model does.

    Returns:
        Whether the output may have a mask, and the mask of the first argument.
    """
    found = {slot: getattr(values[slot], "mask", None) for slot in call.reads}
    masks = {slot: mask for slot, mask in found.items() if mask is not None}
    if not (has_mask(call) or masks or creates_mask(layer)):
        return False, None
    templates = call.args, call.kwargs
    return True, add_masks(layer, templates, kwargs, masks, keras_2=call.keras_2)


def add_input_masks(
    build: GraphBuilder, inputs: Sequence[Value], given: Sequence[Value]
) -> list[Value]:
    """Return the inputs of a nested class with the masks that are further inputs of it."""
    found = []
    for own, one in zip(inputs, given, strict=True):
        mask = one.mask
        if mask is not None:
            name = "mask" if len(inputs) == 1 else f"{own.node.name}_mask"
            mask = build.add_input(name, mask.shape, moved=False, dtype=mask.dtype)
            mask.node.meta["mask"] = True
            build.has_masks = True
        found.append(replace(own, mask=mask))
    return found


def list_returned_masks(outputs: Sequence[Value]) -> list[Value]:
    """Return the masks that a nested class returns: each once, and none that it is called with."""
    masks = {x.mask.node: x.mask for x in outputs if x.mask is not None}
    return [mask for node, mask in masks.items() if "mask" not in node.meta]


def find_output_mask(
    build: GraphBuilder, layer: Any, args: Any, kwargs: Mapping[str, Any], mask: Any
) -> Any:
    """Return the mask of a layer's output, or a list of those of its outputs."""
    compute = getattr(type(layer), "compute_mask", None)
    if compute is None:
        return None
    if compute not in _RULES:
        build.refuse("its output has a mask of a kind that is not supported")
    first = args[0] if args else kwargs[get_first_argument(layer)]
    return _RULES[compute](build, layer, first, mask, kwargs)


def cast_mask(build: GraphBuilder, mask: Value) -> Value:
    """Return a mask of booleans."""
    if mask.dtype is torch.bool:
        if mask.node.op != "placeholder":
            mask.node.meta.setdefault("name", "mask")
        return mask
    found = build.name(build.method("bool", mask), "mask")
    return Value(found.node, mask.shape, dtype=torch.bool)


def combine_masks(build: GraphBuilder, function: Any, *masks: Value | None) -> Value | None:
    """Return masks joined by `&` or `|`; one of None does not count."""
    found = [cast_mask(build, one) for one in masks if one is not None]
    given = list({one.node: one for one in found}.values())
    if not given:
        return None
    if len(given) == 1:
        return given[0]
    joined = reduce(lambda a, b: build.name(build.function(function, a, b), "mask"), given)
    return Value(joined.node, given[0].shape, dtype=torch.bool)


def _computes(*compute_masks: Any) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(compute_masks, rule))
        return rule

    return register


@_computes(Computation.compute_mask)
def _pass_on(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    return mask if layer.supports_masking else None


@_computes(Identity.compute_mask)
def _pass_on_in_keras_3(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    return None if layer.masks_of_keras_2 else mask


@_computes(GlobalAveragePooling1D.compute_mask, Dot.compute_mask)
def _end(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> None:
    return None


@_computes(Embedding.compute_mask)
def _find_zeros(build: GraphBuilder, layer: Any, x: Value, mask: Any, options: Any) -> Any:
    if not layer.mask_zero:
        return None
    found = build.name(build.function(operator.ne, x, 0), "mask")
    return Value(found.node, x.shape, dtype=torch.bool)


@_computes(ReversibleEmbedding.compute_mask)
def _find_zeros_forward(build: GraphBuilder, layer: Any, x: Value, mask: Any, options: Any) -> Any:
    return None if options.get("reverse") else _find_zeros(build, layer, x, mask, options)


@_computes(Masking.compute_mask)
def find_steps(
    build: GraphBuilder, layer: Any, x: Value, mask: Any = None, options: Any = None
) -> Value:
    """Return where any value of a step is other than `mask_value`."""
    value: Any = layer.mask_value
    if not isinstance(value, (bool, int, float)):
        tensor = torch.as_tensor(value)
        tensor = tensor.to(x.dtype) if x.dtype.is_floating_point else tensor
        value = Value(build.buffer(tensor, "mask_value"), tuple(tensor.shape))
    x = build.as_in_keras(x)
    different = build.function(operator.ne, x, value)
    found = build.name(build.method("any", different, -1), "mask")
    return Value(found.node, x.shape[:-1], dtype=torch.bool)


@_computes(Merge.compute_mask)
def _merge(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Value | None:
    masks = [None] if mask is None else mask
    if layer.masks_of_keras_2:
        return combine_masks(build, operator.and_, *masks)
    return None if None in masks else combine_masks(build, operator.or_, *masks)


@_computes(Concatenate.compute_mask)
def _concatenate(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Value | None:
    masks = [None] if mask is None else mask
    if all(one is None for one in masks):
        return None
    rank = x[0].rank
    axis = layer.axis % rank
    if axis == rank - 1:
        if layer.masks_of_keras_2:
            return combine_masks(build, operator.and_, *masks)
        # An input without a mask counts at all steps, so that no step is left out.
        return None if None in masks else combine_masks(build, operator.or_, *masks)
    known = next(one for one in masks if one is not None)
    if known.rank < rank - 1:
        build.refuse(f"it joins tensors with masks along axis {axis}")
    parts = [
        _take_all_steps(build, one) if own is None else cast_mask(build, own)
        for own, one in zip(masks, x, strict=True)
    ]
    found = build.name(build.function(torch.cat, parts, dim=axis), "mask")
    steps = [one.shape[axis] for one in parts]
    total = None if None in steps else sum(n or 0 for n in steps)
    shape = (*known.shape[:axis], total, *known.shape[axis + 1 :])
    return Value(found.node, shape, dtype=torch.bool)


def _take_all_steps(build: GraphBuilder, x: Value) -> Value:
    x = build.as_in_keras(x)
    first = build.function(operator.getitem, x, (..., 0))
    found = build.function(torch.ones_like, first, dtype=torch.bool)
    return Value(found.node, x.shape[:-1], dtype=torch.bool)


@_computes(RecurrentLayer.compute_mask)
def _pass_to_sequence(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    own = _first(mask) if layer.return_sequences else None
    return [own, *[None] * (layer.output_count - 1)] if layer.return_state else own


@_computes(Bidirectional.compute_mask)
def _pass_to_sequences(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    own = _first(mask) if layer.return_sequences else None
    count = 2 if layer.merge_mode is None else 1
    found = [own] * count + [None] * (layer.output_count - count)
    return found if len(found) > 1 else own


@_computes(Attention.compute_mask)
def _pass_that_of_query(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    return _first(mask)


@_computes(TimeDistributed.compute_mask)
def _pass_by_dialect(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    compute = getattr(type(layer.layer), "compute_mask", None)
    if layer.keras_2 and (layer.creates_mask or compute is not Computation.compute_mask):
        build.refuse("the mask of its output is that of the layer inside")
    if layer.keras_2 and mask is not None and mask.rank > 2:
        build.refuse("it has a mask of more than the steps")
    return mask


@_computes(SpectralNormalization.compute_mask)
def _pass_as_inner(build: GraphBuilder, layer: Any, x: Any, mask: Any, options: Any) -> Any:
    return mask if layer.layer.supports_masking else None


def _first(mask: Any) -> Any:
    return mask[0] if isinstance(mask, (list, tuple)) else mask


def set_masks(found: Any, mask: Any) -> Any:
    """Return the Values of a call's outputs with their masks."""
    if isinstance(found, Value):
        return replace(found, mask=mask[0] if isinstance(mask, list) else mask)
    masks = mask if isinstance(mask, list) else [mask, *[None] * (len(found) - 1)]
    return [replace(x, mask=own) for x, own in zip(found, masks, strict=True)]
