"""Every layer: the contract, and what leaves Python, over the cases of all families."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from kerastorch import layers
from kerastorch._core.registry import LAYERS
from kerastorch.layers import Conv2D
from tests.layers.case import LayerCase, each_case, every_case, thorough_cases
from tests.layers.contract import (
    ConversionContract,
    LayerContract,
    RowContract,
    WeightsContract,
    broken_assertions,
)
from tests.layers.contract.rows import assert_template
from tests.layers.test_convolution import CONV2D
from tests.models.random_graphs import ARGUMENTS, NOT_DRAWN
from tests.torch_tools.exporting import WARNINGS, check_exported

EVERY = every_case()
THOROUGH = thorough_cases(EVERY)


@pytest.fixture(autouse=True)
def _only_what_applies(request: pytest.FixtureRequest) -> None:
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    if isinstance(case, LayerCase) and request.node.originalname in case.exempt:
        pytest.skip("does not apply to this layer")


@each_case(EVERY)
class TestRows(RowContract):
    pass


@each_case(THOROUGH)
class TestEveryLayer(LayerContract):
    pass


ON_A_TENSOR = [case for case in THOROUGH if isinstance(case.shape, tuple)]


@each_case([case for case in ON_A_TENSOR if case.has_parameters])
class TestWeights(WeightsContract):
    pass


@each_case([case for case in EVERY if hasattr(case.layer, "to_torch")])
class TestConversion(ConversionContract):
    pass


@each_case(EVERY, THOROUGH)
@pytest.mark.filterwarnings(*WARNINGS)
def test_exported_layers_work_at_other_sizes(case: LayerCase, device: str) -> None:
    layer = case.built().to(device).eval()
    inputs = [(move(case.inputs(shape), device),) for shape in (case.shape, *case.others)]
    check_exported(layer, inputs)


def move(inputs: Any, device: str) -> Any:
    return [x.to(device) for x in inputs] if isinstance(inputs, list) else inputs.to(device)


# The tables


def test_every_registered_layer_has_a_case() -> None:
    cells = {cls for name, cls in LAYERS.items() if name.endswith(("Cell", "Cells"))}
    assert {case.layer for case in EVERY} == set(LAYERS.values()) - cells  # called with states
    assert {getattr(layers, name) for name in layers.__all__} <= set(LAYERS.values())


def test_random_models_have_every_layer_that_takes_an_image() -> None:
    images = [case for case in EVERY if isinstance(case.shape, tuple) and len(case.shape) == 4]
    found = {case.name for case in images if case.in_keras}  # they are compared with Keras
    assert found - set(ARGUMENTS) <= set(NOT_DRAWN)


@each_case(EVERY)
def test_every_case_is_one_that_can_fail(case: LayerCase) -> None:
    """No axes of one size but the batch's, and something that is refused."""
    shapes = case.shape if isinstance(case.shape, list) else [case.shape]
    for shape in shapes:
        wide = [size for size in shape[1:-1] if size > 1]
        assert len(set(wide)) == len(wide), shape
    assert case.refused or case.refused_arguments or case.refused_here


# The checks can fail


class Forgetful(Conv2D):
    """Loses an argument on the way through its config."""

    def get_config(self, target=None):
        return {k: v for k, v in super().get_config(target).items() if k != "trainable"}


class Draining(Conv2D):
    """Writes to its input."""

    def forward(self, inputs):
        return super().forward(inputs.mul_(2))


class Stubborn(Conv2D):
    """Computes in single precision, whatever it is told."""

    def forward(self, inputs):
        return super().forward(inputs).float()


class Clinging(Conv2D):
    """Takes the first weights only."""

    def set_weights(self, weights):
        super().set_weights([*weights[:1], *self.get_weights()[1:]])


class Detached(Conv2D):
    """Has no gradients."""

    def forward(self, inputs):
        return super().forward(inputs).detach()


class Eager(Conv2D):
    """Is built from the start."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, input_shape=(8, 9, 3), **kwargs)


class Lenient(Conv2D):
    """Accepts any number of channels."""

    def forward(self, inputs):
        return super().forward(inputs[..., :3])


class Inactive(Conv2D):
    """Becomes a module without the activation."""

    def to_torch(self, *args, **kwargs):
        return super().to_torch(*args, **kwargs)[0]


class Hoarding(Conv2D):
    """Shares no parameters."""

    def to_torch(self, *args, **kwargs):
        return super().to_torch(*args, **{**kwargs, "copy": True})


class Shapeless(Conv2D):
    """Knows no shape."""

    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape)[:-1], 1)


@pytest.mark.parametrize(
    ("broken", "contract", "test", "arguments"),
    [
        (Forgetful, LayerContract, "test_config_keeps_what_all_layers_share", ()),
        (Draining, LayerContract, "test_a_call_leaves_its_input_alone", ()),
        (Stubborn, LayerContract, "test_it_follows_the_dtype_of_the_model", (torch.float16,)),
        (Detached, LayerContract, "test_gradients", ()),
        (Stubborn, RowContract, "test_integers_and_booleans", ()),
        (Lenient, RowContract, "test_refused_shapes_change_nothing", ()),
        (Shapeless, RowContract, "test_output_shapes", ()),
        (Inactive, ConversionContract, "test_to_torch", ()),
        (Hoarding, ConversionContract, "test_to_torch_shares_unless_told_to_copy", ()),
        (Clinging, WeightsContract, "test_weights_round_trip", ()),
        (Clinging, WeightsContract, "test_set_weights_takes_all_or_nothing", ()),
        (Eager, WeightsContract, "test_is_lazy_until_the_first_call", ()),
        (Eager, WeightsContract, "test_copies_before_the_build", ("deepcopy",)),
    ],
)
def test_the_contract_notices(broken, contract, test, arguments) -> None:
    case = replace(CONV2D["valid"], layer=broken)
    with pytest.raises((AssertionError, RuntimeError, pytest.fail.Exception)):
        getattr(contract(), test)(case, *arguments)


@pytest.mark.parametrize("which", broken_assertions())
def test_the_assertions_of_the_contract_can_fail(which: str) -> None:
    with pytest.raises(AssertionError):
        broken_assertions()[which]()


@pytest.mark.parametrize(
    "message",
    [
        "Conv2D: `filters` must be positive. Received: filters=3.",
        "Conv2D: filters must be positive. Received: filters=0.",
        "Dense: `filters` must be positive. Received: filters=0.",
        "Conv2D: `filters` must be positive. Received: units=1.",
        "Conv2D: `filters` is wrong. Received: filters=0.",
    ],
)
def test_the_check_of_messages_can_fail(message: str) -> None:
    assert_template("Conv2D: `filters` must be positive. Received: filters=0.", "Conv2D",
                    "filters", 0)  # fmt: skip
    if message.endswith("filters=3."):
        assert_template(message, "Conv2D", "filters", 3)
        return
    with pytest.raises(AssertionError):
        assert_template(message, "Conv2D", "filters", 0)
