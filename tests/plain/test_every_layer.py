"""Every layer: each row of the layers' tables as plain PyTorch, and what is refused."""

from __future__ import annotations

from kerastorch._core.registry import LAYERS
from kerastorch.plain.registry import LOWERINGS, REASONS
from tests.layers.case import LayerCase, each_case, every_case, thorough_cases
from tests.plain.models import assert_plain, model_of

# Rows that no model has: an input is not called, and no layer is built for a batch of known size.
NO_MODELS = ("InputLayer", "BatchNormalization(axis=0")
EVERY = [case for case in every_case() if not str(case).startswith(NO_MODELS)]

# What of a layer has no plain form, though the layer has one: a part of the message.
REFUSED: dict[str, tuple[str, ...]] = {
    "AutoContrast": ("its input is one image without a batch",),
    "Resizing": ("its input is one image without a batch",),
}


@each_case(EVERY, thorough_cases(EVERY))
def test_each_row_is_written_or_refused_with_a_reason(case: LayerCase) -> None:
    model = model_of(case)
    inputs = case.inputs()
    try:
        assert_plain(model, inputs if isinstance(inputs, list) else [inputs])
    except ValueError as error:
        reasons = REFUSED.get(case.name, ())
        if case.layer in REASONS:
            reasons = (REASONS[case.layer],)
        assert any(reason in str(error) for reason in reasons), error


def test_every_registered_layer_has_a_lowering_or_a_reason() -> None:
    cells = {cls for name, cls in LAYERS.items() if name.endswith(("Cell", "Cells"))}
    missing = set(LAYERS.values()) - cells - LOWERINGS.keys() - REASONS.keys()
    assert not {one.__name__ for one in missing}


def test_a_subclass_has_no_lowering_of_its_base() -> None:
    from kerastorch.layers import Dense

    class Mine(Dense):
        pass

    assert Mine not in LOWERINGS
