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


def find_keras_activation(owner: str, module: Any) -> Callable[..., Any]:
    """Return Keras's activation of a plain module."""
    along = {activation: make(-1) for activation, make in _ALONG_LAST_AXIS.items()}
    plain = {activation: make() for activation, make in _ACTIVATIONS.items()}
    for activation, known in {**plain, **along, activations.linear: nn.Identity()}.items():
        if type(module) is type(known) and _list_options(module) == _list_options(known):
            return activation
    rule = "an activation of torch.nn with the arguments that Keras's function has"
    remedy = "Other ones are layers, such as LeakyReLU, ReLU or ELU."
    raise ValueError(argument_error(owner, "module", rule, module, remedy))


def _list_options(module: nn.Module) -> dict[str, Any]:
    shown = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {**shown, "training": None, "inplace": None}


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


def find_relu_arguments(owner: str, module: Any) -> dict[str, float]:
    """Return the arguments of Keras's ReLU layer for a plain module."""
    if isinstance(module, nn.ReLU):
        return {}
    if isinstance(module, nn.LeakyReLU):
        return {"negative_slope": module.negative_slope}
    if isinstance(module, nn.Hardtanh) and module.min_val == 0:  # ReLU6 is one
        return {"max_value": module.max_val}
    if isinstance(module, nn.Threshold) and module.value == 0:
        return {"threshold": module.threshold}
    rule = "an nn.ReLU, nn.ReLU6, nn.LeakyReLU, or an nn.Hardtanh or nn.Threshold that gives 0"
    raise ValueError(argument_error(owner, "module", rule, module))


def find_torch_relu(
    owner: str, max_value: float | None, negative_slope: float, threshold: float
) -> nn.Module:
    """Return the plain module for the arguments of Keras's ReLU layer."""
    if max_value is None and not threshold:
        return nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()
    if max_value and not negative_slope and not threshold:
        return nn.ReLU6() if max_value == 6 else nn.Hardtanh(0.0, max_value)
    if max_value is None and not negative_slope:
        return nn.Threshold(threshold, 0.0)
    rule = "above 0 and the only one of these, as a slope and a threshold must be"
    related = {"negative_slope": negative_slope, "threshold": threshold}
    raise ValueError(argument_error(owner, "max_value", rule, max_value, "", **related))
