"""Exports modules with open axes, and runs them at other sizes than the traced one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

WARNINGS = (  # of torch: that its ways out are old, that they use what is old, and of each check
    "ignore:`torch.jit.* is deprecated:DeprecationWarning",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    "ignore:.*Converting a tensor to a Python:torch.jit.TracerWarning",
    # Of its way to open axes of a fused LSTM or GRU:
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:_check_is_size will be removed:FutureWarning",
)


def open_axes(inputs: Sequence[tuple[Any, ...]]) -> Any:
    """Return `dynamic_shapes` for `torch.export`: the axes along which the inputs differ.

    Args:
        inputs: The arguments of several calls: tensors, or lists of tensors.
    """

    def axes(*values: Any) -> Any:
        if isinstance(values[0], list):
            return [axes(*each) for each in zip(*values, strict=True)]
        sizes = zip(*(value.shape for value in values), strict=True)
        return {
            axis: torch.export.Dim.DYNAMIC
            for axis, found in enumerate(sizes)
            if len(set(found)) > 1
        }

    return tuple(axes(*each) for each in zip(*inputs, strict=True))


def assert_close_to_largest(found: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    """Compare two tensors to a part of the largest value."""
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=relative, atol=relative * scale)


def check_exported(module: nn.Module, inputs: Sequence[tuple[Any, ...]]) -> None:
    """Export a module for the first inputs, and check it for all."""
    program = torch.export.export(module, inputs[0], dynamic_shapes=open_axes(inputs)).module()
    for arguments in inputs:
        assert_close_to_largest(program(*arguments), module(*arguments))
