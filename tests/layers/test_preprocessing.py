"""Rescaling and Normalization, and the rows of the layers over images."""

from __future__ import annotations

import numpy as np
import torch
from torch.testing import assert_close

from kerastorch.layers import Normalization, Rescaling
from tests.layers.case import LayerCase, batch, cases
from tests.layers.images.resizing_rows import RESIZING
from tests.layers.images.rows import IMAGES

ARRAY = np.array([1.0, 2.5, -3.0], "float32")
EXEMPT = frozenset(
    {
        "test_exported_layers_work_at_other_sizes",  # torch.export miscounts buffers that are None
    }
)
CASES = [
    *cases(
        Rescaling,
        {"scale": [1.0, 2, -0.5], "offset": ARRAY},
        {"scale": 1 / 255},
        {"scale": 1 / 127.5, "offset": -1},
        {"scale": ARRAY.astype("float64"), "offset": (1, 2, 3)},
        {"scale": np.float64(0.1), "offset": np.float32(3)},
        {"scale": 2, "offset": [[1.0], [2.0], [3.0], [4.0]]},
        integers="converted",
        shape=(2, 4, 3),
        refused_arguments=[("scale", "a", ValueError), ("offset", "a", ValueError)],
    ),
    *(
        LayerCase(
            Normalization,
            arguments,
            shape,
            refused_arguments=[("axis", 1.5, TypeError), ("colour", 3, ValueError)],
            in_double=False,
            integers="converted",
            thorough=shape == (3, 4, 2, 5),
            exempt=EXEMPT,
        )
        for arguments, shape in (
            ({"mean": [1.0, 2.0], "variance": [3.0, 4.0]}, (3, 4, 2)),
            ({}, (3, 4)),
            ({"axis": None}, (3, 4)),
            ({"axis": (1, -1)}, (3, 4, 2, 5)),
            ({"axis": [-1, 1]}, (3, 4, 2, 5)),
            ({"axis": 1, "invert": True}, (3, 4, 2)),
            ({"mean": 2.0, "variance": 3.0}, (3, 4)),
            ({"mean": 2, "variance": 0, "axis": None}, (3, 4)),
            ({"mean": ARRAY, "variance": ARRAY**2, "axis": 1, "invert": True}, (2, 3, 4)),
            ({"mean": [[1.0, 2]], "variance": [[3.0, 4]], "axis": (1, 2)}, (3, 4, 2)),
            ({"mean": [1.0, 2], "variance": [3.0, 4], "axis": (1, 2)}, (3, 4, 2)),
        )
    ),
    *IMAGES,
    *RESIZING,
]


def test_normalization_is_undone_by_its_inverse():
    moments = {"mean": [1.0, -2.0, 3.0], "variance": [4.0, 0.5, 2.0]}
    x = batch((4, 3))
    there = Normalization(**moments)(x)
    assert_close(Normalization(**moments, invert=True)(there), x)


def test_normalization_takes_its_weights_from_a_state_dict():
    source = Normalization(axis=(1, -1), input_shape=(3, 2, 4))
    source.set_weights([np.full((3, 4), 2.0), np.full((3, 4), 4.0), np.array(7)])
    target = Normalization(axis=(1, -1))
    target.load_state_dict(source.state_dict())
    x = batch((5, 3, 2, 4))
    assert_close(target(x), (x - 2) / 2)
    assert not list(target.parameters()) and target.count.dtype is torch.int32
