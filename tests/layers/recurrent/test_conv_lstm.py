"""ConvLSTM: rows for the tests of every layer, and its arithmetic beside a loop of convolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from kerastorch.layers import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D

from ..case import cases

REFUSED: list[tuple[str, Any, type[Exception]]] = [
    ("filters", -1, ValueError),
    ("kernel_size", (1, 2, 3, 4), ValueError),
    ("padding", "causal", ValueError),
    ("data_format", "last", ValueError),
    ("activation", "no_such", ValueError),
]

# Keras accepts no filter and fails in the first call.
REFUSED_HERE = [("filters", 0, ValueError)]

# Keras on torch convolves no integers, and its orthogonal initializer makes no half precision.
SHARED: Any = {
    "refused_arguments": REFUSED,
    "refused_here": REFUSED_HERE,
    "integers": "converted",
    "integers_agree": False,
}
UNIFORM = {"recurrent_initializer": "glorot_uniform"}

CASES = [
    *cases(
        ConvLSTM2D,
        {"filters": 3, "kernel_size": (2, 3), **UNIFORM},
        {
            "filters": 2,
            "kernel_size": 3,
            "padding": "same",
            "strides": 2,
            "return_sequences": True,
            **UNIFORM,
        },
        {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "use_bias": False, **UNIFORM},
        shape=(2, 3, 7, 5, 4),
        other=[(3, 3, 7, 5, 4), (2, 3, 6, 8, 4)],
        refused=[(2, 7, 5, 4), (2, 3, 7, 5, 3), (2, 0, 7, 5, 4)],
        **SHARED,
    ),
    *cases(
        ConvLSTM1D,
        {"filters": 3, "kernel_size": 2, "data_format": "channels_first", **UNIFORM},
        shape=(2, 3, 4, 7),
        other=[(3, 3, 4, 7)],
        refused=[(2, 4, 7), (2, 3, 5, 7), (2, 0, 4, 7)],
        **SHARED,
    ),
    *cases(
        ConvLSTM3D,
        {"filters": 2, "kernel_size": (2, 1, 3), "recurrent_activation": "hard_sigmoid", **UNIFORM},
        shape=(2, 2, 5, 3, 4, 1),
        other=[(3, 2, 5, 3, 4, 1)],
        refused=[(2, 5, 3, 4, 1), (2, 2, 5, 3, 4, 2), (2, 0, 5, 3, 4, 1)],
        **SHARED,
    ),
]
