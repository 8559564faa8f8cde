"""Cases of transposed convolutions. What is special about them is tested in `convolution/`."""

from __future__ import annotations

from typing import Any

from kerastorch.layers import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from kerastorch.layers.base.layer import Layer
from tests.layers.case import LayerCase, Shape
from tests.layers.test_convolution import FIRST, SAME
from tests.layers.test_convolution import REFUSED_VALUES as OF_CONV2D

SIZES = {1: ((5,), (8,), (1,)), 2: ((5, 4), (3, 6), (1, 7)), 3: ((3, 4, 2), (2, 1, 3))}
# `output_padding` must be less than the strides, which are 1.
NO_OUTPUT_PADDING = (-1, (0, -1), (1, 0), (), (0,), (0, 0, 0), "0", 1.0, (None, 0), object(), 1)
REFUSED_VALUES = {
    **OF_CONV2D,
    "padding": [value for value in OF_CONV2D["padding"] if isinstance(value, str)],
    "output_padding": NO_OUTPUT_PADDING,
    "groups": (1, 2),
    "lora_rank": (1,),
}
EVERY_REFUSED = [(name, v, ValueError) for name, values in REFUSED_VALUES.items() for v in values]
FEW_REFUSED = [(name, values[0], ValueError) for name, values in REFUSED_VALUES.items()]
REFUSED_HERE = [
    *(("padding", value, ValueError) for value in ((1, 1), ["same"], ())),
    ("input_shape", (5, -6, 3, 2, 2), ValueError),
]
OF_SIZE_1 = "test_exported_layers_work_at_other_sizes"  # torch.export fixes a size of 1
# In `torch.nn`, too, `.to(memory_format=...)` refuses five axes, or leaves three as they are.
EXEMPT = {1: "test_parameters_as_a_vector", 3: "test_in_another_order_of_memory"}


def _row(
    layer: type[Layer],
    channels: int,
    filters: int,
    kernel_size: Any,
    sizes: tuple[Shape, ...] = (),
    thorough: bool = False,
    refused_arguments: Any = FEW_REFUSED,
    **arguments: Any,
) -> LayerCase:
    first = arguments.get("data_format") == "channels_first"
    rank: int = layer.rank  # type: ignore[attr-defined]

    def place(batch: int, spatial: Shape, count: int) -> Shape:
        return (batch, count, *spatial) if first else (batch, *spatial, count)

    sizes = sizes or SIZES[rank]
    shape, *other = [place(n, size, channels) for n, size in zip((2, 3, 1), sizes, strict=False)]
    empty = (0, *sizes[0][1:])
    given = {"filters": filters, "kernel_size": kernel_size, **arguments}
    return LayerCase(
        layer,
        {"bias_initializer": "random_normal", **given},
        shape,
        other,
        [place(2, sizes[0], channels + 1), shape[1:], place(2, empty, channels)],
        refused_arguments,
        REFUSED_HERE,
        thorough=thorough,
        integers_agree=False,
        integers="converted",
        exempt=frozenset({EXEMPT.get(rank, ""), OF_SIZE_1 if 1 in sizes[0] else ""}),
    )


TRANSPOSED = {
    "2d": _row(Conv2DTranspose, 3, 5, (2, 3), activation="relu", refused_arguments=EVERY_REFUSED),
    "2d-no-bias": _row(Conv2DTranspose, 2, 4, (3, 2), use_bias=False, activation="softmax"),
    "2d-strided": _row(Conv2DTranspose, 3, 4, (3, 2), strides=(2, 3), activation="gelu"),
    "2d-gaps": _row(Conv2DTranspose, 3, 4, (2, 1), strides=(3, 2), activation="tanh"),
    "2d-dilated": _row(Conv2DTranspose, 2, 3, (2, 3), dilation_rate=(3, 2)),
    "2d-output-padding": _row(Conv2DTranspose, 2, 3, (2, 4), strides=(3, 2), output_padding=(2, 1)),
    "2d-same": _row(Conv2DTranspose, 3, 4, (3, 5), activation="silu", **SAME),
    "2d-same-even": _row(Conv2DTranspose, 3, 4, (2, 4), **SAME),
    "2d-same-strided": _row(Conv2DTranspose, 3, 4, (3, 5), strides=2, thorough=True, **SAME),
    "2d-same-relu": _row(Conv2DTranspose, 3, 4, (3, 4), strides=2, activation="relu",
                         kernel_regularizer="l2", activity_regularizer="l1", thorough=True, **SAME),
    "2d-same-softmax": _row(Conv2DTranspose, 3, 4, 3, strides=2, activation="softmax", **SAME),
    "2d-same-skipping": _row(Conv2DTranspose, 3, 4, (1, 2), strides=(3, 4), **SAME),
    "2d-same-dilated": _row(Conv2DTranspose, 3, 4, (2, 3), dilation_rate=(1, 2), **SAME),
    "2d-same-output-padding": _row(Conv2DTranspose, 3, 4, (3, 4), strides=2, output_padding=(0, 1),
                                   **SAME),
    "2d-same-shorter": _row(Conv2DTranspose, 2, 3, (2, 3), ((5, 4), (3, 6)), output_padding=0,
                            **SAME),
    "2d-one-filter": _row(Conv2DTranspose, 3, 1, (4, 3), ((5, 1), (3, 6), (4, 1)), strides=2,
                          **SAME),
    "2d-one-filter-gaps": _row(Conv2DTranspose, 3, 1, (4, 2), ((5, 1), (3, 6)), strides=3),
    "2d-first": _row(Conv2DTranspose, 3, 4, (3, 2), strides=2, kernel_constraint="max_norm",
                     thorough=True, **FIRST, **SAME),
    "2d-first-valid": _row(Conv2DTranspose, 3, 4, (3, 2), activation="softmax", **FIRST),
    "1d": _row(Conv1DTranspose, 3, 5, 3, activation="relu"),
    "1d-gaps": _row(Conv1DTranspose, 3, 4, 2, strides=3, activation="softmax"),
    "1d-same-strided": _row(Conv1DTranspose, 3, 4, 3, strides=2, thorough=True, **SAME),
    "1d-same-output-padding": _row(Conv1DTranspose, 3, 1, 4, strides=3, output_padding=2, **SAME),
    "1d-dilated": _row(Conv1DTranspose, 2, 3, 3, dilation_rate=2, use_bias=False),
    "1d-first": _row(Conv1DTranspose, 2, 3, 5, strides=2, activation="elu", **FIRST, **SAME),
    "3d": _row(Conv3DTranspose, 3, 2, (2, 3, 1), activation="relu"),
    "3d-same-strided": _row(Conv3DTranspose, 2, 3, (3, 2, 1), strides=(2, 1, 3), thorough=True,
                            **SAME),
    "3d-output-padding": _row(Conv3DTranspose, 2, 3, 2, strides=(2, 3, 2),
                              output_padding=(1, 2, 0)),
    "3d-one-filter": _row(Conv3DTranspose, 2, 1, 3, ((3, 4, 1), (2, 3, 4)), strides=2, **SAME),
    "3d-dilated": _row(Conv3DTranspose, 2, 3, (2, 1, 3), dilation_rate=(2, 1, 2), **SAME),
    "3d-first": _row(Conv3DTranspose, 2, 3, (3, 2, 1), strides=2, activation="softmax", **FIRST),
}  # fmt: skip
CASES = list(TRANSPOSED.values())
