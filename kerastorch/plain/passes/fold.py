"""The inference form: batch normalization folded into the layer before it, and the like."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_IN_PLACE: frozenset[Any] = frozenset({
    F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.silu, F.hardswish, F.hardsigmoid,
})  # fmt: skip


def fold_for_inference(module: fx.GraphModule) -> None:
    """Change a graph, and those inside it, to compute the same in evaluation with less work.

    Dropout is removed, a batch normalization is folded into the convolution or linear layer whose
    output it alone reads, and activations overwrite a result that nothing else reads. The weights
    keep their dtype: double precision loses nothing.
    """
    for inner in _list_graphs(module):
        counts = Counter(node.target for node in inner.graph.nodes if node.op == "call_module")
        for node in list(inner.graph.nodes):
            _remove_dropout(inner, node)
        for node in list(inner.graph.nodes):
            _fold_normalization(inner, node, counts)
        for node in inner.graph.nodes:
            _write_in_place(inner, node)
        inner.delete_all_unused_submodules()
        inner.recompile()


def _list_graphs(module: fx.GraphModule) -> Iterator[fx.GraphModule]:
    yield from (one for one in module.modules() if isinstance(one, fx.GraphModule))


def _remove_dropout(module: fx.GraphModule, node: fx.Node) -> None:
    if isinstance(_get_module(module, node), _DROPOUTS):
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        module.graph.erase_node(node)


def _fold_normalization(module: fx.GraphModule, node: fx.Node, counts: Counter[Any]) -> None:
    """Fold a batch normalization into the module before it, if that has no other reader."""
    norm: Any = _get_module(module, node)
    before = node.args[0] if node.args else None
    if not isinstance(norm, _NORMS) or not isinstance(before, fx.Node) or len(before.users) > 1:
        return
    layer: Any = _get_module(module, before)
    if counts[before.target] > 1 or counts[node.target] > 1:
        return
    mean, variance, *affine = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    if isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED)):
        transposed = isinstance(layer, _TRANSPOSED)
        if transposed and layer.groups > 1:
            return
        fuse: Any = partial(fuse_conv_bn_weights, transpose=transposed)
    elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
        if before.meta.get("rank") != 2:
            return
        fuse = fuse_linear_bn_weights
    else:
        return
    weights = fuse(layer.weight, layer.bias, mean, variance, *affine)
    layer.weight, layer.bias = (nn.Parameter(one.detach()) for one in weights)
    node.replace_all_uses_with(before)
    module.graph.erase_node(node)


def _write_in_place(module: fx.GraphModule, node: fx.Node) -> None:
    """Let an activation overwrite what it alone reads, if that is a new tensor."""
    if node.op != "call_function" or node.target not in _IN_PLACE:
        return
    before = node.args[0]
    if isinstance(before, fx.Node) and len(before.users) == 1 and _is_new(module, before):
        node.kwargs = {**node.kwargs, "inplace": True}


def _is_new(module: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a node computes a tensor of its own, which no other value shares."""
    if node.op == "call_module":
        kinds = (*_CONVOLUTIONS, *_TRANSPOSED, *_NORMS, nn.Linear)
        return isinstance(_get_module(module, node), kinds)
    return node.op == "call_function" and node.target in (operator.add, operator.mul, torch.cat)


def _get_module(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None
