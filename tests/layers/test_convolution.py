"""Cases of convolution layers. What is special about them is tested in `convolution/`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from kerastorch.layers import Conv1D, Conv2D, Conv3D
from kerastorch.layers.convolution.conv import Conv
from tests.layers.case import LayerCase, NoModule, Shape, cases
from tests.layers.convolution.test_local import CASES as LOCAL
from tests.layers.test_activation import NAMES, NO_MODULE

SIZES = {  # a strided "same" pads each by another amount
    1: ((8,), (9,), (11,), (13,)),
    2: ((8, 9), (9, 12), (11, 8), (12, 10)),
    3: ((7, 5, 6), (8, 6, 5), (6, 7, 9), (5, 8, 7)),
}
BATCHES = (2, 3, 1, 4)
NOT_TWO_POSITIVE_INTEGERS = (
    *(0, -1, (0, 1), (1, 0), (-2, 3), (), (1,), (1, 1, 1), [1], "3", "abc", None, 3.0, (None, 1)),
    *(("a", 1), object(), {}, {"a": 1}, False, np.zeros(3, int), np.array([0, 1]), range(3)),
)
NO_FUNCTION = (
    *(object(), 3, 0.5, True, (), [], b"relu", "foo", "", " relu", "Relu6x", "keras.x"),
    *("__import__", "os.system", "none", "None"),
)
REFUSED_VALUES = {
    **dict.fromkeys(("kernel_size", "strides", "dilation_rate"), NOT_TWO_POSITIVE_INTEGERS),
    "filters": (0, -1, 4.5, 4.0, None, float("nan"), False),
    "groups": (0, -1, 3, 2.0, 8, -1.5, False),
    "padding": ("causal", "full", "", "same ", "val id", "reflect", (1, 1), ["same"], ()),
    "data_format": ("NCHW", "NHWC", "", "channels", 1, True, False, (), object()),
    **dict.fromkeys(
        (
            *("kernel_regularizer", "bias_regularizer", "activity_regularizer", "activation"),
            *("kernel_constraint", "bias_constraint", "kernel_initializer", "bias_initializer"),
        ),
        NO_FUNCTION,
    ),
    "dtype": ("int32x", "foo", "half", "float", "FLOAT32", "mixed", "mixed_float32", "int8", 3),
    "name": ("a/b", "/", 3, 3.0, b"c", ("c",), True),
    "trainable": (1, 0, None, "yes", np.True_, 1.0),
    "lora_rank": (-1, 2.0, "2"),
    **dict.fromkeys(
        ("foo", "weights", "batch_input_shape", "padding_mode", "bias", "stride"), (1,)
    ),
}
EVERY_REFUSED = [(name, v, ValueError) for name, values in REFUSED_VALUES.items() for v in values]
REFUSED_ARGUMENTS = [(name, values[0], ValueError) for name, values in REFUSED_VALUES.items()]
REFUSED_HERE = [
    ("kernel_size", "33", ValueError),
    ("input_shape", (5, -6, 3), ValueError),
    ("input_shape", (2, 5, 6, 3), ValueError),
]
NOT_IN_OTHER_RANKS = [  # what differs from Conv2D
    *((name, v, ValueError) for name in ("kernel_size", "strides", "dilation_rate")
      for v in (0, (0,), (1, 1), (2, 1, 0), "33", None, 3.0, False, object())),
    *((name, values[0], ValueError) for name, values in REFUSED_VALUES.items()
      if name not in ("kernel_size", "strides", "dilation_rate", "padding")),
    ("padding", "full", ValueError),
    ("padding", ["same"], ValueError),
]  # fmt: skip
FIRST = {"data_format": "channels_first"}
SAME = {"padding": "same"}


def _conv(
    layer: type[Conv],
    channels: int,
    filters: int,
    kernel_size: Any,
    refused: list[Shape],
    sizes: tuple[Shape, ...] = (),
    thorough: bool = False,
    **arguments: Any,
) -> LayerCase:
    first = arguments.get("data_format") == "channels_first"
    sized = zip(BATCHES, sizes or SIZES[layer.rank or 2], strict=False)
    shape, *other = [(n, channels, *s) if first else (n, *s, channels) for n, s in sized]
    given = {"filters": filters, "kernel_size": kernel_size, **arguments}
    given = {"bias_initializer": "random_normal", **given}
    return LayerCase(
        layer,
        given,
        shape,
        other,
        refused,
        REFUSED_ARGUMENTS if layer is Conv2D else NOT_IN_OTHER_RANKS,
        REFUSED_HERE if layer is Conv2D else [("kernel_size", "3" * layer.rank, ValueError)],
        thorough=thorough,
        integers_agree=False,
        integers="converted",
    )


_conv1d, _conv2d, _conv3d = (partial(_conv, layer) for layer in (Conv1D, Conv2D, Conv3D))


# channels, filters, kernel size, inputs that are refused
CONV2D = {
    "valid": _conv2d(3, 5, (2, 3), [(2, 7, 5, 4), (2, 1, 5, 3)], activation="relu"),
    "no-bias": _conv2d(3, 4, (2, 3), [(2, 3, 7, 5), (2, 7, 2, 3)], use_bias=False, thorough=True,
                       activation="softmax"),
    "one-channel": _conv2d(1, 1, (3, 1), [(2, 5, 4, 2), (5, 4, 1)], activation="silu"),
    "whole-input": _conv2d(2, 3, (4, 3), [(2, 3, 4, 2), (2, 4, 3, 3)], ((4, 3), (4, 3))),
    "pointwise": _conv2d(3, 5, (1, 1), [(2, 4, 6, 1), (2, 4, 6)], ((4, 6), (2, 5))),
    "strided": _conv2d(2, 3, (3, 2), [(2, 8, 7, 1), (2, 2, 7, 2)], strides=(2, 3)),
    "dilated": _conv2d(2, 3, (2, 3), [(2, 5, 4, 2), (2, 5, 8, 3)], dilation_rate=(1, 2)),
    "dilated-high": _conv2d(2, 3, (3, 2), [(2, 6, 4, 2), (9, 4, 2)], dilation_rate=(3, 1)),
    "grouped": _conv2d(4, 6, (2, 3), [(2, 5, 6, 2), (2, 5, 6, 8)], groups=2, activation="relu"),
    "depthwise": _conv2d(3, 6, (3, 2), [(2, 5, 6, 1), (2, 5, 6, 6)], groups=3),
    "same-odd": _conv2d(3, 4, (3, 5), [(2, 5, 7, 2), (2, 0, 7, 3)], **SAME),
    "same-even": _conv2d(3, 4, (2, 4), [(2, 5, 7, 4), (5, 7, 3)], thorough=True, **SAME),
    "same-mixed": _conv2d(2, 4, (3, 2), [(2, 5, 7, 1), (2, 5, 0, 2)], **SAME),
    "same-wide": _conv2d(2, 3, (5, 8), [(2, 3, 2, 3), (2, 1, 3, 2, 2)], ((3, 2), (2, 4)), **SAME),
    "same-pointwise-strided": _conv2d(3, 4, (1, 1), [(2, 7, 5, 2), (7, 5, 3)], strides=(2, 3),
                                      **SAME),
    "same-strided": _conv2d(2, 3, (3, 4), [(2, 7, 8, 3), (2, 0, 8, 2)], strides=(2, 3),
                            activation="tanh", thorough=True, **SAME),
    "same-skipping": _conv2d(2, 3, (1, 2), [(2, 8, 9, 1), (8, 9, 2)], strides=(3, 4), **SAME),
    "same-dilated": _conv2d(2, 3, (2, 3), [(2, 5, 9, 3), (2, 2, 5, 9)], dilation_rate=(3, 1),
                            **SAME),
    "same-dilated-odd": _conv2d(2, 3, (3, 5), [(2, 5, 9, 3), (5, 9, 2)], dilation_rate=(1, 2),
                                **SAME),
    "same-grouped": _conv2d(4, 6, (2, 4), [(2, 5, 6, 2), (2, 5, 6, 3)], groups=2, **SAME),
    "same-grouped-strided": _conv2d(4, 6, (3, 2), [(2, 6, 7, 2), (2, 4, 6, 7)], groups=2,
                                    strides=(2, 3), **SAME),
    "same-grouped-dilated": _conv2d(4, 2, (2, 3), [(2, 5, 6, 2), (5, 6, 4)], groups=2,
                                    dilation_rate=(3, 1), activation="softmax", **SAME),
    "same-depthwise-strided": _conv2d(3, 6, (3, 3), [(2, 6, 9, 1), (2, 3, 6, 9)], groups=3,
                                      strides=(2, 1), kernel_regularizer="l2",
                                      activity_regularizer="l1", thorough=True, **SAME),
    "first-valid": _conv2d(3, 5, (2, 3), [(2, 7, 5, 3), (2, 3, 1, 5)], **FIRST),
    "first-strided": _conv2d(2, 3, (3, 2), [(2, 8, 7, 2), (2, 2, 2, 7)], strides=(2, 3), **FIRST),
    "first-dilated": _conv2d(2, 3, (2, 3), [(2, 2, 5, 4), (2, 3, 5, 8)], dilation_rate=(1, 2),
                             **FIRST),
    "first-same-even": _conv2d(3, 4, (2, 4), [(2, 5, 7, 3), (3, 5, 7)], ((5, 7), (2, 6)),
                               activation="silu", kernel_constraint="max_norm", thorough=True,
                               **FIRST, **SAME),
    "first-same-grouped-strided": _conv2d(4, 6, (3, 2), [(2, 2, 6, 7), (2, 6, 7, 4)], groups=2,
                                          strides=(2, 3), **FIRST, **SAME),
    "lora-grouped-same": _conv2d(6, 4, (3, 2), [(2, 4, 5, 4), (6, 5, 4)], strides=(2, 1), groups=2,
                                 lora_rank=1, kernel_regularizer="l2", thorough=True, **FIRST,
                                 **SAME),
}  # fmt: skip
CONV2D["valid"] = replace(CONV2D["valid"], refused_arguments=EVERY_REFUSED)
CAUSAL = {"padding": "causal"}
CONV1D = {
    "valid-1d": _conv1d(3, 5, 3, [(2, 8, 4), (2, 2, 3), (8, 3)], activation="relu"),
    "no-bias-1d": _conv1d(3, 4, (2,), [(2, 3, 8), (2, 1, 3)], use_bias=False, thorough=True,
                          activation="softmax"),
    "one-channel-1d": _conv1d(1, 1, 4, [(2, 8, 2), (2, 3, 1)], activation="silu", strides=3),
    "pointwise-1d": _conv1d(3, 5, 1, [(2, 4, 1), (2, 8)]),
    "pointwise-strided-1d": _conv1d(3, 5, 1, [(2, 4, 1)], strides=3, activation="relu", **SAME),
    "strided-1d": _conv1d(2, 3, 3, [(2, 8, 1), (2, 2, 2)], strides=2),
    "dilated-1d": _conv1d(2, 3, 3, [(2, 4, 2), (2, 8, 3)], dilation_rate=2),
    "depthwise-1d": _conv1d(3, 6, 3, [(2, 8, 1), (2, 8, 6)], groups=3),
    "same-odd-1d": _conv1d(3, 4, 5, [(2, 8, 2), (2, 0, 3)], **SAME),
    "same-even-1d": _conv1d(3, 4, 4, [(2, 8, 4), (8, 3)], thorough=True, activation="relu", **SAME),
    "same-strided-1d": _conv1d(2, 3, 4, [(2, 8, 3), (2, 0, 2)], strides=3, activation="tanh",
                               **SAME),
    "same-grouped-strided-1d": _conv1d(4, 6, 3, [(2, 8, 2)], groups=2, strides=2, **SAME),
    "same-dilated-1d": _conv1d(2, 3, 2, [(2, 8, 3)], dilation_rate=3, **SAME),
    "causal": _conv1d(3, 4, 3, [(2, 8, 4), (2, 0, 3), (8, 3)], thorough=True, activation="relu",
                      kernel_regularizer="l2", activity_regularizer="l1", **CAUSAL),
    "causal-dilated": _conv1d(2, 3, 3, [(2, 8, 3)], dilation_rate=3, **CAUSAL),
    "causal-strided": _conv1d(2, 3, 4, [(2, 8, 3)], strides=3, activation="softmax", **CAUSAL),
    "causal-wide": _conv1d(2, 3, 7, [(2, 3, 3)], ((3,), (2,), (9,)), **CAUSAL),
    "causal-pointwise": _conv1d(2, 3, 1, [(2, 8, 3)], strides=2, **CAUSAL),
    "causal-grouped": _conv1d(4, 6, 3, [(2, 8, 2)], groups=2, **CAUSAL),
    "causal-depthwise-strided": _conv1d(3, 6, 4, [(2, 8, 1)], groups=3, strides=2, **CAUSAL),
    "first-causal": _conv1d(3, 4, 3, [(2, 8, 3), (3, 8)], dilation_rate=2, activation="silu",
                            **CAUSAL, **FIRST),
    "first-same-grouped-1d": _conv1d(4, 6, 4, [(2, 8, 4)], groups=2, strides=3, thorough=True,
                                     **SAME, **FIRST),
    "lora-causal": _conv1d(4, 6, 3, [(2, 8, 3)], groups=2, lora_rank=2, kernel_regularizer="l2",
                           **CAUSAL),
}  # fmt: skip
CONV3D = {
    "valid-3d": _conv3d(3, 4, (2, 3, 1), [(2, 7, 5, 6, 4), (2, 1, 5, 6, 3), (7, 5, 6, 3)],
                        activation="relu"),
    "no-bias-3d": _conv3d(3, 4, 2, [(2, 3, 7, 5, 6)], use_bias=False, activation="softmax"),
    "one-channel-3d": _conv3d(1, 2, (2, 1, 2), [(2, 7, 5, 6, 2)], strides=(1, 2, 3)),
    "pointwise-3d": _conv3d(3, 5, 1, [(2, 7, 5, 6, 1)], thorough=True),
    "pointwise-strided-3d": _conv3d(3, 5, 1, [(2, 7, 5, 6, 1)], strides=(2, 1, 3),
                                    activation="relu"),
    "dilated-3d": _conv3d(2, 3, (2, 2, 3), [(2, 7, 2, 6, 2)], dilation_rate=(3, 2, 1)),
    "depthwise-3d": _conv3d(3, 6, (3, 2, 2), [(2, 7, 5, 6, 1)], groups=3),
    "same-odd-3d": _conv3d(3, 4, (3, 5, 1), [(2, 7, 5, 6, 2), (2, 0, 5, 6, 3)], **SAME),
    "same-even-3d": _conv3d(3, 4, (2, 4, 3), [(2, 7, 5, 6, 4)], thorough=True, activation="relu",
                            **SAME),
    "same-strided-3d": _conv3d(2, 3, (3, 4, 2), [(2, 7, 5, 6, 3)], strides=(2, 3, 2), **SAME),
    "same-grouped-strided-3d": _conv3d(4, 6, (3, 2, 3), [(2, 7, 5, 6, 2)], groups=2,
                                       strides=(2, 1, 3), kernel_regularizer="l2", **SAME),
    "first-strided-3d": _conv3d(2, 3, (3, 2, 1), [(2, 7, 5, 6, 2)], strides=(2, 3, 1), **FIRST),
    "first-same-dilated-3d": _conv3d(2, 4, (2, 3, 2), [(2, 7, 5, 6, 2)], dilation_rate=(1, 2, 3),
                                     activation="silu", **SAME, **FIRST),
    "lora-3d": _conv3d(4, 6, (2, 3, 1), [(2, 7, 5, 6, 2)], groups=2, lora_rank=2, lora_alpha=3),
}  # fmt: skip
CONVOLUTIONS = {**CONV1D, **CONV2D, **CONV3D}
OTHER_ARGUMENTS: list[dict[str, Any]] = [
    *({"activation": name} for name in NAMES),
    {"kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}}},
    {"bias_regularizer": "l1", "activity_regularizer": "l2"},
    {"activity_regularizer": {"class_name": "L1", "config": {"l1": 0.3}}},
    {"kernel_regularizer": "l2", "lora_rank": 2, "lora_alpha": 3, "activation": "softmax"},
    {"kernel_regularizer": "l2", "activity_regularizer": "l2", "trainable": False},
    {"kernel_initializer": "he_normal", "bias_constraint": "non_neg"},
]
CASES = [
    *CONVOLUTIONS.values(),
    *cases(
        Conv2D,
        *(
            (NoModule if given.get("activation") in NO_MODULE else dict)(
                filters=4, kernel_size=(2, 3), strides=(2, 3), padding="same", **given
            )
            for given in OTHER_ARGUMENTS
        ),
        shape=(2, 8, 9, 3),
        other=[(3, 9, 12, 3), (1, 11, 8, 3), (4, 12, 10, 3)],
        refused=[(2, 8, 9, 4), (8, 9, 3)],
        refused_arguments=[("activation", "foo", ValueError)],
        integers_agree=False,
    ),
    *LOCAL,
]
