"""Layers that change the shape of a tensor."""

from __future__ import annotations

import numpy as np
import torch

from kerastorch.layers import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from tests.layers.case import LayerCase, batch, cases
from tests.layers.test_pooling import FIRST, IMAGES, IMAGES_FIRST, INPUTS, SEQUENCES, VOLUMES

NO_FORMAT = ("data_format", "channels_last", ValueError)  # it is no argument of some
CASES = [
    *cases(
        Flatten,
        {},
        FIRST,
        {"activity_regularizer": "l2"},
        integers="kept",
        shape=(2, 3, 4, 5),
        other=[(3, 6, 7, 5), (1, 4, 3, 5)],
        refused=[()],
        refused_arguments=[("data_format", "NCHW", ValueError)],
    ),
    *(
        LayerCase(
            Flatten,
            {"data_format": data_format},
            shape,
            refused=[()],
            refused_arguments=[("data_format", "NCHW", ValueError)],
            integers="kept",
        )
        for data_format in ("channels_last", "channels_first")
        for shape in ((3,), (3, 4), (3, 1), (2, 3, 4), (2, 3, 4, 5, 2))
    ),
    *cases(
        Reshape,
        {"target_shape": (-1, 3)},
        integers="kept",
        shape=(2, 8, 9, 3),
        other=[(3, 8, 12, 3), (1, 8, 10, 3)],
        refused=[(2, 5, 7)],
        refused_arguments=[
            ("target_shape", 3, TypeError),
            ("target_shape", (-2, 3), ValueError),
            ("target_shape", (-1, -1), ValueError),
            ("target_shape", (5, 2), ValueError),
            ("target_shape", (5, -1), ValueError),
            ("target_shape", (0, -1), ValueError),
        ],
    ),
    LayerCase(
        Reshape,
        {"target_shape": (-1,)},
        (5, 3, 1),
        refused_arguments=[("target_shape", (-1, -1), ValueError)],
    ),
    LayerCase(
        Reshape,
        {"target_shape": (None, 4)},  # None is written as an unknown size
        (2, 3, 4),
        refused=[(2, 5, 7)],
        exempt=frozenset({"test_output_shapes", "test_refused_shapes_change_nothing"}),
    ),
    *cases(
        Reshape,
        {"target_shape": [-1, 2, 2]},
        {"target_shape": (6, -1)},
        {"target_shape": (np.int64(2), 6)},
        {"target_shape": (3, 4)},
        integers="kept",
        shape=(2, 3, 4),
        refused=[(2, 11)],
        refused_arguments=[("target_shape", None, TypeError)],
    ),
    *cases(
        Reshape,
        {"target_shape": ()},
        {"target_shape": (1,)},
        integers="kept",
        shape=(5, 1),
        refused=[(5, 2)],
        refused_arguments=[("target_shape", (7,), ValueError)],
    ),
    LayerCase(
        Permute,
        {"dims": (3, 1, 2)},
        (2, 8, 9, 3),
        [(3, 9, 12, 3), (1, 11, 8, 3)],
        refused=[(2, 8, 9)],
        integers="kept",
        refused_arguments=[
            ("dims", (0, 1), ValueError),
            ("dims", (1, 1), ValueError),
            ("dims", (1, 3), ValueError),
            ("dims", 2, TypeError),
        ],
    ),
    *(
        LayerCase(
            Permute,
            {"dims": dims},
            shape,
            refused=[(*shape, 2)],
            refused_arguments=[("dims", (1, 3), ValueError)],
        )
        for dims, shape in (
            ((2, 1), (2, 3, 4)),
            ([3, 1, 2], (2, 3, 4, 5)),
            ((1,), (2, 3)),
            ((4, 2, 1, 3), (2, 3, 4, 5, 6)),
            ((), (2,)),
        )
    ),
    *cases(
        ZeroPadding2D,
        {"padding": ((1, 2), (3, 0))},
        {},
        {"padding": 2},
        {"padding": (0, 3)},
        integers="kept",
        **IMAGES,
        refused_arguments=[
            ("padding", (1, 2, 3), ValueError),
            ("padding", 1.5, ValueError),
            ("padding", (-1, 2), ValueError),
        ],
    ),
    *cases(
        Cropping2D,
        {"cropping": ((1, 2), (1, 0))},
        {},
        {"cropping": 1},
        {"cropping": (0, 2)},
        integers="kept",
        **{**IMAGES, "refused": [(8, 9, 3), (2, 2, 0, 3)]},
        refused_arguments=[("cropping", -1, ValueError), ("cropping", (1, 5), ValueError)],
    ),
    *cases(
        UpSampling2D,
        {"size": (2, 3)},
        {"size": 2},
        integers="kept",
        **IMAGES,
        refused_arguments=[("size", 0, ValueError), ("interpolation", "foo", ValueError)],
    ),
    *cases(
        UpSampling2D,
        *(
            {"size": size, "interpolation": "bilinear"}
            for size in ((2, 3), 2, (1, 3), (3, 2), (5, 1))
        ),
        **IMAGES,
        refused_arguments=[("size", 0, ValueError), ("interpolation", "foo", ValueError)],
    ),
    *cases(  # Keras on torch lacks these interpolations: see the recorded values of TensorFlow
        UpSampling2D,
        {"size": (2, 3), "interpolation": "bicubic"},
        {"size": (1, 4), "interpolation": "lanczos3"},
        {"size": (3, 2), "interpolation": "LANCZOS5"},
        **IMAGES,
        refused_arguments=[("interpolation", "area", ValueError)],
        agrees=False,
        converts=False,
    ),
    *(
        LayerCase(
            layer,
            {**arguments, **FIRST},
            **IMAGES_FIRST,
            refused_arguments=[("data_format", "NCHW", ValueError)],
            agrees=arguments.get("interpolation") != "bicubic",
            converts=arguments.get("interpolation") != "bicubic",
        )
        for layer, arguments in (
            (ZeroPadding2D, {"padding": ((1, 2), (3, 0))}),
            (Cropping2D, {"cropping": ((1, 2), (1, 0))}),
            (UpSampling2D, {"size": (3, 2)}),
            (UpSampling2D, {"size": (2, 3), "interpolation": "bilinear"}),
            (UpSampling2D, {"size": (2, 3), "interpolation": "bicubic"}),
        )
    ),
    *cases(
        ZeroPadding1D,
        {"padding": (1, 3)},
        {},
        {"padding": 2},
        {"padding": [0, 1]},
        integers="kept",
        **SEQUENCES,
        refused_arguments=[
            *(("padding", n, ValueError) for n in (-1, (-1, 2), (1, 2, 3), ((1, 2),), 1.5, None)),
            ("data_format", "x", ValueError),
        ],
    ),
    *cases(
        ZeroPadding3D,
        {"padding": ((1, 2), (3, 0), (0, 1))},
        {},
        {"padding": 2},
        {"padding": (0, 3, [1, 2])},
        integers="kept",
        **VOLUMES,
        refused_arguments=[
            ("padding", (1, 2), ValueError),
            ("padding", 1.5, ValueError),
            ("padding", (-1, 2, 0), ValueError),
        ],
        refused_here=[("padding", -1, ValueError)],  # it cuts off there
    ),
    *cases(
        Cropping1D,
        {"cropping": (1, 3)},
        {},
        {"cropping": 2},
        {"cropping": [1, 0]},
        integers="kept",
        **{**SEQUENCES, "refused": [(9, 3), (2, 1, 3), (2, 0, 3)]},
        refused_arguments=[
            *(("cropping", n, ValueError) for n in (-1, (5, 4), (1,), (1, 2, 3), None)),
            NO_FORMAT,
        ],
    ),
    *cases(
        Cropping3D,
        {"cropping": ((1, 2), (1, 0), (0, 1))},
        {},
        {"cropping": 0},
        {"cropping": (0, 1, 2)},
        integers="kept",
        **{**VOLUMES, "refused": [(2, 6, 7, 3), (2, 2, 2, 0, 3)]},
        refused_arguments=[("cropping", n, ValueError) for n in (-1, (1, 2), (0, 3, 1), None)],
    ),
    *cases(
        UpSampling1D,
        {"size": 3},
        {},
        {"size": 1},
        integers="kept",
        **SEQUENCES,
        refused_arguments=[
            *(("size", n, TypeError) for n in (2.0, True, [2], None)),
            *(("size", n, ValueError) for n in (0, -2)),
            NO_FORMAT,
        ],
    ),
    *cases(
        UpSampling3D,
        {"size": (2, 1, 4)},
        {"size": (2, 1, 3)},
        {},
        {"size": 1},
        {"size": [1, 3, 2]},
        integers="kept",
        **VOLUMES,
        refused_arguments=[("size", n, ValueError) for n in (0, (2, 2), 1.5, None)],
    ),
    *(
        LayerCase(
            layer,
            {**arguments, **FIRST},
            **INPUTS[layer.rank][1],
            refused_arguments=[("data_format", "NCHW", ValueError)],
        )
        for layer, arguments in (
            (ZeroPadding1D, {"padding": (2, 1)}),
            (ZeroPadding3D, {"padding": ((1, 2), (3, 0), (0, 1))}),
            (Cropping3D, {"cropping": ((1, 2), (1, 0), (0, 1))}),
            (UpSampling3D, {"size": (3, 2, 1)}),
        )
    ),
    *cases(
        RepeatVector,
        {"n": 3},
        {"n": 1},
        integers="kept",
        shape=(2, 5),
        refused=[(2, 5, 3), (5,)],
        refused_arguments=[
            *(("n", n, TypeError) for n in (2.0, True, (2,), None)),
            *(("n", n, ValueError) for n in (0, -1)),
        ],
    ),
]


def test_channels_first_is_flattened_as_channels_last():
    x = batch((2, 3, 4, 5))
    moved = torch.movedim(x, 1, -1)
    assert torch.equal(Flatten("channels_first")(x), Flatten()(moved))
