"""The operations of `keras.ops` that a Functional model may have between its layers.

Values and types of numbers are those of Keras on torch, with a Python number as a tensor of
`floatx()`, int32 or bool; but 64-bit numbers stay such where Keras makes them 32-bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .. import activations
from . import reductions as axes
from .elementwise import (
    Binary,
    Extreme,
    Unary,
    absolute,
    cast,
    clip,
    divide,
    floor_divide,
    matmul,
    mod,
    rounded,
    subtract,
    where,
)

Rule = Literal["same", "broadcast", "run"]


class Entry(NamedTuple):
    """One operation.

    Attributes:
        function: Computes it.
        rule: How the output's shape follows from the inputs': it is the same, that of the
            broadcast inputs, or found by running the operation.
    """

    function: Callable[..., Any]
    rule: Rule = "run"


def _stop_gradient(variable: Tensor) -> Tensor:
    return variable.detach()


_FLOATS: Mapping[str, Callable[[Tensor], Tensor]] = {"Exp": torch.exp, "Expm1": torch.expm1}
_UNARY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Negative": torch.negative,
    "Sqrt": torch.sqrt,
    "Rsqrt": torch.rsqrt,
    "Log": torch.log,
    "Log1p": torch.log1p,
    "Tanh": torch.tanh,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Sign": torch.sign,
    "Reciprocal": torch.reciprocal,
    "LogicalNot": torch.logical_not,
    "Erf": torch.erf,
}
_BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Multiply": torch.multiply,
    "Power": torch.pow,
    "Greater": torch.greater,
    "GreaterEqual": torch.greater_equal,
    "Less": torch.less,
    "LessEqual": torch.less_equal,
    "Equal": torch.eq,
    "NotEqual": torch.not_equal,
    "LogicalAnd": torch.logical_and,
    "LogicalOr": torch.logical_or,
}
_ACTIVATIONS: Mapping[str, Callable[..., Tensor]] = {
    "Celu": activations.celu,
    "Elu": activations.elu,
    "Gelu": activations.gelu,
    "HardShrink": activations.hard_shrink,
    "HardSigmoid": activations.hard_sigmoid,
    "HardSilu": activations.hard_silu,
    "HardTanh": activations.hard_tanh,
    "LeakyRelu": activations.leaky_relu,
    "LogSigmoid": activations.log_sigmoid,
    "LogSoftmax": activations.log_softmax,
    "ReLU": activations.relu,
    "Relu": activations.relu,
    "Relu6": activations.relu6,
    "Selu": activations.selu,
    "Sigmoid": activations.sigmoid,
    "Silu": activations.silu,
    "SoftShrink": activations.soft_shrink,
    "Softmax": activations.softmax,
    "Softplus": activations.softplus,
    "Softsign": activations.softsign,
    "SparsePlus": activations.sparse_plus,
    "SparseSigmoid": activations.sparse_sigmoid,
    "Sparsemax": activations.sparsemax,
    "Squareplus": activations.squareplus,
    "TanhShrink": activations.tanh_shrink,
    "Threshold": activations.threshold,
}
KERAS: Mapping[str, Entry] = {
    **{name: Entry(Unary(function), "same") for name, function in _UNARY.items()},
    **{n: Entry(Unary(function, floats=True), "same") for n, function in _FLOATS.items()},
    **{name: Entry(Binary(function), "broadcast") for name, function in _BINARY.items()},
    **{name: Entry(function, "same") for name, function in _ACTIVATIONS.items()},
    "Absolute": Entry(absolute, "same"),
    "Square": Entry(Unary(torch.square, booleans=torch.int32), "same"),
    "Floor": Entry(Unary(torch.floor, floats=True), "same"),
    "Ceil": Entry(Unary(torch.ceil, floats=True), "same"),
    "Round": Entry(rounded, "same"),
    "Subtract": Entry(subtract, "broadcast"),
    "Divide": Entry(divide, "broadcast"),
    "TrueDivide": Entry(divide, "broadcast"),
    "FloorDivide": Entry(floor_divide, "broadcast"),
    "Mod": Entry(mod, "broadcast"),
    "Maximum": Entry(Extreme(torch.maximum), "broadcast"),
    "Minimum": Entry(Extreme(torch.minimum), "broadcast"),
    "Matmul": Entry(matmul),
    "Clip": Entry(clip, "same"),
    "Where": Entry(where, "broadcast"),
    "Cast": Entry(cast, "same"),
    "Mean": Entry(axes.mean),
    "Var": Entry(axes.variance),
    "Std": Entry(axes.deviation),
    "Sum": Entry(axes.summed),
    "Prod": Entry(axes.product),
    "Max": Entry(axes.Outermost(torch.amax)),
    "Min": Entry(axes.Outermost(torch.amin)),
    "Amax": Entry(axes.Outermost(torch.amax)),
    "Amin": Entry(axes.Outermost(torch.amin)),
    "Argmax": Entry(axes.Place(torch.argmax)),
    "Argmin": Entry(axes.Place(torch.argmin)),
    "Any": Entry(axes.Truth(torch.any)),
    "All": Entry(axes.Truth(torch.all)),
    "Normalize": Entry(axes.normalized, "same"),
    "Glu": Entry(activations.glu),
    "Reshape": Entry(axes.reshape),
    "Transpose": Entry(axes.transposed),
    "Swapaxes": Entry(axes.swapped),
    "Concatenate": Entry(axes.concatenated),
    "Stack": Entry(axes.stacked),
    "Squeeze": Entry(axes.squeezed),
    "ExpandDims": Entry(axes.expanded),
    "Ravel": Entry(Unary(torch.ravel)),
    "GetItem": Entry(axes.get_item),
    "Flip": Entry(axes.flipped, "same"),
    "Split": Entry(axes.parted),
    "StopGradient": Entry(_stop_gradient, "same"),
}
