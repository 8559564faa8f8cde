"""Activations by their names and configs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from .._core.config_arrays import Config
from .._core.registry import LAYERS, Vocabulary
from .functions import (
    _Activation,
    celu,
    elu,
    exponential,
    gelu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_sigmoid_keras2,
    hard_silu,
    hard_tanh,
    leaky_relu,
    linear,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    tanh,
    tanh_shrink,
    threshold,
)

ELEMENTWISE = frozenset({
    relu, leaky_relu, relu6, elu, selu, celu, gelu, silu, mish, hard_silu, sigmoid, hard_sigmoid,
    hard_sigmoid_keras2, sparse_sigmoid, log_sigmoid, tanh, hard_tanh, tanh_shrink, soft_shrink,
    hard_shrink, softplus, sparse_plus, squareplus, softsign, exponential, linear,
})  # fmt: skip


BUILT_IN = ELEMENTWISE | {softmax, log_softmax, glu, sparsemax, threshold}


OF_BOOLEANS = frozenset({linear, tanh, exponential})  # what Keras on TensorFlow computes of them


OF_INTEGERS = OF_BOOLEANS | {relu, relu6, leaky_relu}


# PyTorch's functions that mean one of Keras's when nothing but the input is given.
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


ACTIVATIONS: Vocabulary[_Activation] = Vocabulary(
    "activation",
    "keras.activations",
    {
        **{function.__name__: function for function in BUILT_IN},
        "swish": silu,
        "hard_swish": hard_silu,
    },
    TORCH_FUNCTIONS,
    LAYERS,
)


# What names mean in files of Keras 1 and 2, where it is something else than in Keras 3.
KERAS_2_NAMES: Mapping[str, _Activation] = {"hard_sigmoid": hard_sigmoid_keras2}


def get(identifier: Any) -> _Activation:
    """Return the activation that a name, config dict or callable means; None means `linear`.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.

    >>> get("swish") is silu
    True
    """
    # A class is a callable here, as in Keras; the other three namespaces make an instance.
    found: Any = identifier if inspect.isclass(identifier) else ACTIVATIONS.get(identifier)
    activation: _Activation = linear if found is None else found
    return activation


def serialize(activation: _Activation | None) -> Config | str | None:
    """Return the config that Keras writes for an activation.

    >>> serialize(silu), serialize(torch.tanh)
    ('silu', 'tanh')
    """
    return ACTIVATIONS.serialize(activation)


def deserialize(
    config: Config | str | None, custom_objects: Mapping[str, Any] | None = None
) -> _Activation | None:
    """Return the activation that a config of any Keras describes; `custom_objects` come first."""
    return ACTIVATIONS.deserialize(config, custom_objects)
