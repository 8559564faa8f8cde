"""Merging layers."""

from __future__ import annotations

import numpy as np
import torch
from torch.testing import assert_close

from kerastorch import layers
from tests.layers.case import LayerCase, batch, cases

ELEMENTWISE = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
SHAPES = [
    [(2, 8, 9, 3), (2, 1, 1, 3)],
    [(2, 5, 4, 3), (2, 5, 4, 3)],
    [(2, 5, 1, 3), (2, 1, 4, 1)],
    [(2, 5, 4, 3), (2, 4, 3)],
    [(2, 3), (2, 5, 4, 3)],
    [(2, 5, 4, 3), (2,)],
    [(2, 5, 4, 3), (2, 5, 4, 3), (2, 1, 3)],
    [(2, 3)] * 4,
]
OTHER = [[(n, h, w, 3), (n, 1, 1, 3)] for n, h, w in ((3, 9, 12), (1, 11, 8), (4, 12, 10))]
CONCATENATIONS = {
    -1: [(2, 5, 4, 3), (2, 5, 4, 1)],
    -2: [(2, 5, 4, 3), (2, 5, 6, 3)],
    2: [(2, 5, 4, 3), (2, 5, 2, 3), (2, 5, 1, 3)],
    3: [(2, 5, 4, 3)],
}
CASES = [
    *(
        LayerCase(
            getattr(layers, name),
            {},
            shapes,
            OTHER if shapes is SHAPES[0] else (),
            refused=[
                [(2, 8, 9, 3), (1, 8, 9, 3)],
                [(2, 8, 9, 3), (2, 8, 7, 3)],
                *([[(2, 3), (2, 3), (2, 3)]] if name == "Subtract" else []),
            ],
            refused_arguments=[("colour", 3, ValueError)],
            integers_agree=name not in ("Average", "Maximum", "Minimum"),
            in_double=name not in ("Maximum", "Minimum"),
            integers="" if name in ("Average", "Subtract") else "kept",
        )
        for name in ELEMENTWISE
        for shapes in SHAPES
        if name != "Subtract" or len(shapes) == 2
    ),
    LayerCase(
        layers.Concatenate,
        {"axis": 1},
        [(2, 8, 9, 3), (2, 8, 9, 3)],
        other=[[(n, h, w, 3)] * 2 for n, h, w in ((3, 9, 12), (1, 11, 8), (4, 12, 10))],
        refused=[[(2, 8, 9, 3), (2, 8, 3)], [(2, 8, 9, 3), (2, 8, 7, 3)]],
        refused_arguments=[("axis", None, TypeError), ("axis", 5, IndexError)],
        integers="kept",
    ),
    *(
        LayerCase(
            layers.Concatenate,
            {"axis": axis},
            shapes,
            refused=[[(2, 5, 4, 3), (2, 6, 7, 2)]],
            refused_arguments=[("axis", None, TypeError)],
        )
        for axis, shapes in CONCATENATIONS.items()
    ),
    *cases(
        layers.Concatenate,
        {"axis": 0},
        shape=[(2, 3), (4, 3)],
        refused=[[(2, 3), (2, 4)]],
        refused_arguments=[("axis", None, TypeError)],
    ),
]


def test_merging_against_numpy():
    a, b, c = (batch(shape, seed=i) for i, shape in enumerate([(2, 5, 4), (2, 1, 4), (2, 4)]))
    x, y, z = a.numpy(), b.numpy(), c.numpy()[:, None]
    expected = {
        "Add": x + y + z,
        "Multiply": x * y * z,
        "Average": (x + y + z) / 3,
        "Maximum": np.maximum(x, np.maximum(y, z)),
        "Minimum": np.minimum(x, np.minimum(y, z)),
    }
    for name, value in expected.items():
        layer = getattr(layers, name)()
        assert_close(layer([a, b, c]), torch.from_numpy(value))
        assert layer.compute_output_shape([a.shape, b.shape, c.shape]) == (2, 5, 4)
    assert_close(layers.Subtract()((a, c)), torch.from_numpy(x - z))
    assert_close(layers.Concatenate(1)([a, b]), torch.from_numpy(np.concatenate([x, y], 1)))
