"""The forms that inductor compiles best: a convolution at any size, the rest at a fixed one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST, axes_moved

# Older ones may not trace the question whether a size is fixed; the limits are those of 2.13.
_ASKS_FOR_SIZES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def is_training_any_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that is to train with inputs of other sizes.

    Args:
        x: (batch, channels, *spatial).
    """
    return torch.is_grad_enabled() and _is_for_inductor() and not _is_fixed(x)


def is_inferring_one_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that is to infer from inputs of this size only.

    There inductor joins what is done to each element of a convolution's output with it, if the
    axes are still the convolution's. At any size it cannot compile that form.
    """
    return not torch.is_grad_enabled() and is_compiling_one_size(x)


def is_compiling_one_size(x: Tensor) -> bool:
    """Return whether a graph is being compiled that takes inputs of this size only."""
    return _is_for_inductor() and _is_fixed(x)


def by_element(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Return what a function makes of each element, in a graph with the axes of convolutions."""
    if torch.compiler.is_compiling() and all(map(_is_image, tensors)):
        moved = [axes_moved(x, CHANNELS_FIRST[2]) for x in tensors]
        return axes_moved(function(*moved), CHANNELS_LAST[2])
    return function(*tensors)


def _is_image(x: Tensor) -> bool:
    return x.ndim == 4 and x.stride(-1) == 1 and is_inferring_one_size(x)


def _is_for_inductor() -> bool:
    """Return whether Dynamo is at work, and not for what is exported to others."""
    return (
        _ASKS_FOR_SIZES
        and torch.compiler.is_dynamo_compiling()
        and not torch.compiler.is_exporting()
    )


def _is_fixed(x: Tensor) -> bool:
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return all(has_static_value(n) for n in x.shape[1:])


def any_size() -> bool:
    """Return whether the sizes stand for others, too: while compiling, exporting or tracing."""
    compiling = torch.compiler.is_compiling()
    return compiling or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def is_exporting() -> bool:
    """Return whether `torch.export` is at work; a graph that it makes has no losses."""
    asked = getattr(torch.compiler, "is_exporting", None)  # new in torch 2.7
    return asked is not None and asked()


def under_autocast(device: str) -> bool:
    """Return whether `torch.autocast` is on for a type of devices."""
    return device != "meta" and torch.is_autocast_enabled(device)  # "meta" is an error there
