"""The rows of Resizing, CenterCrop and RandomCrop."""

from __future__ import annotations

from typing import Any

from kerastorch import layers
from tests.layers.case import cases

REFUSED: dict[str, Any] = {"refused": [(5, 3), (1, 2, 4, 5, 3)]}
SIZES = [(name, value, ValueError) for name in ("height", "width") for value in (0, 2.5, None)]
FORMAT = ("data_format", "x", ValueError)
IN_KERAS: dict[str, Any] = {
    "refused_arguments": [
        ("interpolation", "gaussian", ValueError),
        ("fill_mode", "reflect", ValueError),
        FORMAT,
    ],
    "refused_here": SIZES,  # in Keras each in another way, or not at all
}
OTHER = [(2, 8, 9, 3), (1, 4, 5, 3)]
FIRST = {"data_format": "channels_first"}

RESIZING = [
    *cases(
        layers.Resizing,
        {"height": 4, "width": 9},
        {"height": 4, "width": 9, "interpolation": "nearest"},
        {"height": 12, "width": 3, "bounding_box_format": "xyxy"},
        {"height": 4, "width": 3, "antialias": True},
        {"height": 4, "width": 9, "interpolation": "bicubic", "antialias": True},
        shape=(3, 7, 6, 3),
        other=OTHER,
        **REFUSED,
        **IN_KERAS,
    ),
    *cases(
        layers.Resizing,
        {"height": 4, "width": 9, "crop_to_aspect_ratio": True},
        {"height": 9, "width": 4, "crop_to_aspect_ratio": True, "interpolation": "nearest"},
        {"height": 4, "width": 9, "pad_to_aspect_ratio": True, "fill_value": 0.5},
        {"height": 9, "width": 4, "pad_to_aspect_ratio": True, "interpolation": "nearest"},
        {"height": 1, "width": 9, "crop_to_aspect_ratio": True, **FIRST},
        {"height": 9, "width": 4, "pad_to_aspect_ratio": True, **FIRST},
        shape=(3, 7, 6, 5),
        **REFUSED,
        refused_arguments=[FORMAT],
        refused_here=SIZES,
    ),
    *cases(
        layers.Resizing,
        {"height": 4, "width": 9, "pad_to_aspect_ratio": True},
        shape=(3, 8, 6),
        # torch.export cannot solve what it finds about a height that is padded by the ratio.
        exempt=frozenset(
            {
                "test_exported_layers_work_at_other_sizes",
                "test_onnx_files_give_the_same_at_other_sizes",
            }
        ),
        refused=[(5, 3)],
        refused_arguments=[FORMAT, ("crop_to_aspect_ratio", True, ValueError)],
    ),
    *cases(
        layers.Resizing,
        {"height": 4, "width": 9, "interpolation": "bicubic"},
        {"height": 4, "width": 3, "interpolation": "lanczos3", "antialias": True},
        {"height": 10, "width": 3, "interpolation": "lanczos5", **FIRST},
        {"height": 10, "width": 4, "interpolation": "area"},
        shape=(3, 7, 6, 5),
        other=[(2, 8, 9, 5)],
        **REFUSED,
        refused_arguments=IN_KERAS["refused_arguments"],
        agrees=False,  # on torch: another cubic, no other kernel and no areas
    ),
    *cases(
        layers.CenterCrop,
        {"height": 4, "width": 3},
        {"height": 3, "width": 6, **FIRST},
        {"height": 9, "width": 4},
        {"height": 4, "width": 9, "bounding_box_format": "xyxy"},
        integers="converted",
        shape=(3, 7, 8, 6),
        **REFUSED,
        refused_arguments=[FORMAT],
        refused_here=SIZES,
    ),
    *cases(
        layers.RandomCrop,
        {"height": 7, "width": 6, "seed": 3},  # its output is of another size in training alone
        {"height": 6, "width": 4, "seed": 4, **FIRST},
        integers="kept",
        shape=(3, 7, 6, 4),
        **REFUSED,
        refused_arguments=[FORMAT, ("seed", "a", ValueError)],
        refused_here=SIZES,
        samples=True,
        trains=False,
        exempt=frozenset({"test_it_follows_the_dtype_of_the_model"}),  # but that of its input
    ),
]
