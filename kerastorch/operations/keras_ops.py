"""The operations of `keras.ops` that a Functional model may have between its layers.

Values and dtypes are those of Keras on torch, with a Python number as a tensor of floatx,
int32 or bool; but 64-bit dtypes are kept where Keras makes them 32-bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch

from .. import activations
from .._core.registry import to_snake_case
from . import elementwise, reductions, shaping

Rule = Literal["same", "broadcast", "run"]


class Entry(NamedTuple):
    """One operation: its computation, and the rule for its output's shape.

    That is the input's, that of the broadcast inputs, or found by a run on meta tensors.
    """

    function: Callable[..., Any]
    rule: Rule = "run"


# Names of which the functions of torch and of `activations` are the snake case
_UNARY = (
    *("Negative", "Sqrt", "Rsqrt", "Log", "Log1p", "Tanh", "Sin", "Cos", "Sign"),
    *("Reciprocal", "LogicalNot", "Erf"),
)
_BINARY = (
    *("Add", "Multiply", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"),
    *("LogicalAnd", "LogicalOr", "LogicalXor"),
)
_ACTIVATIONS = (
    *("Celu", "Elu", "Gelu", "HardShrink", "HardSigmoid", "HardSilu", "HardTanh"),
    *("LeakyRelu", "LogSigmoid", "LogSoftmax", "Relu", "Relu6", "Selu", "Sigmoid", "Silu"),
    *("SoftShrink", "Softmax", "Softplus", "Softsign", "SparsePlus", "SparseSigmoid"),
    *("Sparsemax", "Squareplus", "TanhShrink", "Threshold"),
)
KERAS: Mapping[str, Entry] = {
    **{n: Entry(elementwise.wrap_unary(getattr(torch, to_snake_case(n))), "same") for n in _UNARY},
    **{
        n: Entry(elementwise.wrap_binary(getattr(torch, to_snake_case(n))), "broadcast")
        for n in _BINARY
    },
    "Power": Entry(elementwise.wrap_binary(torch.pow), "broadcast"),
    "Equal": Entry(elementwise.wrap_binary(torch.eq), "broadcast"),
    **{n: Entry(getattr(activations, to_snake_case(n)), "same") for n in _ACTIVATIONS},
    "ReLU": Entry(activations.relu, "same"),
    "Absolute": Entry(lambda x: x if x.dtype is torch.bool else torch.abs(x), "same"),
    "Square": Entry(elementwise.wrap_unary(torch.square, booleans=torch.int32), "same"),
    "Exp": Entry(elementwise.wrap_unary(torch.exp, floats=True), "same"),
    "Expm1": Entry(elementwise.wrap_unary(torch.expm1, floats=True), "same"),
    "Floor": Entry(elementwise.wrap_unary(torch.floor, floats=True), "same"),
    "Ceil": Entry(elementwise.wrap_unary(torch.ceil, floats=True), "same"),
    "Round": Entry(elementwise.round_half_even, "same"),
    "Subtract": Entry(elementwise.subtract, "broadcast"),
    **dict.fromkeys(("Divide", "TrueDivide"), Entry(elementwise.divide, "broadcast")),
    "FloorDivide": Entry(elementwise.floor_divide, "broadcast"),
    "Mod": Entry(elementwise.mod, "broadcast"),
    "Maximum": Entry(elementwise.wrap_extreme(torch.maximum), "broadcast"),
    "Minimum": Entry(elementwise.wrap_extreme(torch.minimum), "broadcast"),
    "Matmul": Entry(elementwise.matmul),
    "Clip": Entry(elementwise.clip, "same"),
    "Where": Entry(elementwise.where, "broadcast"),
    "ZerosLike": Entry(elementwise.wrap_like(torch.zeros_like), "same"),
    "OnesLike": Entry(elementwise.wrap_like(torch.ones_like), "same"),
    "Cast": Entry(elementwise.cast, "same"),
    "Mean": Entry(reductions.mean),
    "Var": Entry(reductions.variance),
    "Std": Entry(reductions.reduce_std),
    "Sum": Entry(reductions.reduce_sum),
    "Prod": Entry(reductions.reduce_prod),
    **dict.fromkeys(("Max", "Amax"), Entry(reductions.wrap_extremum(torch.amax))),
    **dict.fromkeys(("Min", "Amin"), Entry(reductions.wrap_extremum(torch.amin))),
    "Argmax": Entry(reductions.wrap_arg_extremum(torch.argmax)),
    "Argmin": Entry(reductions.wrap_arg_extremum(torch.argmin)),
    "Any": Entry(reductions.wrap_any_or_all(torch.any)),
    "All": Entry(reductions.wrap_any_or_all(torch.all)),
    "Normalize": Entry(reductions.normalize, "same"),
    "Glu": Entry(activations.glu),
    "Reshape": Entry(shaping.reshape),
    "Transpose": Entry(shaping.transpose_axes),
    "Swapaxes": Entry(shaping.swap_axes),
    "Concatenate": Entry(lambda xs, axis=0: torch.cat(list(xs), axis)),
    "Stack": Entry(lambda x, axis=0: torch.stack(list(x), axis)),
    "Squeeze": Entry(shaping.squeeze),
    "ExpandDims": Entry(shaping.expand_dims),
    "Ravel": Entry(elementwise.wrap_unary(torch.ravel)),
    "GetItem": Entry(shaping.get_item),
    "Flip": Entry(shaping.flip, "same"),
    "Split": Entry(shaping.split),
    "StopGradient": Entry(lambda variable: variable.detach(), "same"),
}
