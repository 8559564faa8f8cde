"""The operations of `keras.ops` that a Functional model may have between its layers.

Values and dtypes are those of Keras on torch, with a Python number as a tensor of `floatx()`,
int32 or bool; but 64-bit dtypes are kept where Keras makes them 32-bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .. import activations
from .._core.registry import snake_case
from . import reductions, shaping
from .elementwise import (
    absolute,
    binary,
    cast,
    clip,
    divide,
    extreme,
    floor_divide,
    matmul,
    mod,
    rounded,
    subtract,
    unary,
    where,
)

Rule = Literal["same", "broadcast", "run"]


class Entry(NamedTuple):
    """One operation.

    Attributes:
        function: The computation.
        rule: The output's shape: the input's, that of the broadcast inputs, or found by running
            the operation on meta tensors.
    """

    function: Callable[..., Any]
    rule: Rule = "run"


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
_ACTIVATIONS = (  # named like the functions of `activations`
    *("Celu", "Elu", "Gelu", "HardShrink", "HardSigmoid", "HardSilu", "HardTanh"),
    *("LeakyRelu", "LogSigmoid", "LogSoftmax", "Relu", "Relu6", "Selu", "Sigmoid", "Silu"),
    *("SoftShrink", "Softmax", "Softplus", "Softsign", "SparsePlus", "SparseSigmoid"),
    *("Sparsemax", "Squareplus", "TanhShrink", "Threshold"),
)
KERAS: Mapping[str, Entry] = {
    **{name: Entry(unary(function), "same") for name, function in _UNARY.items()},
    **{name: Entry(binary(function), "broadcast") for name, function in _BINARY.items()},
    **{n: Entry(getattr(activations, snake_case(n)), "same") for n in _ACTIVATIONS},
    "ReLU": Entry(activations.relu, "same"),
    "Absolute": Entry(absolute, "same"),
    "Square": Entry(unary(torch.square, booleans=torch.int32), "same"),
    "Exp": Entry(unary(torch.exp, floats=True), "same"),
    "Expm1": Entry(unary(torch.expm1, floats=True), "same"),
    "Floor": Entry(unary(torch.floor, floats=True), "same"),
    "Ceil": Entry(unary(torch.ceil, floats=True), "same"),
    "Round": Entry(rounded, "same"),
    "Subtract": Entry(subtract, "broadcast"),
    "Divide": Entry(divide, "broadcast"),
    "TrueDivide": Entry(divide, "broadcast"),
    "FloorDivide": Entry(floor_divide, "broadcast"),
    "Mod": Entry(mod, "broadcast"),
    "Maximum": Entry(extreme(torch.maximum), "broadcast"),
    "Minimum": Entry(extreme(torch.minimum), "broadcast"),
    "Matmul": Entry(matmul),
    "Clip": Entry(clip, "same"),
    "Where": Entry(where, "broadcast"),
    "Cast": Entry(cast, "same"),
    "Mean": Entry(reductions.mean),
    "Var": Entry(reductions.variance),
    "Std": Entry(reductions.deviation),
    "Sum": Entry(reductions.summed),
    "Prod": Entry(reductions.product),
    "Max": Entry(reductions.extremum(torch.amax)),
    "Min": Entry(reductions.extremum(torch.amin)),
    "Amax": Entry(reductions.extremum(torch.amax)),
    "Amin": Entry(reductions.extremum(torch.amin)),
    "Argmax": Entry(reductions.arg_extremum(torch.argmax)),
    "Argmin": Entry(reductions.arg_extremum(torch.argmin)),
    "Any": Entry(reductions.any_or_all(torch.any)),
    "All": Entry(reductions.any_or_all(torch.all)),
    "Normalize": Entry(reductions.normalized, "same"),
    "Glu": Entry(activations.glu),
    "Reshape": Entry(shaping.reshape),
    "Transpose": Entry(shaping.transposed),
    "Swapaxes": Entry(shaping.swapped),
    "Concatenate": Entry(shaping.concatenated),
    "Stack": Entry(shaping.stacked),
    "Squeeze": Entry(shaping.squeezed),
    "ExpandDims": Entry(shaping.expanded),
    "Ravel": Entry(unary(torch.ravel)),
    "GetItem": Entry(shaping.get_item),
    "Flip": Entry(shaping.flipped, "same"),
    "Split": Entry(shaping.parted),
    "StopGradient": Entry(lambda variable: variable.detach(), "same"),
}
