"""Attention, AdditiveAttention, MultiHeadAttention and GroupedQueryAttention."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ....layers.attention.attention import AdditiveAttention, Attention
from ....layers.attention.grouped_query_attention import GroupedQueryAttention
from ....layers.attention.heads import HeadAttention
from ....layers.attention.multi_head_attention import MultiHeadAttention
from ...graph import GraphBuilder, Value
from ...masking import cast_mask, combine_masks
from ...printed import attention as printed_attention
from ...registry import lowers
from ..convolution import set_tensors

printed: Any = printed_attention


@lowers(Attention, AdditiveAttention, takes_masks=True)
def lower_attention(
    build: GraphBuilder,
    layer: Attention,
    inputs: list[Value],
    mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> Any:
    """Attention without heads: torch's function where it has no weights and no dropout."""
    query, value, key = [*inputs, inputs[1]][:3]
    of_query, of_value = (None, None) if mask is None else mask[:2]
    is_function = (
        type(layer) is Attention
        and not (layer.use_scale or layer.dropout or return_attention_scores)
        and layer.score_mode == "dot"
    )
    causal = bool(use_causal_mask)
    is_alone = is_function and causal and of_value is None
    added = None if is_alone else _make_added_mask(build, query, value, of_value, causal)
    if is_function:
        options: dict[str, Any] = {} if added is None else {"attn_mask": added}
        options |= {"is_causal": True, "scale": 1.0} if is_alone else {"scale": 1.0}
        found = [build.function(F.scaled_dot_product_attention, query, key, value, **options)]
    else:
        given: Any = {} if added is None else {"mask": added}
        found = build.unpack(build.module(_make_attention(layer), query, value, key, **given), 2)
    if of_query is not None:
        valid = build.function(operator.getitem, cast_mask(build, of_query), (..., None))
        found[0] = replace(found[0], node=build.function(torch.where, valid, found[0], 0.0).node)
    return found if return_attention_scores else found[0]


def _make_attention(layer: Any) -> nn.Module:
    """Return the printed module of a layer, with its weights."""
    options: dict[str, Any] = {"use_scale": layer.use_scale, "dropout": layer.dropout}
    tensors = {"scale": layer.scale}
    if type(layer) is AdditiveAttention:
        size = 0 if layer.scale is None else layer.scale.shape[0]
        module: nn.Module = printed.AdditiveAttention(size, **options)
    elif layer.score_mode == "concat":
        module = printed.ConcatAttention(**options)
        tensors["weight"] = layer.concat_score_weight
    else:
        module = printed.DotAttention(**options)
    return set_tensors(module, not layer.trainable, **tensors)  # type: ignore[no-any-return]


def _make_added_mask(
    build: GraphBuilder, query: Value, value: Value, mask: Value | None, causal: bool
) -> Value | None:
    """Return -1e9 for the keys that do not count, as Keras adds it."""
    valid = None
    if mask is not None:
        valid = build.function(operator.getitem, cast_mask(build, mask), (..., None, slice(None)))
    if causal:
        own = build.function(printed.make_causal_mask, query, value)
        valid = own if valid is None else build.function(operator.and_, valid, own)
    if valid is None:
        return None
    return _add_large(build, valid, query)


def _add_large(build: GraphBuilder, valid: Value, like: Value) -> Value:
    return build.function(printed.subtract_large, valid, like)


@lowers(MultiHeadAttention, GroupedQueryAttention, takes_masks=True)
def lower_head_attention(
    build: GraphBuilder,
    layer: Any,
    query: Value,
    value: Value | None = None,
    key: Value | None = None,
    query_mask: Any = None,
    value_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    mask: Any = None,
) -> Any:
    """Attention with several heads."""
    value = query if value is None else value
    key = value if key is None else key
    scores, causal = bool(return_attention_scores), bool(use_causal_mask)
    padding = query_mask, value_mask, key_mask
    axes = [a % query.rank for a in layer.attention_axes or range(1, query.rank - 1)]
    fusible = query.rank == 3 and axes == [1]
    if query.rank > 3:
        if any(one is not None for one in (*padding, attention_mask)) or causal or scores:
            build.refuse("it has masks or scores for inputs of more than 3 axes")
        if layer.sliding_window is not None:
            build.refuse("it has a sliding_window for inputs of more than 3 axes")
        if value is not query or key is not query:
            build.refuse("it attends to another input of more than 3 axes")
        return _attend_along(build, layer, query, axes)
    uniform = fusible and not layer.dropout and not scores
    alone = causal and not any(one is not None for one in (*padding, attention_mask))
    alone = alone and layer.sliding_window is None
    simple = _is_simple(layer) and not scores
    given: dict[str, Any] = {}
    if alone and simple:
        given["is_causal"] = True
    else:
        joined = _join_masks(build, layer, (query, value), padding, attention_mask, causal, scores)
        if joined is not None:
            given["mask"] = _finish_mask(build, layer, joined, query, uniform)
    if not given and not scores and not build.is_shared and _is_usual(layer):
        attention = _make_usual_attention(layer)
        return build.unpack(build.module(attention, query, key, value, need_weights=False), 2)[0]
    y = build.module(_make_head_attention(layer, simple), query, value, key, **given)
    if simple:
        return _split_output(build, layer, y)
    y, weights = build.unpack(y, 2)
    y = _split_output(build, layer, y)
    shape = (query.shape[0], layer._heads[0], query.shape[1], value.shape[1])
    weights = replace(weights, shape=shape)
    return [y, weights] if scores else y


def _attend_along(build: GraphBuilder, layer: Any, x: Value, axes: Sequence[int]) -> Value:
    """Attend along axes of an input of any rank: the others become axes of the batch."""
    rank = x.rank
    batch = [0, *(axis for axis in range(1, rank - 1) if axis not in axes)]
    order = [*batch, *axes, rank - 1]
    sizes = [x.shape[axis] for axis in order]
    if None in sizes[1:]:
        build.refuse("its input has axes of unknown sizes")
    back = [order.index(axis) for axis in range(rank)]
    moved = order != list(range(rank))
    y = build.method("permute", x, *order) if moved else x
    split_batch, split_steps = len(batch) > 1, len(axes) > 1
    y = build.method("flatten", y, len(batch), len(batch) + len(axes) - 1) if split_steps else y
    y = build.method("flatten", y, 0, len(batch) - 1) if split_batch else y
    simple = _is_simple(layer)
    y = build.module(_make_head_attention(layer, simple), y, y, y)
    y = y if simple else build.unpack(y, 2)[0]
    if split_batch:
        y = build.method("unflatten", y, 0, (-1, *sizes[1 : len(batch)]))
    if split_steps:
        y = build.method("unflatten", y, len(batch), tuple(sizes[len(batch) : -1]))
    y = build.method("permute", y, *back) if moved else y
    return _split_output(build, layer, y)


def _is_simple(layer: Any) -> bool:
    """Return whether heads have keys and values of their own, and no gate."""
    return layer._heads[0] == layer._heads[1] and not layer.use_gate


def _is_usual(layer: Any) -> bool:
    """Return whether all sizes are those of `nn.MultiheadAttention`."""
    size = layer._heads[0] * layer._sizes[0]
    weights = [layer._tensor(f"{name}_weight") for name in ("query", "key", "value", "output")]
    return _is_simple(layer) and all(w.shape == (size, size) for w in weights)


def _make_usual_attention(layer: HeadAttention) -> nn.Module:
    """Return torch's module of a layer, with its weights."""
    size, names = layer._heads[0] * layer._sizes[0], ("query", "key", "value")
    flags: Any = {"bias": layer.use_bias, "batch_first": True, "device": "meta"}
    module = nn.MultiheadAttention(size, layer._heads[0], layer.dropout, **flags)
    joined: Any = {"in_proj_weight": torch.cat([layer._tensor(f"{n}_weight") for n in names])}
    if layer.use_bias:
        joined["in_proj_bias"] = torch.cat([layer._tensor(f"{n}_bias") for n in names])
    set_tensors(module, not layer.trainable, **joined)
    output = {kind: layer._tensor(f"output_{kind}") for kind in ("weight", "bias")}
    set_tensors(module.out_proj, not layer.trainable, **output)
    return module


def _make_head_attention(layer: HeadAttention, simple: bool) -> nn.Module:
    """Return the printed module of a layer, with its weights."""
    (heads, groups), (key_dim, value_dim) = layer._heads, layer._sizes
    query, key, value, output = (
        layer._tensor(f"{name}_weight") for name in ("query", "key", "value", "output")
    )
    sizes = [query.shape[1], value.shape[1], key.shape[1], output.shape[0]]
    options: dict[str, Any] = {"bias": layer.use_bias, "dropout": layer.dropout}
    with torch.device("meta"):
        if simple:
            module = printed.MultiHeadAttention(*sizes, heads, key_dim, value_dim, **options)
        else:
            options["use_gate"] = layer.use_gate
            dims = heads, groups, key_dim, value_dim
            module = printed.HeadAttention(*sizes, *dims, **options)
    for name in ("query", "key", "value", "output", *(["gate"] if layer.use_gate else [])):
        tensors = {kind: layer._tensor(f"{name}_{kind}") for kind in ("weight", "bias")}
        set_tensors(getattr(module, name), not layer.trainable, **tensors)
    return module  # type: ignore[no-any-return]


def _split_output(build: GraphBuilder, layer: Any, y: Value) -> Value:
    sizes = layer.output_shape or ()
    return build.method("unflatten", y, -1, tuple(sizes)) if len(sizes) > 1 else y


def _join_masks(
    build: GraphBuilder,
    layer: Any,
    inputs: tuple[Value, Value],
    padding: Sequence[Value | None],
    attention_mask: Any,
    causal: bool,
    scores: bool,
) -> Value | None:
    """Return one mask that broadcasts to (batch, heads, steps, keys)."""
    query, value = inputs
    found = _join_padding(build, *padding)
    if causal:
        found = _join(build, found, _mask_of(build, printed.make_causal_mask, query, value))
    if layer.sliding_window is not None:
        window = layer.sliding_window
        found = _join(build, found, _mask_of(build, printed.make_window_mask, query, value, window))
    if attention_mask is not None:
        found = _join(build, found, _read_given(build, layer, attention_mask, found, scores))
    if found is not None and found.rank == 3:
        found = replace(build.method("unsqueeze", found, 1), shape=(None,) * 4)
    return found


def _join_padding(
    build: GraphBuilder, of_query: Value | None, of_value: Value | None, of_key: Value | None
) -> Value | None:
    """Return the masks of query, value and key as one (batch, 1, queries, keys)."""
    keys = combine_masks(build, operator.and_, of_value, of_key)
    if of_query is not None and keys is not None:
        query = cast_mask(build, of_query)
        found = build.name(build.function(printed.make_padding_mask, query, keys), "mask")
    elif keys is not None:
        found = build.function(operator.getitem, keys, (slice(None), None, None))
    elif of_query is not None:
        index = (slice(None), None, slice(None), None)
        found = build.function(operator.getitem, cast_mask(build, of_query), index)
    else:
        return None
    return replace(found, shape=(None,) * 4)


def _mask_of(build: GraphBuilder, function: Any, *arguments: Any) -> Value:
    return replace(build.function(function, *arguments), shape=(None, None), dtype=torch.bool)


def _join(build: GraphBuilder, left: Value | None, right: Value) -> Value:
    if left is None:
        return right
    rank = max(left.rank, right.rank)
    if rank == 4:  # a mask of all heads
        left, right = (
            replace(build.method("unsqueeze", x, 1), shape=(None,) * 4) if x.rank == 3 else x
            for x in (left, right)
        )
    joined = combine_masks(build, operator.and_, left, right)
    return right if joined is None else replace(joined, shape=(None,) * rank)


def _read_given(
    build: GraphBuilder, layer: Any, mask: Value, others: Value | None, scores: bool
) -> Value:
    """Return the attention mask of a call as Keras reads it."""
    alone, is_float = others is None, mask.dtype.is_floating_point
    if isinstance(layer, GroupedQueryAttention):
        if alone and is_float and (scores or layer.dropout > 0):
            found = build.function(operator.gt, mask, 0.5)
            return replace(found, shape=mask.shape, dtype=torch.bool)
    elif layer.keras_2 and alone:
        return mask
    return cast_mask(build, mask)


def _finish_mask(build: GraphBuilder, layer: Any, mask: Value, like: Value, uniform: bool) -> Value:
    """Return the mask as attention takes it: to add, or of booleans."""
    if layer.keras_2:
        return _add_large(build, mask, like)
    if uniform:
        return build.function(printed.mask_scores, mask, like)
    return mask
