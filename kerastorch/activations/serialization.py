"""The registry of activations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._core.config_arrays import Config
from .._core.registry import LAYERS, Registry
from .functions import BUILT_IN, hard_sigmoid_keras2, hard_silu, linear, silu

_Activation = Callable[..., Tensor]

# PyTorch's functions that equal one of Keras's with default arguments.
TORCH_FUNCTIONS: dict[Callable[..., Any], str] = {
    F.relu: "relu", torch.relu: "relu", F.relu6: "relu6",
    F.elu: "elu", F.selu: "selu", torch.selu: "selu", F.celu: "celu", torch.celu: "celu",
    F.gelu: "gelu", F.silu: "silu", F.mish: "mish", F.hardswish: "hard_silu",
    F.sigmoid: "sigmoid", torch.sigmoid: "sigmoid", torch.special.expit: "sigmoid",
    F.hardsigmoid: "hard_sigmoid", F.logsigmoid: "log_sigmoid",
    F.tanh: "tanh", torch.tanh: "tanh", F.hardtanh: "hard_tanh", F.tanhshrink: "tanh_shrink",
    F.softshrink: "soft_shrink", F.hardshrink: "hard_shrink", torch.hardshrink: "hard_shrink",
    F.softplus: "softplus", F.softsign: "softsign", F.glu: "glu", torch.exp: "exponential",
}  # fmt: skip

_NAMED = {function.__name__: function for function in BUILT_IN}
_TABLE = {**_NAMED, "swish": silu, "hard_swish": hard_silu}
ACTIVATIONS: Registry[_Activation] = Registry(
    "activation", "keras.activations", _TABLE, TORCH_FUNCTIONS, LAYERS
)
deserialize = ACTIVATIONS.deserialize

# Names that have another meaning in files of Keras 1 and 2.
KERAS_2_NAMES: Mapping[str, _Activation] = {"hard_sigmoid": hard_sigmoid_keras2}


def get(identifier: Any) -> _Activation:
    """Return the activation for a name, config dict or callable; None gives `linear`.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.

    >>> get("swish") is silu
    True
    """
    # As in Keras, a class is used as a callable; the other namespaces create an instance.
    found: Any = identifier if inspect.isclass(identifier) else ACTIVATIONS.get(identifier)
    activation: _Activation = linear if found is None else found
    return activation


def serialize(activation: _Activation | None) -> Config | str | None:
    """Return the config that Keras writes for an activation.

    >>> serialize(silu), serialize(torch.tanh)
    ('silu', 'tanh')
    """
    return ACTIVATIONS.serialize(activation)
