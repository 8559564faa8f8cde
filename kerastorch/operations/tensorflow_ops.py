"""The functions of TensorFlow that a Functional model of tf.keras may have between its layers.

TensorFlow casts a Python number to the other argument's dtype, and refuses two tensors of different
dtypes, which a file can therefore not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .. import activations
from .._core.errors import argument_error
from .elementwise import cast, wrap_like, wrap_unary
from .keras_ops import Entry
from .reductions import multiply_along, normalize_axes
from .shaping import expand_dims, get_item, reshape, squeeze, swap_axes, transpose_axes


def _wrap_binary(
    function: Callable[[Tensor, Tensor], Tensor], *, floats: bool = False
) -> Callable[..., Tensor]:
    """Return a torch function of two tensors that also accepts numbers and lists of numbers."""

    def compute(x: Any, y: Any) -> Tensor:
        like = x if isinstance(x, Tensor) else y
        if floats:
            _require_floats(like)
        return function(*(_like(value, like) for value in (x, y)))

    return compute


def _like(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _require_floats(x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(argument_error("TFOpLambda", "inputs", "of floating point", x.dtype))


def _wrap_reduction(
    function: Callable[..., Tensor], *, floats: bool = False
) -> Callable[..., Tensor]:
    def compute(input_tensor: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        x = input_tensor
        if floats:
            _require_floats(x)
        axes = normalize_axes(axis) or tuple(range(x.ndim))
        return function(x, axes, bool(keepdims)).to(x.dtype)

    return compute


def _silu(features: Tensor, beta: float = 1.0) -> Tensor:
    if beta != 1.0:
        raise ValueError(argument_error("tf.nn.silu", "beta", "1", beta))
    return activations.silu(features)


def _wrap_softmax(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda logits, axis=None: function(logits, -1 if axis is None else axis)


def _l2_normalize(x: Tensor, axis: Any = None, epsilon: float = 1e-12) -> Tensor:
    axes = normalize_axes(axis) or tuple(range(x.ndim))
    squares = torch.sum(torch.square(x), axes, True)
    return x * torch.rsqrt(torch.maximum(squares, torch.full_like(squares, epsilon)))


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    a, b = _like(a, like), _like(b, like)
    return torch.matmul(
        swap_axes(a, -2, -1) if transpose_a else a, swap_axes(b, -2, -1) if transpose_b else b
    )


def _clip(x: Tensor, clip_value_min: Any, clip_value_max: Any) -> Tensor:
    return torch.minimum(torch.maximum(x, _like(clip_value_min, x)), _like(clip_value_max, x))


def _getitem(x: Tensor, slice_spec: Any) -> Tensor:
    parts = slice_spec if isinstance(slice_spec, (list, tuple)) else [slice_spec]
    return get_item(x, [_to_index(part) for part in parts])


def _to_index(given: Any) -> Any:
    """Return an index from its config, where slices and the ellipsis are dicts."""
    if not isinstance(given, Mapping):
        return given
    if given.get("class_name") == "__ellipsis__":
        return ...
    sizes = [given.get(key) for key in ("start", "stop", "step")]
    if set(given) != {"start", "stop", "step"} or not all(
        size is None or type(size) is int for size in sizes
    ):
        rule = "integers, slices of integers, null and an ellipsis"
        raise ValueError(argument_error("TFOpLambda", "slice_spec", rule, given))
    return slice(*sizes)


_ZEROS, _ONES = wrap_like(torch.zeros_like), wrap_like(torch.ones_like)
_TORCH_UNARY = ("negative", "abs", "square", "sqrt", "rsqrt", "exp", "log", "sigmoid", "tanh")
_TORCH_BINARY = ("add", "subtract", "multiply", "pow", "maximum", "minimum")
_COMPARISONS = {
    "equal": torch.eq,
    "not_equal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
}
_ACTIVATIONS = ("relu", "relu6", "elu", "selu")
TENSORFLOW: Mapping[str, Entry] = {
    **{f"math.{n}": Entry(wrap_unary(getattr(torch, n)), "same") for n in _TORCH_UNARY},
    **{f"math.{n}": Entry(_wrap_binary(getattr(torch, n)), "broadcast") for n in _TORCH_BINARY},
    **{f"math.{n}": Entry(_wrap_binary(f), "broadcast") for n, f in _COMPARISONS.items()},
    "math.logical_not": Entry(wrap_unary(torch.logical_not), "same"),
    "math.reduce_any": Entry(_wrap_reduction(torch.any)),
    "math.reduce_all": Entry(_wrap_reduction(torch.all)),
    "zeros_like": Entry(lambda input, dtype=None: _ZEROS(input, dtype), "same"),
    "ones_like": Entry(lambda input, dtype=None: _ONES(input, dtype), "same"),
    **{f"nn.{n}": Entry(wrap_unary(getattr(activations, n)), "same") for n in _ACTIVATIONS},
    "math.softplus": Entry(wrap_unary(activations.softplus), "same"),
    "identity": Entry(wrap_unary(activations.linear), "same"),
    "stop_gradient": Entry(wrap_unary(torch.detach), "same"),
    "__operators__.add": Entry(_wrap_binary(torch.add), "broadcast"),
    "math.truediv": Entry(_wrap_binary(torch.divide, floats=True), "broadcast"),
    "math.divide": Entry(_wrap_binary(torch.divide, floats=True), "broadcast"),
    "nn.leaky_relu": Entry(
        lambda features, alpha=0.2: activations.leaky_relu(features, alpha), "same"
    ),
    "nn.gelu": Entry(
        lambda features, approximate=False: activations.gelu(features, approximate), "same"
    ),
    "nn.silu": Entry(_silu, "same"),
    "nn.softmax": Entry(_wrap_softmax(activations.softmax), "same"),
    "nn.log_softmax": Entry(_wrap_softmax(activations.log_softmax), "same"),
    "math.l2_normalize": Entry(_l2_normalize, "same"),
    "math.reduce_mean": Entry(_wrap_reduction(torch.mean, floats=True)),
    "math.reduce_sum": Entry(_wrap_reduction(torch.sum)),
    "math.reduce_max": Entry(_wrap_reduction(torch.amax)),
    "math.reduce_min": Entry(_wrap_reduction(torch.amin)),
    "math.reduce_prod": Entry(_wrap_reduction(multiply_along)),
    "linalg.matmul": Entry(_matmul),
    "reshape": Entry(lambda tensor, shape: reshape(tensor, shape)),
    **dict.fromkeys(
        ("transpose", "compat.v1.transpose"),
        Entry(lambda a, perm=None, conjugate=False: transpose_axes(a, perm)),
    ),
    "concat": Entry(lambda values, axis: torch.cat(list(values), axis)),
    "stack": Entry(lambda values, axis=0: torch.stack(list(values), axis)),
    "expand_dims": Entry(expand_dims),
    **dict.fromkeys(("squeeze", "compat.v1.squeeze"), Entry(squeeze)),
    "cast": Entry(cast, "same"),
    "clip_by_value": Entry(_clip, "same"),
    "__operators__.getitem": Entry(_getitem),
}
