"""What an assignment to an argument of a layer that exists does: it counts, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kerastorch.layers import MaxPooling2D
from tests.layers.case import LayerCase, every_case

ROWS: dict[type, list[LayerCase]] = {}
for _case in every_case():
    ROWS.setdefault(_case.layer, []).append(_case)
FORMATS = [{"data_format": "channels_first"}, {"data_format": "channels_last"}]


def list_values(layer: Any) -> list[tuple[str, Any]]:
    """Return the arguments of a class with each value that a row gives it.

    Layers are left out: they come with weights of their own.
    """
    given = [case.arguments for case in ROWS[layer]]
    formats = FORMATS if "data_format" in ROWS[layer][0].layer.arguments() else []
    found = [(name, value) for one in (*given, *formats) for name, value in one.items()
             if name not in layer.nested_arguments]  # fmt: skip
    return list({repr(pair): pair for pair in found}.values())


def find_difference(case: LayerCase, name: str, value: Any) -> str:
    """Return what differs from a layer that was made with the value; "" where that is refused."""
    x = case.inputs()
    try:
        wanted, layer = case.layer(**case.with_argument(name, value)).eval(), case.make().eval()
        expected, _ = wanted(x), layer(x)
        layer.load_state_dict(wanted.state_dict())
    except (ValueError, TypeError, LookupError, RuntimeError):
        return ""  # not of this row
    try:
        setattr(layer, name, value)
    except (AttributeError, TypeError) as error:  # by the layer; by torch for a buffer
        assert f"`{name}` must be left unchanged" in str(error) or "as buffer" in str(error)
        return ""
    found = layer(x)
    same = found.shape == expected.shape and torch.allclose(found, expected, equal_nan=True)
    return "" if same else f"{case}: {name}={value!r}"


@pytest.mark.filterwarnings("ignore:softmax.*:UserWarning")
@pytest.mark.parametrize("layer", ROWS, ids=lambda layer: layer.__name__)
def test_an_assignment_counts_or_is_refused(layer: type) -> None:
    pairs = [(case, *pair) for case in ROWS[layer][:4] for pair in list_values(layer)]
    assert [found for pair in pairs if (found := find_difference(*pair))] == []


def test_an_assignment_without_effect_is_found() -> None:
    class Open(MaxPooling2D):
        fixed_arguments = ()

    case = LayerCase(Open, {"pool_size": 2}, (2, 9, 7, 3))
    assert find_difference(case, "padding", "same") == f"{case}: padding='same'"
    assert (
        find_difference(LayerCase(MaxPooling2D, *(case.arguments, case.shape)), "padding", "same")
        == ""
    )
