"""Where a module with a layer's weights would still compute other numbers than the layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..._core.registry import snake_case
from ...graph.spec import LayerSpec
from ...layers.base.layer import Layer
from .layer_differences import find_layer_differences
from .torch_modules import Adapter, find_adapter


def disagreements(
    module: nn.Module, layer: LayerSpec, custom: Mapping[str, Any] | None = None
) -> list[str]:
    """Return where a module computes other numbers than a saved layer, each with what to do.

    Args:
        module: A layer of kerastorch, or a module of torch.nn that stands for a Keras layer.
        layer: The saved layer's class and config.
        custom: The caller's own classes and functions by name; None for what makes modules.
    """
    if isinstance(module, Layer):
        return list(find_layer_differences(module, layer, custom or {}))
    adapter = _find_adapter(module, layer)
    return [] if adapter is None else list(adapter.differences(module, layer.config))


def caution(module: nn.Module, layer: LayerSpec) -> str:
    """Return what makes training, though not inference, differ from the saved layer's; or ""."""
    adapter = None if isinstance(module, Layer) else _find_adapter(module, layer)
    return "" if adapter is None else adapter.training_difference(module, layer.config)


def _find_adapter(module: nn.Module, layer: LayerSpec) -> Adapter | None:
    """Return a module's adapter if the layer is of a Keras class that it can stand for."""
    adapter = find_adapter(module, any_forward=True)
    if adapter is None or snake_case(layer.class_name) not in adapter.kinds(module):
        return None
    return adapter
