"""Operations that rearrange, join or cut tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch

from ....operations.reductions import normalize_axes
from ....operations.tensorflow_ops import _to_index
from ...graph import GraphBuilder, Value
from ...registry import lowers_operations
from ..axes import find_axis
from .elementwise import require_floats


@lowers_operations("Matmul")
def lower_matmul(build: GraphBuilder, x1: Any, x2: Any) -> Value:
    """The matrix product."""
    return _multiply(build, x1, x2)


@lowers_operations("tf.linalg.matmul")
def lower_tensorflow_matmul(
    build: GraphBuilder, a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False
) -> Value:
    """The matrix product of two tensors, each of which may be transposed before."""
    if not isinstance(a, Value) or not isinstance(b, Value):
        build.refuse("one of its factors is a list")
    a = build.method("transpose", a, -2, -1) if transpose_a else a
    b = build.method("transpose", b, -2, -1) if transpose_b else b
    return _multiply(build, a, b)


def _multiply(build: GraphBuilder, x: Any, y: Any) -> Value:
    if not isinstance(x, Value) or not isinstance(y, Value):
        build.refuse("one of its factors is a list")
    require_floats(build, x, y)
    return build.function(operator.matmul, x, y)


@lowers_operations("Reshape")
def lower_reshape_operation(build: GraphBuilder, x: Value, newshape: Any) -> Value:
    """Another shape, the batch included."""
    return _reshape(build, x, newshape)


@lowers_operations("tf.reshape")
def lower_tensorflow_reshape(build: GraphBuilder, tensor: Value, shape: Any) -> Value:
    """Another shape, the batch included."""
    return _reshape(build, tensor, shape)


def _reshape(build: GraphBuilder, x: Value, sizes: Any) -> Value:
    sizes = sizes if isinstance(sizes, (list, tuple)) else [sizes]
    if not all(type(size) is int for size in sizes):
        build.refuse("its shape is computed")
    return build.method("reshape", x, *sizes)


@lowers_operations("Ravel")
def lower_ravel(build: GraphBuilder, x: Value) -> Value:
    """One axis."""
    return build.method("flatten", x)


@lowers_operations("Transpose")
def lower_transpose(build: GraphBuilder, x: Value, axes: Any = None) -> Value:
    """Permuted axes, by default reversed."""
    return build.method("permute", x, *(reversed(range(x.rank)) if axes is None else axes))


@lowers_operations("tf.transpose", "tf.compat.v1.transpose")
def lower_tensorflow_transpose(
    build: GraphBuilder, a: Value, perm: Any = None, conjugate: bool = False
) -> Value:
    """Permuted axes, by default reversed."""
    return build.method("permute", a, *(reversed(range(a.rank)) if perm is None else perm))


@lowers_operations("Swapaxes")
def lower_swap_axes(build: GraphBuilder, x: Value, axis1: int, axis2: int) -> Value:
    """Two axes swapped."""
    return build.method("transpose", x, axis1, axis2)


@lowers_operations("Concatenate", layout="any")
def lower_concatenate_operation(build: GraphBuilder, xs: Sequence[Value], axis: int = 0) -> Value:
    """Tensors joined along an axis."""
    return _concatenate(build, xs, axis)


@lowers_operations("tf.concat", layout="any")
def lower_concat(build: GraphBuilder, values: Sequence[Value], axis: int) -> Value:
    """Tensors joined along an axis."""
    return _concatenate(build, values, axis)


def _concatenate(build: GraphBuilder, values: Sequence[Value], axis: int) -> Value:
    alike = build.as_alike(values)
    return build.function(torch.cat, alike, dim=find_axis(alike[0], axis))


@lowers_operations("Stack")
def lower_stack(build: GraphBuilder, x: Sequence[Value], axis: int = 0) -> Value:
    """Tensors along a new axis."""
    return build.function(torch.stack, list(x), **({"dim": axis} if axis else {}))


@lowers_operations("tf.stack")
def lower_tensorflow_stack(build: GraphBuilder, values: Sequence[Value], axis: int = 0) -> Value:
    """Tensors along a new axis."""
    return build.function(torch.stack, list(values), **({"dim": axis} if axis else {}))


@lowers_operations("Squeeze", "tf.squeeze", "tf.compat.v1.squeeze")
def lower_squeeze(build: GraphBuilder, x: Any = None, axis: Any = None, **options: Any) -> Value:
    """Axes of size 1 removed: the given ones, or all."""
    x = options.get("input") if x is None else x
    axes = normalize_axes(axis)
    if axes is None:
        return build.method("squeeze", x)
    return build.method("squeeze", x, axes[0] if len(axes) == 1 else axes)


@lowers_operations("ExpandDims", "tf.expand_dims")
def lower_expand_dims(
    build: GraphBuilder, x: Any = None, axis: Any = None, **options: Any
) -> Value:
    """Axes of size 1 inserted, given as axes of the result."""
    x = options.get("input") if x is None else x
    axes = normalize_axes(axis) or ()
    rank = x.rank + len(axes)
    for one in sorted(one % rank for one in axes):
        x = build.method("unsqueeze", x, one)
    return x


@lowers_operations("GetItem")
def lower_get_item(build: GraphBuilder, x: Value, key: Any) -> Value:
    """Part of a tensor."""
    return _index(build, x, key)


@lowers_operations("tf.__operators__.getitem")
def lower_tensorflow_get_item(build: GraphBuilder, x: Value, slice_spec: Any) -> Value:
    """Part of a tensor."""
    parts = slice_spec if isinstance(slice_spec, (list, tuple)) else [slice_spec]
    return _index(build, x, [_to_index(part) for part in parts])


def _index(build: GraphBuilder, x: Value, key: Any) -> Value:
    parts = tuple(key) if isinstance(key, (list, tuple)) else (key,)
    return build.function(operator.getitem, x, parts[0] if len(parts) == 1 else parts)


@lowers_operations("Flip")
def lower_flip(build: GraphBuilder, x: Value, axis: Any = None) -> Value:
    """Axes reversed, by default all."""
    return build.function(torch.flip, x, normalize_axes(axis) or tuple(range(x.rank)))


@lowers_operations("Split")
def lower_split(
    build: GraphBuilder, x: Value, indices_or_sections: Any, axis: int = 0
) -> list[Value]:
    """Equal parts along an axis, or parts between indices."""
    parts = indices_or_sections
    if isinstance(parts, int):
        count = parts
        whole = build.method("chunk", x, count, dim=axis)
    else:
        whole = build.method("tensor_split", x, tuple(parts), dim=axis)
        count = len(parts) + 1
    return [build.function(operator.getitem, whole, n) for n in range(count)]
