"""Where a module with a layer's weights would still compute other numbers than the layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from ..._core import arguments
from ..._core.errors import shown
from ..._core.registry import snake_case
from ..._ops.window_arithmetic import fixed_padding
from ...graph.spec import LayerSpec
from ...layers.base.layer import Layer
from .layer_differences import find_layer_differences, is_equal
from .parameters import kinds_of

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_LAYER_OF_KERASTORCH = "Use the layer of the same name from kerastorch.layers in its place."


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
    if not _is_of_class(module, layer):
        return []
    config = layer.config
    if isinstance(module, _CONVOLUTIONS):
        return list(_of_convolution(module, config))
    if isinstance(module, _TRANSPOSED):
        return list(_of_transposed(module, config))
    if isinstance(module, nn.GroupNorm):
        return [*_of_epsilon(module, config), *_differs("num_groups", module, config, "groups", 32)]
    if isinstance(module, (*_BATCH_NORMS, nn.LayerNorm)):
        return list(_of_epsilon(module, config))
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return [f"max_norm={module.max_norm}, where Keras has none"]
    return []


def _is_of_class(module: nn.Module, layer: LayerSpec) -> bool:
    """Return whether a layer is of the Keras class that a module is like, and not the user's."""
    return snake_case(layer.class_name) in kinds_of(module)


def _of_convolution(module: Any, config: Mapping[str, Any]) -> Iterator[str]:
    axes = len(module.kernel_size)
    for name, argument in (("stride", "strides"), ("dilation", "dilation_rate")):
        wanted = _numbers(config.get(argument, 1), axes)
        if wanted is not None and wanted != tuple(getattr(module, name)):
            yield f"{name}={getattr(module, name)}, where the source has {argument}={wanted}"
    if module.padding_mode != "zeros":
        yield f"padding_mode={module.padding_mode!r}, where Keras pads with zeros"
    padding = config.get("padding", "valid")
    if padding not in ("valid", "same"):
        yield f"padding={module.padding!r}, where the source has padding={padding!r}"
        return
    if module.padding == padding:
        return
    own = (0,) * axes if module.padding == "valid" else module.padding
    if own == "same":
        own = fixed_padding("same", module.kernel_size, module.stride, module.dilation)
    wanted = fixed_padding(padding, module.kernel_size, module.stride, module.dilation)
    if own != wanted:
        said = f"padding={module.padding!r}, where the source has padding={padding!r}"
        if wanted is None:
            said += ", which is uneven or goes by the input's size"
        elif padding == "same":
            said += f", which is {wanted}"
        yield f"{said}. {_LAYER_OF_KERASTORCH}"


def _of_transposed(module: Any, config: Mapping[str, Any]) -> Iterator[str]:
    axes = len(module.kernel_size)
    strides = _numbers(config.get("strides", 1), axes)
    if strides is not None and strides != tuple(module.stride):
        yield f"stride={module.stride}, where the source has strides={strides}"
    dilation = _numbers(config.get("dilation_rate", 1), axes)
    if dilation is not None and dilation != tuple(module.dilation):
        yield f"dilation={module.dilation}, where the source has dilation_rate={dilation}"
    if strides is None or config.get("output_padding") is not None:
        return
    spare = [
        (k - 1) * d + 1 - s
        for k, s, d in zip(module.kernel_size, strides, module.dilation, strict=True)
    ]
    if config.get("padding", "valid") == "same":
        # What exceeds `input * stride` is cropped, an odd rest at the end, which torch never does.
        wanted = [((n // 2, 0) if n % 2 == 0 else None) if n >= 0 else (0, -n) for n in spare]
    else:
        wanted = [(0, max(-n, 0)) for n in spare]
    own = list(zip(module.padding, module.output_padding, strict=True))
    if own != wanted:
        said = f"padding={module.padding}, output_padding={module.output_padding}"
        padding = config.get("padding", "valid")
        exact = "no padding of torch's is the same" if None in wanted else f"that is {wanted}"
        yield f"{said}, where the source has padding={padding!r}: {exact}"


def _of_epsilon(module: Any, config: Mapping[str, Any]) -> Iterator[str]:
    epsilon = config.get("epsilon", 1e-3)
    if not is_equal(module.eps, epsilon):
        remedy = f"Make the module with eps={epsilon!r}."
        yield f"eps={module.eps!r}, where the source has epsilon={epsilon!r}. {remedy}"


def _differs(
    name: str, module: Any, config: Mapping[str, Any], argument: str, default: Any
) -> Iterator[str]:
    own, saved = getattr(module, name), config.get(argument, default)
    if own != saved:
        yield f"{name}={shown(own)}, where the source has {argument}={shown(saved)}"


def _numbers(value: Any, count: int) -> tuple[int, ...] | None:
    try:
        return arguments.positive_integers("", "", value, count)
    except ValueError:
        return None


def caution(module: nn.Module, layer: LayerSpec) -> str:
    """Return what makes training, though not inference, differ from the saved layer's; or ""."""
    if not isinstance(module, _BATCH_NORMS) or not _is_of_class(module, layer):
        return ""
    saved = layer.config.get("momentum", 0.99)
    if isinstance(saved, (int, float)) and not is_equal(module.momentum, 1.0 - saved):
        own = module.momentum
        return f"momentum={own!r}; in training, the source's {saved!r} is {1.0 - saved:.6g} here"
    return ""
