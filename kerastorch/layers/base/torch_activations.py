"""The modules of torch.nn for Keras's activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ... import activations
from ..._core.errors import argument_error

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


def find_torch_activation(owner: str, layer: Any, axis: int = -1) -> nn.Module | None:
    """Return the plain module of the layer's activation, None for linear.

    `axis` is the last axis of the layer's output in that of the module.
    """
    activation = layer.activation
    if activation is activations.linear:
        return None
    if activation in _ACTIVATIONS:
        return _ACTIVATIONS[activation]()
    if activation in _ALONG_LAST_AXIS:
        return _ALONG_LAST_AXIS[activation](axis)
    rule = "a built-in one that PyTorch, too, has as a module"
    remedy = "Set `layer.activation = None` and apply it yourself."
    raise ValueError(argument_error(owner, "activation", rule, activation, remedy))
