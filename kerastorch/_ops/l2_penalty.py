"""The sum of all L2 penalties of a model in one autograd node, faster and as accurate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._core.layout import memory_order

_ROW = 256  # values whose norm is as accurate as a sum of squares, without memory for squares


def sum_of_squares(factors: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """Return `sum(factor * sum(tensor ** 2))` over tensors of one device and float dtype."""
    total: Tensor = _Squares.apply(tuple(factors), *tensors)  # type: ignore[no-untyped-call]
    return total


def _sum_squares(tensor: Tensor) -> Tensor:
    """Return the sum of squares of one tensor, reading it in memory order."""
    flat = memory_order(tensor).reshape(-1)
    end = flat.numel() // _ROW * _ROW
    rows: Tensor = torch.linalg.vector_norm(flat[:end].view(-1, _ROW), dim=1)
    return rows.square().sum() + flat[end:].square().sum()


class _Squares(torch.autograd.Function):
    """One autograd node for all tensors; each gradient is one multiplication."""

    generate_vmap_rule = True

    @staticmethod
    def forward(factors: tuple[float, ...], *tensors: Tensor) -> Tensor:
        terms = [factor * _sum_squares(x) for factor, x in zip(factors, tensors, strict=True)]
        return torch.stack(terms).sum()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.factors, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(ctx.factors, ctx.saved_tensors, strict=True)
        return (None, *(x * (2 * factor * gradient) for factor, x in pairs))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Tensor:
        triples = zip(ctx.factors, ctx.saved_tensors, tangents, strict=True)
        terms = [2 * f * (x * dx).sum() for f, x, dx in triples if dx is not None]
        return torch.stack(terms).sum()
