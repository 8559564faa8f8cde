"""The rows of all ranks without what does not belong to the convolution itself."""

from __future__ import annotations

from typing import Any

from kerastorch.layers.convolution.conv import Conv
from tests.layers.case import LayerCase, each_case
from tests.layers.test_convolution import CONVOLUTIONS

ROWS = {name: case for name, case in CONVOLUTIONS.items() if "lora_rank" not in case.arguments}
EACH = each_case(list(ROWS.values()))
_APART = ("activation", "kernel_regularizer", "activity_regularizer", "kernel_constraint")


def make(case: LayerCase, **arguments: Any) -> Conv:
    """Return the layer of a row with its geometry only, and with a bias that shows."""
    given = {name: value for name, value in case.arguments.items() if name not in _APART}
    made: Conv = case.layer(**{**given, **arguments})  # type: ignore[assignment]
    return made


def is_channels_first(case: LayerCase) -> bool:
    return case.arguments.get("data_format") == "channels_first"


def channels_of(case: LayerCase) -> int:
    return case.shape[1 if is_channels_first(case) else -1]


def geometry(case: LayerCase) -> dict[str, Any]:
    """Return the arguments of `oracle.convolve` that say the same."""
    layer = make(case)
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
        "groups": layer.groups,
    }
