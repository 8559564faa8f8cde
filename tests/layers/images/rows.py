"""The rows of the layers that change images at random."""

from __future__ import annotations

from typing import Any

from kerastorch import layers
from tests.layers.case import LayerCase, cases

RGB: dict[str, Any] = {
    "shape": (3, 6, 5, 3),
    "other": [(2, 7, 4, 3)],
    "refused": [(5, 3), (1, 2, 4, 5, 3)],
    "samples": True,
    "trains": False,
}
SEED = ("seed", "a", ValueError)
FORMAT = ("data_format", "x", ValueError)
FACTORS = [("factor", value, ValueError) for value in (2, -2, (3, 4), (1,), "a")]
VALUE_RANGE = [("value_range", value, ValueError) for value in (3, (1,))]
PLACES = [(name, "x", NotImplementedError) for name in ("fill_mode", "interpolation")]
PLACED = {"fill_mode": "wrap", "interpolation": "nearest", "fill_value": 0.5, "seed": 3}
RANGED = {"value_range": (0.0, 1.0), "seed": 3}
FIRST = {"data_format": "channels_first"}


def image_cases(layer: type, integers: str, *arguments: Any, refused: Any = ()) -> list[LayerCase]:
    """Return the rows of an image layer."""
    return cases(layer, *arguments, integers=integers, refused_arguments=[FORMAT, *refused], **RGB)


def pairs(*names: str) -> list[Any]:
    return [(name, value, ValueError) for name in names for value in (2, (1,), (1, 3), "a", None)]


GEOMETRY = [
    *image_cases(
        layers.RandomFlip,
        "converted",
        {},
        {"mode": "vertical", "seed": 3, **FIRST, "bounding_box_format": "xyxy"},
        refused=[SEED],
    ),
    *cases(
        layers.RandomFlip,
        {"mode": "horizontal"},
        integers="converted",
        refused_arguments=[SEED],
        **{**RGB, "shape": (6, 5, 3), "other": [(7, 4, 3)]},
    ),
    *image_cases(
        layers.RandomRotation,
        "converted",
        {"factor": 0.2},
        {"factor": (-0.3, 0.5), **PLACED, **FIRST},
        {"factor": None},
        refused=[SEED, *FACTORS, *PLACES],
    ),
    *image_cases(
        layers.RandomZoom,
        "converted",
        {"height_factor": 0.2},
        {"height_factor": (0.2, -0.3), "width_factor": -0.5, **PLACED},
        refused=[SEED, *PLACES, *pairs("height_factor"), ("width_factor", -1, ValueError)],
    ),
    *image_cases(
        layers.RandomTranslation,
        "converted",
        {"height_factor": 0.2, "width_factor": (-0.1, 0.3)},
        {"height_factor": (0.2, -1), "width_factor": -1, **PLACED},
        refused=[SEED, *PLACES, *pairs("height_factor", "width_factor")],
    ),
    *image_cases(
        layers.RandomShear,
        "converted",
        {},
        {"x_factor": (0.3, 0.1), "y_factor": (0, 0.2), **PLACED},
        refused=[SEED, *PLACES, *pairs("x_factor", "y_factor"), ("x_factor", -0.5, ValueError)],
    ),
    *image_cases(
        layers.RandomElasticTransform,
        "converted",
        {},
        {"factor": (0.3, 0.1), "scale": 0.2, **RANGED, **PLACED, "fill_mode": "mirror"},
        refused=[SEED, *PLACES, *FACTORS, ("scale", 2, ValueError)],
    ),
    *image_cases(
        layers.RandomPerspective,
        "converted",
        {},
        {"factor": 0.5, "scale": 0.2, "interpolation": "nearest", "fill_value": 3, "seed": 4},
        refused=[
            *(SEED, *FACTORS, ("interpolation", "x", NotImplementedError)),
            *(("scale", -1, ValueError), ("scale", "a", TypeError)),
        ],
    ),
]
COLOR = [
    *image_cases(
        layers.RandomContrast,
        "kept",
        {"factor": 0.2},
        {"factor": [0.5, 0.1], **RANGED},
        refused=[SEED, *FACTORS],
    ),
    *image_cases(
        layers.RandomBrightness,
        "kept",
        {"factor": 0.2},
        {"factor": (-0.5, 0.1), "value_range": [1, -1], "seed": 3},
        {"factor": None},
        refused=[SEED, *FACTORS, *VALUE_RANGE],
    ),
    *image_cases(
        layers.RandomHue,
        "kept",
        {"factor": 0.2},
        {"factor": (0.5, 0.1), **RANGED},
        refused=[SEED, *FACTORS],
    ),
    *(
        case
        for name in ("RandomSaturation", "RandomColorDegeneration", "RandomSharpness")
        for case in image_cases(
            getattr(layers, name),
            "converted" if name == "RandomSharpness" else "kept",
            {"factor": 0.2},
            {"factor": (0.5, 0.1), **RANGED},
            refused=[SEED, *FACTORS, *VALUE_RANGE],
        )
    ),
    *image_cases(
        layers.RandomPosterization,
        "kept",
        {"factor": 3},
        {"factor": (5, 2), **RANGED},
        refused=[SEED, *VALUE_RANGE, ("factor", 0, ValueError), ("factor", 9, ValueError)],
    ),
    *image_cases(
        layers.RandomColorJitter,
        "kept",
        {"brightness_factor": 0.2},
        {"contrast_factor": 0.3, "saturation_factor": 0.5, "hue_factor": (0.1, 0.2), **RANGED},
        refused=[
            (name, 2, ValueError)
            for name in ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
        ],
    ),
    *image_cases(
        layers.RandomGaussianBlur,
        "converted",
        {},
        {"factor": 0.5, "kernel_size": (3, 5), "sigma": (0.1, 0.7), **RANGED},
        refused=[SEED, *FACTORS, ("kernel_size", 2, ValueError), ("sigma", 2, ValueError)],
    ),
    *(
        LayerCase(
            layers.RandomGrayscale,
            arguments,
            integers="kept",
            refused_arguments=[SEED, FORMAT, ("factor", 2, ValueError), ("factor", "a", TypeError)],
            exempt=frozenset(  # Keras's config has no seed
                {"test_config_lists_every_argument_but_where_and_how_it_runs"}
            ),
            **RGB,
        )
        for arguments in ({}, {"factor": 0.2, "seed": 3})
    ),
    *image_cases(
        layers.RandomInvert, "kept", {}, {"factor": 0.5, **RANGED}, refused=[SEED, *FACTORS]
    ),
    *image_cases(
        layers.Solarization,
        "converted",
        {},
        {"addition_factor": 0.5, "threshold_factor": (0.7, 0.2), **RANGED},
        refused=[SEED, *VALUE_RANGE, *pairs("addition_factor", "threshold_factor")],
    ),
    *cases(
        layers.Equalization,
        {},
        {"value_range": (1, 0), "bins": 16},
        integers="kept",
        refused_arguments=[FORMAT],
        refused_here=VALUE_RANGE,  # Keras fails to say so
        **RGB,
    ),
]
CONTRAST = [
    cases(
        layers.AutoContrast,
        arguments,
        integers="converted",
        shape=shape,
        refused=[(5, 3), (1, 2, 4, 5, 3)],
        refused_arguments=[FORMAT, *VALUE_RANGE],
        exempt=frozenset({"test_gradients", "test_forward_derivatives"}),  # it clamps at extremes
    )
    for arguments, shape in (
        ({}, (3, 6, 5, 3)),
        ({"value_range": (1.0, -0.5)}, (3, 6, 5, 3)),
        ({"value_range": (0, 1), **FIRST}, (3, 6, 5, 3)),
        ({"value_range": [0, 10]}, (6, 5, 3)),
    )
]
STRETCHES = [
    LayerCase(
        layer,
        arguments,
        integers="kept",
        refused_arguments=[
            *(SEED, FORMAT, ("interpolation", "x", NotImplementedError)),
            *(("factor", value, ValueError) for value in (-2, (0.5, 0.2), (-2, 0.1), "a")),
        ],
        exempt=frozenset(  # the config has no data format
            {"test_config_lists_every_argument_but_where_and_how_it_runs"}
        ),
        **RGB,
    )
    for layer in (layers.RandomHeight, layers.RandomWidth)
    for arguments in ({"factor": 0.5}, {"factor": [-0.5, 0.2], "interpolation": "area", "seed": 3})
]
MIXING = [
    *image_cases(
        layers.RandomErasing,
        "converted",
        {},
        {"factor": 0.5, "scale": 0.2, "fill_value": 3, **RANGED},
        refused=[SEED, *FACTORS, ("scale", 2, ValueError)],
    ),
    *image_cases(
        layers.RandAugment,
        "converted",
        {},
        {"num_ops": 3, "factor": (0.2, 0.3), "interpolation": "nearest", **RANGED},
        refused=[SEED, *FACTORS, ("interpolation", "x", NotImplementedError)],
    ),
    *image_cases(
        layers.AugMix,
        "converted",
        {},
        {
            "num_chains": 2,
            "chain_depth": 1,
            "factor": 0.2,
            "alpha": 2.0,
            "all_ops": False,
            "seed": 3,
        },
        refused=[SEED, *FACTORS, ("interpolation", "x", NotImplementedError)],
    ),
    *image_cases(layers.CutMix, "converted", {}, {"factor": 0.5, "seed": 3}, refused=[SEED]),
    *image_cases(layers.MixUp, "kept", {}, {"alpha": 0.5, "seed": 3}, refused=[SEED]),
]
AUGMENTATIONS = [*GEOMETRY, *COLOR, *MIXING, *STRETCHES]
IMAGES = [*AUGMENTATIONS, *(case for (case,) in CONTRAST)]
