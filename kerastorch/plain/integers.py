"""Integers and booleans: where a layer converts them to floating point."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..dtype_policies import to_torch_dtype
from ..layers.activation.activation import LeakyReLU
from ..layers.base.stateless import StatelessLayer
from ..layers.core.embedding import Embedding
from ..layers.core.reversible_embedding import ReversibleEmbedding
from ..layers.normalization.base import FloatNormalization
from ..layers.pooling.global_pooling import _GlobalAveragePooling
from .graph import GraphBuilder, Value

_METHODS = {
    torch.float16: "half",
    torch.bfloat16: "bfloat16",
    torch.float32: "float",
    torch.float64: "double",
}
_INDEXED = (Embedding, ReversibleEmbedding)


def convert_integers(build: GraphBuilder, layer: Any, x: Value) -> Value:
    """Return the input of a layer in its compute dtype, if the layer converts integers."""
    if x.dtype.is_floating_point or not _converts(layer, x.dtype):
        return x
    if isinstance(layer, FloatNormalization):  # which truncates its output to integers
        build.refuse("its input holds integers or booleans")
    target = to_torch_dtype(layer.compute_dtype)
    converted = build.method(_METHODS[target], x)
    return replace(converted, shape=x.shape, flattened=x.flattened, mask=x.mask, dtype=target)


def _converts(layer: Any, dtype: torch.dtype) -> bool:
    if isinstance(layer, (LeakyReLU, _GlobalAveragePooling)):
        return True
    if isinstance(layer, StatelessLayer):
        return layer._casts_dtype(dtype)
    return bool(layer.weight_specs) and not isinstance(layer, _INDEXED)
