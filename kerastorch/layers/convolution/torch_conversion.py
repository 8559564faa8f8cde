"""Convert a convolution layer from and to nn.Conv1d, nn.ConvTranspose1d and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import nn

from ..._core.errors import argument_error
from ..._ops.window_arithmetic import find_transposed_padding
from ..base.sharing import (
    give_parameters,
    join_modules,
    make_of_module,
    require_convertible,
    require_module,
)
from ..base.torch_conversion import compute_padding, find_torch_activation, make_pad, read_padding
from .base import BaseConv

C = TypeVar("C", bound=BaseConv)

CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def from_torch(cls: type[C], module: nn.Module, copy: bool, arguments: dict[str, Any]) -> C:
    """Make a layer of a class from a plain convolution."""
    owner = f"{cls.__name__}.from_torch"
    require_module(owner, module, (_TRANSPOSED if cls.is_transposed else CONVOLUTIONS)[cls.rank])
    conv: Any = module
    if conv.padding_mode != "zeros":
        raise ValueError(argument_error(owner, "module.padding_mode", "'zeros'", conv.padding_mode))
    window = conv.kernel_size, conv.stride, conv.dilation
    if cls.is_transposed:
        made = _find_transposed_padding(owner, conv)
    else:
        made = {"padding": read_padding(owner, conv, *window)}
    made |= dict(zip(("kernel_size", "strides", "dilation_rate"), window, strict=True))
    made |= {"use_bias": conv.bias is not None, **cls._find_channel_arguments(owner, conv)}
    return make_of_module(cls, module, made, arguments, copy=copy)


def to_torch(
    layer: BaseConv, input_size: int | Sequence[int] | None = None, *, copy: bool = False
) -> nn.Module:
    """Convert the layer to plain PyTorch: an `nn.Conv2d` (of its rank) or an `nn.Sequential`.

    Inputs and outputs are (batch, channels, *spatial), whatever the layer's data format.

    Args:
        layer: The layer; as a method, itself.
        input_size: The spatial sizes; needed for "same" padding if a stride exceeds 1.
        copy: Whether the parameters are copied; otherwise they are shared.

    Raises:
        ValueError: The padding depends on the size and none is given, or plain modules cannot
            compute what the layer computes.
    """
    owner = f"{type(layer).__name__}.to_torch"
    require_convertible(layer)
    axis = 1 if layer.data_format == "channels_last" else -1
    activation = find_torch_activation(owner, layer, axis)
    padding, pad, crop = _plan_padding(owner, layer, input_size)
    conv: Any = (_TRANSPOSED if layer.is_transposed else CONVOLUTIONS)[layer.rank](
        layer._count_channels(layer._kernel_shape),
        layer.filters,
        layer.kernel_size,
        stride=layer.strides,
        dilation=layer.dilation_rate,
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
        dtype=layer.weight.dtype,
        **padding,
    )
    give_parameters(layer, conv, copy=copy)
    modules = [module for module in (pad, conv, crop, activation) if module is not None]
    return join_modules(layer, modules)


def _find_transposed_padding(owner: str, conv: Any) -> dict[str, Any]:
    """Return Keras's arguments for the padding of a plain transposed convolution."""
    found = find_transposed_padding(
        *(conv.kernel_size, conv.stride, conv.dilation, conv.padding, conv.output_padding)
    )
    if found is None:
        rule = "one that crops as Keras does: nothing, or `kernel_size - stride`, halved"
        related = {"output_padding": conv.output_padding, "kernel_size": conv.kernel_size}
        related |= {"stride": conv.stride, "dilation": conv.dilation}
        remedy = "Convert the module without its padding, and crop the output yourself."
        raise ValueError(
            argument_error(owner, "module.padding", rule, conv.padding, remedy, **related)
        )
    return {"padding": found[0], "output_padding": found[1]}


def _plan_padding(
    owner: str, layer: Any, input_size: int | Sequence[int] | None
) -> tuple[dict[str, Any], nn.Module | None, nn.Module | None]:
    """Return the padding of a plain convolution, and the modules before and after it."""
    if layer.is_transposed:
        plan = layer._plan_padding()
        padding = {"padding": plan.padding, "output_padding": plan.output_padding}
        ends = [(0, -n) for n in plan.cropped]
        return padding, None, make_pad(ends) if any(plan.cropped) else None
    window = layer.kernel_size, layer.strides, layer.dilation_rate
    sides = compute_padding(owner, layer.padding, window, input_size)
    if any(before != after for before, after in sides):
        return {"padding": 0}, make_pad(sides), None
    return {"padding": tuple(after for _, after in sides)}, None, None
