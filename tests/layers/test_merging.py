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
    *(
        LayerCase(
            layers.Dot,
            arguments,
            shapes,
            other=other,
            refused=[
                [(9, *shapes[0][1:]), shapes[1]],
                [shapes[0], (shapes[1][0], *(n + 1 for n in shapes[1][1:]))],
                [shapes[0]],
                [(5,), (5,)],
            ],
            refused_arguments=[
                *(("axes", value, TypeError) for value in (None, 1.5, "ab")),
                *(("axes", value, ValueError) for value in ((1,), (1.0, 1), 0)),
                *(("axes", value, IndexError) for value in (5, (-7, 1))),
            ],
            integers_agree=False,  # Keras makes int32 of int64
            in_double=False,
        )
        for arguments, shapes, other in (
            ({"axes": (2, 1)}, [(2, 3, 5), (2, 5, 4)], [[(3, 4, 5), (3, 5, 6)]]),
            ({"axes": 1}, [(3, 5), (3, 5)], ()),
            ({"axes": 1, "normalize": True}, [(3, 5), (3, 5)], ()),
            ({"axes": -1}, [(3, 5), (3, 4, 5)], ()),
            ({"axes": [1, 2]}, [(2, 5, 3), (2, 4, 5)], ()),
            ({"axes": (-2, -1), "normalize": True}, [(2, 3, 5, 4), (2, 6, 7, 5)], ()),
            ({"axes": (3, 1)}, [(2, 3, 4, 5), (2, 5)], ()),
            ({"axes": (1, 3)}, [(2, 5), (2, 3, 4, 5)], ()),
        )
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


def test_dot_of_integers_and_of_no_length():
    x = [torch.tensor([[100, 3]]), torch.tensor([[2, 5]])]
    kinds = {torch.int8: torch.int32, torch.uint8: torch.uint8, torch.int64: torch.int64}
    for dtype, result in kinds.items():
        y = layers.Dot(1)([each.to(dtype) for each in x])
        assert y.dtype is result and y.item() == 215
    true = torch.tensor([[True, True]])
    assert layers.Dot(1)([true, true]).tolist() == [[True]]
    assert layers.Dot(1, normalize=True)([torch.zeros(1, 2), torch.ones(1, 2)]).tolist() == [[0.0]]
    with_integers = layers.Dot(1, normalize=True)([torch.tensor([[3, 4]]), torch.tensor([[4, 3]])])
    assert_close(with_integers, torch.tensor([[0.96]]))
    assert layers.Dot(1)([torch.zeros(2, 0), torch.zeros(2, 0)]).tolist() == [[0.0], [0.0]]
