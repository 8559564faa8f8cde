"""Cases of depthwise and separable convolutions; special tests are in `convolution/`."""

from __future__ import annotations

from typing import Any

from kerastorch.layers import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from kerastorch.layers.convolution.depthwise import DepthwiseConv
from kerastorch.layers.convolution.separable import SeparableConv
from tests.layers.case import LayerCase, Shape
from tests.layers.test_convolution import (
    BATCHES,
    FIRST,
    NO_FUNCTION,
    NOT_TWO_POSITIVE_INTEGERS,
    REFUSED_HERE,
    REFUSED_VALUES,
    SAME,
    SIZES,
)

NUMBERS = (0, -1, 2.0, False, 4.5, float("nan"))
OWN_VALUES = {
    **{name: REFUSED_VALUES[name] for name in ("padding", "data_format", "dtype", "name")},
    **dict.fromkeys(("kernel_size", "strides", "dilation_rate"), NOT_TWO_POSITIVE_INTEGERS),
    **dict.fromkeys(
        (
            *("depthwise_regularizer", "bias_regularizer", "activity_regularizer", "activation"),
            *("depthwise_constraint", "bias_constraint", "depthwise_initializer"),
        ),
        NO_FUNCTION,
    ),
    **dict.fromkeys(("filters", "groups", "kernel_initializer", "kernel_size_", "lora_rank"), (1,)),
}
NO_NUMBERS = [
    ("depth_multiplier", value, TypeError) for value in (None, "2", (1,), [2], object(), {})
]
EVERY_REFUSED = [
    *((name, v, ValueError) for name, values in OWN_VALUES.items() for v in values),
    *(("depth_multiplier", value, ValueError) for value in NUMBERS),
    *NO_NUMBERS,
]
REFUSED = [(name, values[0], ValueError) for name, values in OWN_VALUES.items()]
LINES: tuple[Shape, ...] = ((8,), (11,), (9,), (12,))


def _depthwise(
    layer: type[DepthwiseConv],
    channels: int,
    kernel_size: Any,
    refused: list[Shape],
    sizes: tuple[Shape, ...] = SIZES[2],
    thorough: bool = False,
    refused_arguments: Any = REFUSED,
    **arguments: Any,
) -> LayerCase:
    first = arguments.get("data_format") == "channels_first"
    sized = zip(BATCHES, sizes, strict=False)
    shape, *other = [(n, channels, *s) if first else (n, *s, channels) for n, s in sized]
    given = {"kernel_size": kernel_size, "bias_initializer": "random_normal", **arguments}
    return LayerCase(
        layer,
        given,
        shape,
        other,
        refused,
        refused_arguments,
        REFUSED_HERE if layer is DepthwiseConv2D else (),
        thorough=thorough,
        integers_agree=False,
        integers="converted",
    )


def _images(channels: int, kernel_size: Any, refused: list[Shape], **given: Any) -> LayerCase:
    return _depthwise(DepthwiseConv2D, channels, kernel_size, refused, **given)


def _lines(channels: int, kernel_size: Any, refused: list[Shape], **given: Any) -> LayerCase:
    return _depthwise(DepthwiseConv1D, channels, kernel_size, refused, sizes=LINES, **given)


DEPTHWISE = {
    "valid": _images(3, (2, 3), [(2, 7, 5, 4), (2, 1, 5, 3)], activation="relu",
                     refused_arguments=EVERY_REFUSED),
    "multiplied": _images(3, (3, 2), [(2, 7, 5, 6), (2, 2, 5, 3)], depth_multiplier=2),
    "no-bias": _images(3, (2, 3), [(2, 3, 7, 5), (2, 7, 2, 3)], use_bias=False, thorough=True,
                       depth_multiplier=3, activation="softmax"),
    "one-channel": _images(1, (3, 1), [(2, 5, 4, 2), (5, 4, 1)], strides=(1, 3)),
    "one-channel-multiplied": _images(1, (3, 2), [(2, 5, 4, 3), (5, 4, 1)], depth_multiplier=3,
                                      activation="silu"),
    "pointwise": _images(3, 1, [(2, 4, 6, 1), (2, 4, 6)], strides=(2, 1)),
    "strided-and-dilated": _images(2, (3, 2), [(2, 8, 7, 1), (2, 2, 7, 2)], strides=(2, 3),
                                   dilation_rate=(1, 2), depth_multiplier=2),
    "same": _images(3, (3, 5), [(2, 5, 7, 2), (2, 0, 7, 3)], depthwise_constraint="max_norm",
                    **SAME),
    "same-even": _images(3, (2, 4), [(2, 5, 7, 4), (5, 7, 3)], activation="tanh", **SAME),
    "same-strided": _images(3, (3, 3), [(2, 6, 9, 1), (2, 3, 6, 9)], strides=(2, 1),
                            depthwise_regularizer="l2", activity_regularizer="l1", thorough=True,
                            depth_multiplier=2, **SAME),
    "same-strided-and-dilated": _images(2, (3, 2), [(2, 8, 7, 3), (2, 0, 8, 2)], strides=2,
                                        dilation_rate=(3, 2), **SAME),
    "first": _images(3, (2, 3), [(2, 7, 5, 3), (2, 3, 1, 5)], depth_multiplier=2, thorough=True,
                     **FIRST),
    "first-same-strided": _images(4, (3, 2), [(2, 2, 6, 7), (2, 6, 7, 4)], strides=(2, 3),
                                  depthwise_initializer="he_normal", **FIRST, **SAME),
    "many": _images(16, (3, 2), [(2, 7, 5, 3), (2, 2, 5, 16)], depth_multiplier=2),
    "many-same-large": _images(17, (5, 4), [(2, 7, 5, 3), (2, 0, 5, 17)], depth_multiplier=3,
                               strides=(2, 1), **SAME),
    "line": _lines(3, 3, [(2, 7, 4), (2, 2, 3), (2, 5, 4, 3)], depth_multiplier=2,
                   activation="relu"),
    "line-same": _lines(3, 4, [(2, 7, 2), (2, 0, 3)], strides=2, **SAME),
    "line-first": _lines(2, 2, [(2, 7, 3), (2, 2, 2)], strides=2, dilation_rate=3,
                         depth_multiplier=3, activation="softmax", **FIRST),
}  # fmt: skip

POINTWISE = ("pointwise_regularizer", "pointwise_constraint", "pointwise_initializer")
SEPARABLE_VALUES = {
    **{name: v for name, v in OWN_VALUES.items() if name not in ("filters", "padding")},
    **dict.fromkeys(POINTWISE, NO_FUNCTION),
    "filters": REFUSED_VALUES["filters"],
    "padding": [value for value in REFUSED_VALUES["padding"] if value != "causal"],
}
SEPARABLE_REFUSED = [(name, values[0], ValueError) for name, values in SEPARABLE_VALUES.items()]
EVERY_SEPARABLE_REFUSED = [
    *((name, v, ValueError) for name, values in SEPARABLE_VALUES.items() for v in values),
    *(("depth_multiplier", value, ValueError) for value in NUMBERS),
    *NO_NUMBERS,
    ("padding", "causal", ValueError),
]


def _separable(
    layer: type[SeparableConv],
    channels: int,
    filters: int,
    kernel_size: Any,
    refused: list[Shape],
    sizes: tuple[Shape, ...] = SIZES[2],
    thorough: bool = False,
    refused_arguments: Any = SEPARABLE_REFUSED,
    **arguments: Any,
) -> LayerCase:
    first = arguments.get("data_format") == "channels_first"
    sized = zip(BATCHES, sizes, strict=False)
    shape, *other = [(n, channels, *s) if first else (n, *s, channels) for n, s in sized]
    given = {"filters": filters, "kernel_size": kernel_size, **arguments}
    return LayerCase(
        layer,
        {"bias_initializer": "random_normal", **given},
        shape,
        other,
        refused,
        refused_arguments,
        REFUSED_HERE if layer is SeparableConv2D else (),
        thorough=thorough,
        integers_agree=False,
        integers="converted",
    )


def _both_2d(*given: Any, **arguments: Any) -> LayerCase:
    return _separable(SeparableConv2D, *given, **arguments)


def _both_1d(*given: Any, **arguments: Any) -> LayerCase:
    return _separable(SeparableConv1D, *given, sizes=LINES, **arguments)


SEPARABLE = {
    "valid": _both_2d(3, 4, (2, 3), [(2, 7, 5, 4), (2, 1, 5, 3)], activation="relu",
                     refused_arguments=EVERY_SEPARABLE_REFUSED),
    "multiplied": _both_2d(3, 5, (3, 2), [(2, 7, 5, 6), (2, 2, 5, 3)], depth_multiplier=2),
    "no-bias": _both_2d(3, 2, (2, 3), [(2, 3, 7, 5), (2, 7, 2, 3)], use_bias=False, thorough=True,
                       depth_multiplier=3, activation="softmax"),
    "one-channel": _both_2d(1, 3, (3, 2), [(2, 5, 4, 2), (5, 4, 1)], strides=(1, 3)),
    "one-filter": _both_2d(2, 1, (3, 2), [(2, 5, 4, 3), (5, 4, 1)], activation="silu",
                          depth_multiplier=2),
    "pointwise": _both_2d(3, 4, 1, [(2, 4, 6, 1), (2, 4, 6)], strides=(2, 1)),
    "strided-and-dilated": _both_2d(2, 3, (3, 2), [(2, 8, 7, 1), (2, 2, 7, 2)], strides=(2, 3),
                                   dilation_rate=(1, 2), depth_multiplier=2),
    "same": _both_2d(3, 4, (3, 5), [(2, 5, 7, 2), (2, 0, 7, 3)], depthwise_constraint="max_norm",
                    pointwise_constraint="non_neg", **SAME),
    "same-even": _both_2d(3, 5, (2, 4), [(2, 5, 7, 4), (5, 7, 3)], activation="tanh", **SAME),
    "same-strided": _both_2d(3, 4, (3, 3), [(2, 6, 9, 1), (2, 3, 6, 9)], strides=(2, 1),
                            depthwise_regularizer="l2", pointwise_regularizer="l1",
                            activity_regularizer="l1", thorough=True, depth_multiplier=2, **SAME),
    "first": _both_2d(3, 5, (2, 3), [(2, 7, 5, 3), (2, 3, 1, 5)], depth_multiplier=2,
                     thorough=True, activation="softmax", **FIRST),
    "first-same-strided": _both_2d(4, 3, (3, 2), [(2, 2, 6, 7), (2, 6, 7, 4)], strides=(2, 3),
                                  depthwise_initializer="he_normal", pointwise_initializer="ones",
                                  **FIRST, **SAME),
    "many": _both_2d(16, 20, (3, 2), [(2, 7, 5, 3), (2, 2, 5, 16)], depth_multiplier=2),
    "line": _both_1d(3, 4, 3, [(2, 7, 4), (2, 2, 3), (2, 5, 4, 3)], depth_multiplier=2,
                   activation="relu"),
    "line-same": _both_1d(3, 4, 4, [(2, 7, 2), (2, 0, 3)], strides=2, thorough=True, **SAME),
    "line-first": _both_1d(2, 3, 2, [(2, 7, 3), (2, 2, 2)], strides=2, dilation_rate=3,
                         depth_multiplier=3, activation="softmax", **FIRST),
}  # fmt: skip
# Only Keras 2 has it.
CAUSAL = _both_1d(3, 4, 3, [(2, 7, 4)], dilation_rate=2, depth_multiplier=2, padding="causal")
CASES = [*DEPTHWISE.values(), *SEPARABLE.values()]
