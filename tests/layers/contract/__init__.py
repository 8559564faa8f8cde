"""What every layer must do; `tests/layers/test_every_layer.py` says of which cases it is asked."""

from tests.layers.case import batch as batch
from tests.layers.contract.building import BuildingContract
from tests.layers.contract.checks import COPIES as COPIES
from tests.layers.contract.checks import FLOATS as FLOATS
from tests.layers.contract.checks import assert_lazy as assert_lazy
from tests.layers.contract.checks import assert_no_trace as assert_no_trace
from tests.layers.contract.checks import assert_same_state as assert_same_state
from tests.layers.contract.checks import broken_assertions as broken_assertions
from tests.layers.contract.checks import saved_and_loaded as saved_and_loaded
from tests.layers.contract.checks import state_of as state_of
from tests.layers.contract.checks import step as step
from tests.layers.contract.conversion import ConversionContract as ConversionContract
from tests.layers.contract.layer import LayerContract as LayerContract
from tests.layers.contract.rows import RowContract as RowContract
from tests.layers.contract.state import StateContract
from tests.layers.contract.tools import ToolsContract
from tests.layers.contract.training import TrainingContract


class WeightsContract(BuildingContract, StateContract, TrainingContract, ToolsContract):
    """What a layer with parameters must do besides."""
