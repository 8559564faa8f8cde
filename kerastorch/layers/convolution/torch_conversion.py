"""Exchange with plain PyTorch: a convolution layer <-> nn.Conv1d, nn.Conv2d, nn.Conv3d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ... import activations
from ..._core.arguments import positive_integers
from ..._core.errors import problem
from ..._ops.window_arithmetic import fixed_padding, same_padding
from ...dtype_policies import name_of, policy
from .base import BaseConv

if TYPE_CHECKING:
    from typing_extensions import Self

_CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
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


class Exchangeable(BaseConv):
    """A convolution that can be made from plain PyTorch, and be turned into it."""

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer that computes what a plain PyTorch convolution computes.

        Args:
            module: An `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` of this layer's rank.
            copy: Whether the layer gets copies of the parameters; otherwise it shares them, and
                `trainable=False` freezes them for both.
            **arguments: Further arguments of the layer, such as `data_format` or `activation`.

        Raises:
            ValueError: Keras has no such convolution: other padding than "valid" or "same", or
                another padding mode than zeros.
        """
        owner, kind = f"{cls.__name__}.from_torch", _CONVOLUTIONS[cls.rank]
        if not isinstance(module, kind) or any(map(is_lazy, module.parameters())):
            raise ValueError(problem(owner, "module", f"an initialized nn.{kind.__name__}", module))
        conv: Any = module
        if conv.padding_mode != "zeros":
            raise ValueError(problem(owner, "module.padding_mode", "'zeros'", conv.padding_mode))
        dtype = arguments.pop("dtype", conv.weight.dtype)
        if policy(owner, dtype).variable_dtype != name_of(conv.weight.dtype):
            rule = f"a policy whose weights are {name_of(conv.weight.dtype)}, as the module's are"
            raise ValueError(problem(owner, "dtype", rule, dtype, "Convert the module first."))
        layer = cls(
            conv.out_channels,
            conv.kernel_size,
            strides=conv.stride,
            padding=_padding_of(owner, conv),
            dilation_rate=conv.dilation,
            groups=conv.groups,
            use_bias=conv.bias is not None,
            dtype=dtype,
            device=conv.weight.device,
            **arguments,
        )
        for name in ("weight", "bias"):
            setattr(layer, name, _taken(getattr(conv, name), copy=copy))
        layer._build(layer._input_shape_for({"weight": tuple(conv.weight.shape)}) or ())
        layer._end_laziness()
        if not layer.trainable:
            layer.trainable = False
        elif layer.lora_enabled:
            layer.weight.requires_grad = False
        return layer.train(conv.training)

    def to_torch(
        self, input_size: int | Sequence[int] | None = None, *, copy: bool = False
    ) -> nn.Module:
        """Return the plain PyTorch modules that compute what this layer computes.

        They take and return (batch, channels, *spatial), whatever the layer's data format.

        Args:
            input_size: The sizes of the spatial axes; needed where "same" padding depends on
                them, which is where a stride exceeds 1.
            copy: Whether the modules get copies of the parameters; otherwise they share them.

        Returns:
            An `nn.Conv2d` (of the layer's rank), or an `nn.Sequential` of padding, convolution
            and activation where there is more to do.

        Raises:
            ValueError: the padding depends on the size and none is given, or the layer does what
                no plain module does.
        """
        owner = f"{type(self).__name__}.to_torch"
        if not self.built:
            remedy = "Call it on a batch first, or `layer.build(input_shape)`."
            raise ValueError(problem(owner, "layer", "built", self, remedy))
        for variable in self.variables:
            self._writable(variable)
        if self.compute_dtype != self.dtype:
            rule, remedy = "one that computes in its weights' type", "Use torch.autocast instead."
            raise ValueError(problem(owner, "dtype", rule, self.dtype_policy.name, remedy))
        activation = _activation_of(owner, self)
        sides = _padding_for(owner, self, input_size)
        even = all(before == after for before, after in sides)
        conv = _CONVOLUTIONS[self.rank](
            self.weight.shape[1] * self.groups,
            self.filters,
            self.kernel_size,
            stride=self.strides,
            padding=tuple(after for _, after in sides) if even else 0,
            dilation=self.dilation_rate,
            groups=self.groups,
            bias=self.bias is not None,
            device="meta",
            dtype=self.weight.dtype,
        )
        merged = nn.Parameter(self._merged(self.weight).detach()) if self.lora_enabled else None
        conv.weight = _taken(self.weight, copy=copy) if merged is None else merged
        conv.bias = _taken(self.bias, copy=copy)
        pad = None if even else _PADS[self.rank](tuple(n for side in reversed(sides) for n in side))
        steps = [step for step in (pad, conv, activation) if step is not None]
        return (steps[0] if len(steps) == 1 else nn.Sequential(*steps)).train(self.training)


def _taken(parameter: Any, *, copy: bool) -> Any:
    """Return a parameter, or a copy of it with the same strides; None stays None."""
    if parameter is None or not copy:
        return parameter
    copied = torch.empty_like(parameter).copy_(parameter.detach())
    return nn.Parameter(copied.detach(), parameter.requires_grad)


def _padding_of(owner: str, conv: Any) -> str:
    """Return Keras's word for the padding of a plain convolution."""
    if conv.padding in ("valid", "same"):
        return str(conv.padding)
    for padding in ("valid", "same"):
        if fixed_padding(padding, conv.kernel_size, conv.stride, conv.dilation) == conv.padding:
            return padding
    rule = "0 or what 'same' is at every size, since Keras has no other padding"
    remedy = "Pad the input yourself, and convert the module without its padding."
    sizes = {"kernel_size": conv.kernel_size, "stride": conv.stride, "dilation": conv.dilation}
    raise ValueError(problem(owner, "module.padding", rule, conv.padding, remedy, **sizes))


def _padding_for(
    owner: str, layer: BaseConv, input_size: int | Sequence[int] | None
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis for inputs of a size."""
    fixed = fixed_padding(layer.padding, layer.kernel_size, layer.strides, layer.dilation_rate)
    if fixed is not None:
        return [(n, n) for n in fixed]
    sizes = (1,) * layer.rank
    if input_size is not None:
        sizes = positive_integers(owner, "input_size", input_size, layer.rank)
    elif max(layer.strides) > 1:
        rule = "given, since this 'same' padding depends on it"
        remedy = "Pass the spatial size of the inputs, such as (height, width)."
        strides = layer.strides
        raise ValueError(problem(owner, "input_size", rule, input_size, remedy, strides=strides))
    return [
        same_padding(n, k, s, d)
        for n, k, s, d in zip(
            sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
        )
    ]


def _activation_of(owner: str, layer: BaseConv) -> nn.Module | None:
    """Return the plain module of the layer's activation, None for linear."""
    activation: Any = layer.activation
    last = 1 if layer.data_format == "channels_last" else -1
    if activation is activations.linear:
        return None
    if activation in _ACTIVATIONS:
        return _ACTIVATIONS[activation]()
    if activation in _ALONG_LAST_AXIS:
        return _ALONG_LAST_AXIS[activation](last)
    rule = "a built-in one that PyTorch, too, has as a module"
    remedy = "Set `layer.activation = None` and apply it yourself."
    raise ValueError(problem(owner, "activation", rule, activation, remedy))
