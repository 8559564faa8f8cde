"""Queries of whether a graph is being traced, compiled or exported, and at which sizes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST, permute_axes

# Older versions may not trace `has_static_value`.
_HAS_STATIC_VALUE = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def is_compiling_dynamic_training(x: Tensor) -> bool:
    """Return whether inductor compiles a training graph for dynamic sizes of `x`."""
    return torch.is_grad_enabled() and _is_for_inductor() and not _is_fixed(x)


def is_compiling_static_inference(x: Tensor) -> bool:
    """Return whether inductor compiles an inference graph for the fixed size of `x`.

    It then fuses elementwise operations into a convolution if its axes are not yet permuted. For
    dynamic sizes it cannot compile that form.
    """
    return not torch.is_grad_enabled() and is_compiling_static(x)


def is_compiling_static(x: Tensor) -> bool:
    """Return whether inductor compiles a graph for the fixed size of `x`."""
    return _is_for_inductor() and _is_fixed(x)


def elementwise_channels_first(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply an elementwise function, channels first if inductor can then fuse it."""
    if torch.compiler.is_compiling() and all(map(_is_fusible, tensors)):
        moved = [permute_axes(x, CHANNELS_FIRST[2]) for x in tensors]
        return permute_axes(function(*moved), CHANNELS_LAST[2])
    return function(*tensors)


def _is_fusible(x: Tensor) -> bool:
    return x.ndim == 4 and x.stride(-1) == 1 and is_compiling_static_inference(x)


def _is_for_inductor() -> bool:
    """Return whether Dynamo is tracing, other than for an export."""
    compiling = _HAS_STATIC_VALUE and torch.compiler.is_dynamo_compiling()
    return compiling and not torch.compiler.is_exporting()


def _is_fixed(x: Tensor) -> bool:
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return all(has_static_value(n) for n in x.shape[1:])


def is_tracing() -> bool:
    """Return whether a graph is being compiled, exported or traced, maybe for other sizes."""
    compiling = torch.compiler.is_compiling()
    return compiling or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def is_saving_graph() -> bool:
    """Return whether a graph for other sizes, too, is being exported or traced by `torch.jit`."""
    return is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def is_exporting() -> bool:
    """Return whether `torch.export` is tracing; its graphs have no losses."""
    query = getattr(torch.compiler, "is_exporting", None)  # new in torch 2.7
    return query is not None and query()


def is_autocast_enabled(device: str) -> bool:
    """Return whether `torch.autocast` is on for a device type."""
    return device != "meta" and torch.is_autocast_enabled(device)  # which raises for "meta"
