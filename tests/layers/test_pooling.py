"""Pooling layers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch import layers
from kerastorch.layers import (
    AveragePooling2D,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPooling2D,
)
from tests.layers.case import LayerCase, batch

IMAGES: dict[str, Any] = {
    "shape": (2, 8, 9, 3),
    "other": [(3, 9, 12, 3), (1, 11, 8, 3), (4, 12, 10, 3)],
    "refused": [(8, 9, 3)],
}
IMAGES_FIRST: dict[str, Any] = {
    "shape": (2, 3, 8, 9),
    "other": [(3, 3, 9, 12), (1, 3, 11, 8), (4, 3, 12, 10)],
    "refused": [(3, 8, 9)],
}
POOL_SIZES = (2, (2, 3), (3, 2), (4, 3))
STRIDES = (None, 1, (2, 1), (3, 2), (1, 3))
REFUSED_ARGUMENTS = [
    ("pool_size", 0, ValueError),
    ("pool_size", (2,), ValueError),
    ("pool_size", "ab", ValueError),
    ("strides", 0, ValueError),
    ("strides", -1, ValueError),
    ("data_format", "x", ValueError),
    ("colour", 3, ValueError),
]


def _pooling(layer: type, size: Any, strides: Any, padding: str, **options: Any) -> LayerCase:
    arguments = {"pool_size": size, "strides": strides, "padding": padding}
    first = options.pop("data_format", None)
    given = {**IMAGES_FIRST, "refused": [(3, 8, 9)]} if first else {**IMAGES}
    if padding == "valid":
        wide = 3 if size == 2 else 5
        given["refused"] = [*given["refused"], (2, 3, 1, wide) if first else (2, 1, wide, 3)]
    if first:
        arguments["data_format"] = first
    return LayerCase(
        layer,
        arguments,
        **given,
        refused_arguments=REFUSED_ARGUMENTS,
        refused_here=[("padding", "no", ValueError)],
        integers_agree=layer is MaxPooling2D,
        integers="kept" if layer is MaxPooling2D else "converted",
        **options,
    )


CASES = [
    _pooling(MaxPooling2D, (2, 3), (3, 2), "same"),
    *(
        _pooling(MaxPooling2D, *arguments)
        for arguments in itertools.product(POOL_SIZES, STRIDES, ("valid", "same"))
    ),
    _pooling(MaxPooling2D, (3, 2), (2, 3), "same", data_format="channels_first"),
    _pooling(AveragePooling2D, (3, 2), (2, 3), "same", agrees=False),
    # Where "same" is uneven, Keras on torch repeats the border: see the recorded values.
    *(
        _pooling(AveragePooling2D, size, strides, "valid")
        for size, strides in itertools.product((2, (2, 3), (4, 3)), STRIDES[:-1])
    ),
    _pooling(AveragePooling2D, (3, 5), 1, "same"),
    _pooling(AveragePooling2D, (3, 2), (1, 1), "same", agrees=False),
    _pooling(AveragePooling2D, (3, 2), (2, 3), "same", data_format="channels_first", agrees=False),
    *(
        LayerCase(
            layer,
            {"keepdims": keepdims, **extra},
            **(IMAGES_FIRST if extra else IMAGES),
            refused_arguments=[("data_format", "x", ValueError)],
            in_double=layer is GlobalMaxPooling2D,
            integers="kept" if layer is GlobalMaxPooling2D else "",
        )
        for layer in (GlobalAveragePooling2D, GlobalMaxPooling2D)
        for keepdims in (False, True)
        for extra in ({}, {"data_format": "channels_first"})
    ),
]


def pooled(x, size, strides, padding, reduce):
    """Return the pooling of (batch, h, w, channels) by TensorFlow's rule, window by window."""
    out, starts = [], []
    for n, k, s in zip(x.shape[1:3], size, strides, strict=True):
        out.append(-(-n // s) if padding == "same" else (n - k) // s + 1)
        total = max((out[-1] - 1) * s + k - n, 0) if padding == "same" else 0
        starts.append(-(total // 2))
    y = np.empty((x.shape[0], *out, x.shape[3]))
    for i, j in np.ndindex(*out):
        top, left = starts[0] + i * strides[0], starts[1] + j * strides[1]
        window = x[:, max(top, 0) : top + size[0], max(left, 0) : left + size[1]]
        y[:, i, j] = reduce(window, axis=(1, 2))
    return y


WINDOWS = list(
    itertools.product([(2, 3), (3, 2), (4, 5), (1, 3)], [(1, 1), (2, 1), (3, 2), (1, 3)])
)


@pytest.mark.parametrize("padding", ["valid", "same", "SAME"])
@pytest.mark.parametrize("size, strides", WINDOWS)
@pytest.mark.parametrize("name, reduce", [("Max", np.max), ("Average", np.mean)])
def test_pooling_against_loops(name, reduce, size, strides, padding):
    cls = getattr(layers, f"{name}Pooling2D")
    layer = cls(size, strides, padding, dtype="float64")
    first = cls(size, strides, padding, "channels_first", dtype="float64")
    for shape in ((2, 7, 6, 3), (1, 5, 8, 2)):
        x = batch(shape, torch.float64) - 3  # padded zeros would be the largest
        expected = pooled(x.numpy(), size, strides, padding.lower(), reduce)
        assert_close(layer(x), torch.from_numpy(expected))
        moved = first(x.permute(0, 3, 1, 2))
        assert_close(moved.permute(0, 2, 3, 1), layer(x))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.half])
def test_every_dtype_is_pooled_in_a_graph_as_without(dtype):
    x = (batch((2, 9, 12, 3)) * 3 - 3).to(dtype)
    for layer in (MaxPooling2D((3, 2), (2, 3), "same"), MaxPooling2D(2, 1, "same")):
        torch.compiler.reset()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))
