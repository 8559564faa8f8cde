"""The rows of Conv2D without what does not belong to the convolution itself."""

from __future__ import annotations

from typing import Any

from kerastorch.layers import Conv2D
from tests.layers.case import LayerCase, each_case
from tests.layers.test_convolution import CONV2D

ROWS = {name: case for name, case in CONV2D.items() if "lora_rank" not in case.arguments}
EACH = each_case(list(ROWS.values()))
_APART = ("activation", "kernel_regularizer", "activity_regularizer", "kernel_constraint")


def make(case: LayerCase, **arguments: Any) -> Conv2D:
    """Return the layer of a row with its geometry only, and with a bias that shows."""
    given = {name: value for name, value in case.arguments.items() if name not in _APART}
    return Conv2D(**{**given, **arguments})


def is_channels_first(case: LayerCase) -> bool:
    return case.arguments.get("data_format") == "channels_first"


def channels_of(case: LayerCase) -> int:
    return case.shape[1 if is_channels_first(case) else -1]


def geometry(case: LayerCase) -> dict[str, Any]:
    """Return the arguments of `oracle.convolve` that say the same."""
    given = case.arguments
    return {
        "strides": given.get("strides", (1, 1)),
        "padding": given.get("padding", "valid"),
        "dilation": given.get("dilation_rate", (1, 1)),
        "groups": given.get("groups", 1),
    }
