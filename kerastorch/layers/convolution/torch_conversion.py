"""Convert a convolution layer from and to nn.Conv1d, nn.ConvTranspose1d and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn
from torch.nn.parameter import is_lazy

from ... import activations
from ..._core.arguments import as_positive_ints
from ..._core.errors import argument_error
from ..._ops.window_arithmetic import (
    compute_fixed_padding,
    find_transposed_padding,
    padding_per_axis,
    to_f_pad_order,
)
from ...dtype_policies import get_dtype_name, parse_policy
from ..base.sharing import share_or_copy
from .base import BaseConv

C = TypeVar("C", bound=BaseConv)

CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
_PADS: dict[int, type[nn.Module]] = {1: nn.ZeroPad1d, 2: nn.ZeroPad2d, 3: nn.ZeroPad3d}
_ACTIVATIONS: dict[Callable[..., Any], Callable[[], nn.Module]] = {
    activations.relu: nn.ReLU,
    activations.relu6: nn.ReLU6,
    activations.leaky_relu: lambda: nn.LeakyReLU(0.2),
    activations.celu: nn.CELU,
    activations.elu: nn.ELU,
    activations.selu: nn.SELU,
    activations.softplus: nn.Softplus,
    activations.softsign: nn.Softsign,
    activations.soft_shrink: nn.Softshrink,
    activations.hard_shrink: nn.Hardshrink,
    activations.silu: nn.SiLU,
    activations.gelu: nn.GELU,
    activations.tanh: nn.Tanh,
    activations.tanh_shrink: nn.Tanhshrink,
    activations.sigmoid: nn.Sigmoid,
    activations.hard_sigmoid: nn.Hardsigmoid,
    activations.hard_silu: nn.Hardswish,
    activations.hard_tanh: nn.Hardtanh,
    activations.mish: nn.Mish,
    activations.log_sigmoid: nn.LogSigmoid,
}
_ALONG_LAST_AXIS: dict[Callable[..., Any], Callable[[int], nn.Module]] = {
    activations.softmax: nn.Softmax,
    activations.log_softmax: nn.LogSoftmax,
    activations.glu: nn.GLU,
}


def from_torch(cls: type[C], module: nn.Module, copy: bool, arguments: dict[str, Any]) -> C:
    """Make a layer of a class from a plain convolution."""
    owner = f"{cls.__name__}.from_torch"
    kind = (_TRANSPOSED if cls.is_transposed else CONVOLUTIONS)[cls.rank]
    if not isinstance(module, kind) or any(map(is_lazy, module.parameters())):
        rule = f"an initialized nn.{kind.__name__}"
        raise ValueError(argument_error(owner, "module", rule, module))
    conv: Any = module
    if conv.padding_mode != "zeros":
        raise ValueError(argument_error(owner, "module.padding_mode", "'zeros'", conv.padding_mode))
    dtype, own = arguments.pop("dtype", conv.weight.dtype), get_dtype_name(conv.weight.dtype)
    if parse_policy(owner, dtype).variable_dtype != own:
        rule = f"a policy whose weights are {own}, as the module's are"
        raise ValueError(argument_error(owner, "dtype", rule, dtype, "Convert the module first."))
    find = _find_transposed_padding if cls.is_transposed else _find_keras_padding
    make: Callable[..., C] = cls
    layer = make(
        kernel_size=conv.kernel_size,
        strides=conv.stride,
        dilation_rate=conv.dilation,
        use_bias=conv.bias is not None,
        dtype=dtype,
        device=conv.weight.device,
        **cls._find_channel_arguments(owner, conv),
        **find(owner, conv),
        **arguments,
    )
    for name in ("weight", "bias"):
        setattr(layer, name, share_or_copy(getattr(conv, name), copy=copy))
    layer._build(layer._infer_input_shape({"weight": tuple(conv.weight.shape)}) or ())
    layer._end_laziness()
    if not layer.trainable:
        layer.trainable = False
    elif layer.lora_enabled:
        layer.weight.requires_grad = False
    return layer.train(conv.training)


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
    layer._require_built("to_torch")
    for variable in layer.variables:
        layer._writable(variable)
    if layer.compute_dtype != layer.dtype:
        rule, remedy = "one that computes in its weights' dtype", "Use torch.autocast instead."
        raise ValueError(argument_error(owner, "dtype", rule, layer.dtype_policy.name, remedy))
    activation = find_torch_activation(owner, layer)
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
    if layer.lora_enabled:
        conv.weight = nn.Parameter(layer._weight_with_lora(layer.weight).detach())
    else:
        conv.weight = share_or_copy(layer.weight, copy=copy)
    conv.bias = share_or_copy(layer.bias, copy=copy)
    modules = [module for module in (pad, conv, crop, activation) if module is not None]
    return (conv if len(modules) == 1 else nn.Sequential(*modules)).train(layer.training)


def _find_keras_padding(owner: str, conv: Any) -> dict[str, Any]:
    """Return the argument for the padding of a plain convolution."""
    window = conv.kernel_size, conv.stride, conv.dilation
    for padding in ("valid", "same"):
        if conv.padding in (padding, compute_fixed_padding(padding, *window)):
            return {"padding": padding}
    rule = "0 or what 'same' is at every size, since Keras has no other padding"
    remedy = "Pad the input yourself, and convert the module without its padding."
    sizes = {"kernel_size": conv.kernel_size, "stride": conv.stride, "dilation": conv.dilation}
    raise ValueError(argument_error(owner, "module.padding", rule, conv.padding, remedy, **sizes))


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
        return padding, None, _make_pad(layer.rank, ends) if any(plan.cropped) else None
    sides = _compute_padding(owner, layer, input_size)
    if any(before != after for before, after in sides):
        return {"padding": 0}, _make_pad(layer.rank, sides), None
    return {"padding": tuple(after for _, after in sides)}, None, None


def _make_pad(rank: int, sides: list[tuple[int, int]]) -> nn.Module:
    """Return a module that pads with zeros, or crops where an amount is negative."""
    return _PADS[rank](tuple(to_f_pad_order(sides)))


def _compute_padding(
    owner: str, layer: BaseConv, input_size: int | Sequence[int] | None
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis for an input size."""
    window = layer.kernel_size, layer.strides, layer.dilation_rate
    fixed = compute_fixed_padding(layer.padding, *window)
    if fixed is not None:
        return [(n, n) for n in fixed]
    sizes = (1,) * layer.rank
    if input_size is not None:
        sizes = as_positive_ints(owner, "input_size", input_size, layer.rank)
    elif layer.padding == "same" and max(layer.strides) > 1:
        rule = "given, since this 'same' padding depends on it"
        remedy = "Pass the spatial size of the inputs, such as (height, width)."
        related = {"strides": layer.strides}
        raise ValueError(argument_error(owner, "input_size", rule, None, remedy, **related))
    return padding_per_axis(layer.padding, sizes, *window)


def find_torch_activation(owner: str, layer: BaseConv) -> nn.Module | None:
    """Return the plain module of the layer's activation, None for linear."""
    activation: Any = layer.activation
    if activation is activations.linear:
        return None
    if activation in _ACTIVATIONS:
        return _ACTIVATIONS[activation]()
    if activation in _ALONG_LAST_AXIS:
        return _ALONG_LAST_AXIS[activation](1 if layer.data_format == "channels_last" else -1)
    rule = "a built-in one that PyTorch, too, has as a module"
    remedy = "Set `layer.activation = None` and apply it yourself."
    raise ValueError(argument_error(owner, "activation", rule, activation, remedy))
