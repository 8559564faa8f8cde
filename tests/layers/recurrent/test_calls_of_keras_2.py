"""Calls of recurrent layers in files of Keras 1 and 2, in which a list holds the states."""

import pytest

from kerastorch.graph.spec import TensorRef
from kerastorch.layers import GRU, LSTM

X, H, C = (TensorRef(name, 0, 0) for name in ("x", "h", "c"))


@pytest.mark.parametrize("args", [[X], [[X]]])
def test_a_call_on_one_tensor(args):
    assert LSTM.upgrade_call(args, {"mask": None}) == ([X], {})


def test_a_call_on_a_sequence_and_states():
    assert LSTM.upgrade_call([[X, H, C]], {}) == ([X], {"initial_state": [H, C]})
    with pytest.raises(ValueError, match="constants"):
        GRU.upgrade_call([[X, H]], {"constants": [C]})
