"""The inference form: batch normalization folded into the layer before it, and the like."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from .in_place import CONVOLUTIONS, NORMS, TRANSPOSED, get_module, list_graphs

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def fold_for_inference(module: fx.GraphModule) -> None:
    """Change a graph, and those inside it, to compute the same in evaluation with less work.

    Dropout is removed, and a batch normalization is folded into the convolution or linear layer
    whose output it alone reads. The weights keep their dtype: double precision loses nothing.
    """
    for inner in list_graphs(module):
        counts = Counter(node.target for node in inner.graph.nodes if node.op == "call_module")
        for node in list(inner.graph.nodes):
            _remove_dropout(inner, node)
        for node in list(inner.graph.nodes):
            _fold_normalization(inner, node, counts)
        inner.delete_all_unused_submodules()
        inner.recompile()


def _remove_dropout(module: fx.GraphModule, node: fx.Node) -> None:
    if isinstance(get_module(module, node), _DROPOUTS):
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        module.graph.erase_node(node)


def _fold_normalization(module: fx.GraphModule, node: fx.Node, counts: Counter[Any]) -> None:
    """Fold a batch normalization into the module before it, if that has no other reader."""
    norm: Any = get_module(module, node)
    before = node.args[0] if node.args else None
    if not isinstance(norm, NORMS) or not isinstance(before, fx.Node) or len(before.users) > 1:
        return
    layer: Any = get_module(module, before)
    if counts[before.target] > 1 or counts[node.target] > 1:
        return
    mean, variance, *affine = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
        transposed = isinstance(layer, TRANSPOSED)
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
