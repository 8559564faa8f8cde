"""Embedding, ReversibleEmbedding and Masking."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ....layers.core.embedding import Embedding
from ....layers.core.masking import Masking
from ....layers.core.reversible_embedding import ReversibleEmbedding
from ...graph import GraphBuilder, Value
from ...masking import find_steps
from ...registry import lowers
from ..convolution import set_tensors


@lowers(Embedding)
def lower_embedding(build: GraphBuilder, layer: Embedding, x: Value) -> Value:
    """A table of vectors; with LoRA the product of two small ones is added."""
    if x.dtype not in (torch.int32, torch.int64):
        x = replace(build.method("long", x), dtype=torch.int64)
    y = replace(build.module(make_table(layer, layer.weight), x), dtype=layer.weight.dtype)
    if not layer.lora_enabled:
        return y
    first = build.module(make_table(layer, layer.lora_embeddings_a), x, name="lora_a")
    second = build.module(make_linear(layer, layer.lora_embeddings_b.T), first, name="lora_b")
    scaled = build.function(operator.mul, second, get_scale(layer))
    return replace(build.function(operator.add, y, scaled), dtype=layer.weight.dtype)


@lowers(ReversibleEmbedding)
def lower_reversible_embedding(
    build: GraphBuilder, layer: ReversibleEmbedding, x: Value, reverse: bool = False
) -> Value:
    """A table of vectors, or the products of vectors with all of its rows."""
    if not reverse:
        found: Value = lower_embedding(build, layer, x)
        return found
    if layer.reverse_dtype not in (None, layer.compute_dtype):
        build.refuse("its reverse_dtype is another one than its own")
    # The modules in the order of a call forward, which uses the same ones.
    table = build.weight_of(make_table(layer, layer.weight), "weight", x)
    if layer.lora_enabled:
        first = make_table(layer, layer.lora_embeddings_a)
        second = make_linear(layer, layer.lora_embeddings_b.T)
        rows = build.weight_of(first, "weight", x, name="lora_a")
        columns = build.weight_of(second, "weight", x, name="lora_b")
    if layer.tie_weights:
        y = build.function(F.linear, x, table)
        if layer.lora_enabled:
            small = build.function(operator.matmul, x, columns)
            update = build.function(F.linear, small, rows)
            scaled = build.function(operator.mul, update, get_scale(layer))
            y = build.function(operator.add, y, scaled)
    else:
        y = build.module(make_linear(layer, layer.reverse_weight.T), x, name="reverse")
    cap = layer.logit_soft_cap
    if cap is not None:
        y = build.function(torch.tanh, build.function(operator.truediv, y, cap))
        y = build.function(operator.mul, y, cap)
    return y


@lowers(Masking)
def lower_masking(build: GraphBuilder, layer: Masking, x: Value) -> Value:
    """0 where all values of a step are `mask_value`."""
    value: Any = layer.mask_value
    if isinstance(value, (bool, int, float)) and value == 0:
        return x  # they are 0
    mask = find_steps(build, layer, x)
    wide = build.function(operator.getitem, mask, (..., None))
    return replace(x, node=build.function(torch.where, wide, x, 0.0).node)


def make_table(layer: Embedding, weight: Any) -> nn.Embedding:
    """Return the module of a table."""
    table = nn.Embedding(weight.shape[0], weight.shape[1], device="meta")
    return set_tensors(table, not weight.requires_grad, weight=weight)  # type: ignore[no-any-return]


def make_linear(layer: Embedding, weight: Any) -> nn.Linear:
    """Return the module of a product."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    return set_tensors(linear, not weight.requires_grad, weight=weight)  # type: ignore[no-any-return]


def get_scale(layer: Embedding) -> float:
    """Return the factor of LoRA's update."""
    return (layer.lora_alpha or 0) / (layer.lora_rank or 1)
