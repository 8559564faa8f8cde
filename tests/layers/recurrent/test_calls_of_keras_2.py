"""Calls of recurrent layers in files of Keras 1 and 2: a list of states and constants."""

import pytest

from kerastorch.graph.spec import TensorRef
from kerastorch.layers import GRU, LSTM, RNN, Bidirectional

X, H, C = (TensorRef(name, 0, 0) for name in ("x", "h", "c"))


@pytest.mark.parametrize("args", [[X], [[X]]])
def test_a_call_on_one_tensor(args):
    assert LSTM.upgrade_call(args, {"mask": None}, {}) == ([X], {})


def test_a_call_on_a_sequence_and_states():
    none = {"constants": None, "initial_state": None}
    for kind in (LSTM, GRU, RNN, Bidirectional):
        assert kind.upgrade_call([[X, H, C]], none, {}) == ([X], {"initial_state": [H, C]})
        assert kind.upgrade_call([X], {"mask": C}, {}) == ([X], {"mask": C})


@pytest.mark.parametrize("kind", [RNN, Bidirectional])
def test_the_last_tensors_are_the_constants(kind):
    counted = {"num_constants": 1}
    found = kind.upgrade_call([[X, H, C]], {}, counted)
    assert found == ([X], {"initial_state": [H], "constants": [C]})
    assert kind.upgrade_call([[X, C]], {}, counted) == ([X], {"constants": [C]})
    for wrong in (3, -1, True, "1"):
        with pytest.raises(ValueError, match=r"`num_constants` must be an integer from 0 to 2"):
            kind.upgrade_call([[X, H, C]], {}, {"num_constants": wrong})
