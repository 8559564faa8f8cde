"""Activations that overwrite what they alone read, which spares memory and time."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_IN_TRAINING: frozenset[Any] = frozenset({F.relu, F.relu6})  # their gradients need results only
_IN_EVALUATION = _IN_TRAINING | {
    F.leaky_relu, F.elu, F.selu, F.celu, F.silu, F.hardswish, F.hardsigmoid,
}  # fmt: skip


def write_in_place(module: fx.GraphModule, *, inference: bool) -> None:
    """Let activations of a graph, and of those inside it, overwrite new tensors."""
    targets = _IN_EVALUATION if inference else _IN_TRAINING
    for inner in list_graphs(module):
        for node in inner.graph.nodes:
            if node.op != "call_function" or node.target not in targets:
                continue
            before = node.args[0]
            if isinstance(before, fx.Node) and len(before.users) == 1 and _is_new(inner, before):
                node.kwargs = {**node.kwargs, "inplace": True}
        inner.recompile()


def list_graphs(module: fx.GraphModule) -> Iterator[fx.GraphModule]:
    """Yield a graph and all graphs inside it."""
    yield from (one for one in module.modules() if isinstance(one, fx.GraphModule))


def get_module(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls, or None."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_new(module: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a node computes a tensor of its own, which no other value shares."""
    if node.op == "call_module":
        kinds = (*CONVOLUTIONS, *TRANSPOSED, *NORMS, nn.Linear)
        return isinstance(get_module(module, node), kinds)
    return node.op == "call_function" and node.target in (operator.add, operator.mul, torch.cat)
