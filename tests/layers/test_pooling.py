"""Pooling layers."""

from __future__ import annotations

import itertools
from typing import Any

from kerastorch import layers
from kerastorch.layers import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from tests.layers.case import LayerCase

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
SEQUENCES: dict[str, Any] = {
    "shape": (2, 9, 3),
    "other": [(3, 12, 3), (1, 8, 3)],
    "refused": [(9, 3)],
}
SEQUENCES_FIRST: dict[str, Any] = {
    "shape": (2, 3, 9),
    "other": [(3, 3, 12), (1, 3, 8)],
    "refused": [(3, 9)],
}
VOLUMES: dict[str, Any] = {
    "shape": (2, 5, 6, 7, 3),
    "other": [(3, 6, 5, 8, 3), (1, 8, 6, 7, 3)],
    "refused": [(2, 6, 7, 3)],
}
VOLUMES_FIRST: dict[str, Any] = {
    "shape": (2, 3, 5, 6, 7),
    "other": [(3, 3, 6, 5, 8), (1, 3, 8, 6, 7)],
    "refused": [(3, 5, 6, 7)],
}
INPUTS = {
    1: (SEQUENCES, SEQUENCES_FIRST),
    2: (IMAGES, IMAGES_FIRST),
    3: (VOLUMES, VOLUMES_FIRST),
}
FIRST = {"data_format": "channels_first"}
POOL_SIZES = (2, (2, 3), (3, 2), (4, 3))
STRIDES = (None, 1, (2, 1), (3, 2), (1, 3))
REFUSED_ARGUMENTS = [
    ("pool_size", 0, ValueError),
    ("pool_size", (2,) * 4, ValueError),
    ("pool_size", "ab", ValueError),
    ("strides", 0, ValueError),
    ("strides", -1, ValueError),
    ("data_format", "x", ValueError),
    ("colour", 3, ValueError),
]


def _pooling(layer: Any, size: Any, strides: Any, padding: str, **options: Any) -> LayerCase:
    first, is_max = "data_format" in options, layer.__name__.startswith("Max")
    form = {"data_format": options.pop("data_format")} if first else {}
    given = dict(INPUTS[layer.rank][first])
    if padding == "valid":
        small = (1 if size != 1 else 0, *given["shape"][2 + first : 1 + first + layer.rank])
        given["refused"] = [*given["refused"], (2, 3, *small) if first else (2, *small, 3)]
    return LayerCase(
        layer,
        {"pool_size": size, "strides": strides, "padding": padding, **form},
        **given,
        refused_arguments=REFUSED_ARGUMENTS,
        refused_here=[("padding", word, ValueError) for word in ("no", "causal")],
        integers_agree=is_max,
        integers="kept" if is_max else "converted",
        converts=options.get("agrees", True),  # an uneven "same" of averages is neither
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
    _pooling(MaxPooling1D, 3, 2, "same"),
    *(
        _pooling(MaxPooling1D, size, strides, padding)
        for size, strides, padding in itertools.product(
            (2, 3, (4,)), (None, 1, 2, 3), ("valid", "same")
        )
    ),
    _pooling(MaxPooling1D, 3, 2, "valid", **FIRST),
    _pooling(MaxPooling1D, 2, 1, "same", **FIRST),
    _pooling(AveragePooling1D, 3, 2, "same"),
    *(_pooling(AveragePooling1D, size, s, "valid") for size in (2, 3, 4) for s in (None, 1, 3)),
    _pooling(AveragePooling1D, 2, 1, "same", agrees=False),
    _pooling(AveragePooling1D, 4, 3, "same", agrees=False),
    _pooling(AveragePooling1D, 3, 2, "valid", **FIRST),
    _pooling(MaxPooling3D, (2, 3, 2), (2, 1, 3), "same"),
    *(
        _pooling(MaxPooling3D, size, strides, padding)
        for size, strides in ((2, None), ((3, 2, 1), 2), ((2, 2, 4), (1, 3, 2)))
        for padding in ("valid", "same")
    ),
    _pooling(MaxPooling3D, (2, 1, 3), (1, 3, 2), "same", **FIRST),
    _pooling(AveragePooling3D, (2, 3, 2), (2, 1, 3), "same", agrees=False),
    *(
        _pooling(AveragePooling3D, size, strides, "valid")
        for size, strides in ((2, None), ((3, 2, 1), 2), ((2, 2, 4), (1, 3, 2)), (1, 2))
    ),
    _pooling(AveragePooling3D, (3, 1, 5), 1, "same"),
    _pooling(AveragePooling3D, (2, 1, 3), (1, 3, 2), "valid", **FIRST),
    _pooling(AveragePooling3D, (2, 1, 3), (1, 3, 2), "same", agrees=False, **FIRST),
    *(
        LayerCase(
            getattr(layers, f"Global{kind}Pooling{rank}D"),
            {"keepdims": keepdims, **form},
            **INPUTS[rank][bool(form)],
            refused_arguments=[("data_format", "x", ValueError)],
            in_double=kind == "Max",
            integers="kept" if kind == "Max" else "",
        )
        for rank in (1, 2, 3)
        for kind in ("Average", "Max")
        for keepdims in (False, True)
        for form in ({}, FIRST)
    ),
    *(
        LayerCase(
            getattr(layers, f"Adaptive{kind}Pooling{rank}D"),
            {"output_size": size, **form},
            **INPUTS[rank][bool(form)],
            refused_arguments=[
                *(("output_size", size, TypeError) for size in (2.5, "ab", None)),
                *(("output_size", size, ValueError) for size in (0, -1)),
                ("output_size", (2,) * 4, ValueError if rank == 1 else TypeError),
                ("output_size", [None] * rank, ValueError),
                ("data_format", "x", ValueError),
            ],
            integers="kept" if kind == "Max" else "converted",
            integers_agree=False,
            exempt=frozenset({"test_onnx_files_give_the_same_at_other_sizes"}),  # ONNX has none
        )
        for rank in (1, 2, 3)
        for kind in ("Average", "Max")
        for size, form in ((4, {}), ([2, 3, 11][:rank], {}), ((3, 1, 2)[:rank], FIRST))
    ),
]
