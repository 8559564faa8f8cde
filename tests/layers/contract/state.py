"""State dicts, and weights as lists of arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize
from torch.testing import assert_close

from tests.layers.contract.checks import (
    assert_lazy,
    assert_no_trace,
    assert_same_state,
    saved_and_loaded,
    state_of,
)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


class StateContract:
    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_state_dict_round_trip(self, case, built):
        source, target = case.built(), case.built() if built else case.make()
        saved = saved_and_loaded(source.state_dict(), weights_only=True)
        result = target.load_state_dict(saved)
        assert not result.missing_keys and not result.unexpected_keys
        assert_same_state(target.state_dict(), source.state_dict())
        x = case.inputs()
        assert_close(target(x), source(x), rtol=0, atol=0)
        assert_no_trace(target)

    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_a_state_dict_may_be_assigned(self, case, device):
        source = case.built()
        for target in (case.make(device=device), case.built(device=device)):
            state = state_of(source)
            target.load_state_dict(state, assign=True)
            assert all(p.data_ptr() == state[n].data_ptr() for n, p in target.named_parameters())
            x = case.inputs()
            assert_close(target(x), source(x), rtol=0, atol=0)

    def test_replicas_of_data_parallel(self, case):
        layer, x = case.built(), case.inputs()
        replica = layer._replicate_for_data_parallel()
        for name, parameter in layer._parameters.items():  # as nn.parallel.replicate does
            if parameter is None:
                replica._parameters[name] = None
            else:
                setattr(replica, name, parameter * 2)
        double = functional_call(layer, {n: p * 2 for n, p in layer.named_parameters()}, (x,))
        assert_close(replica(x), double)
        with pytest.raises(RuntimeError, match="DataParallel"):
            case.make()._replicate_for_data_parallel()

    def test_state_dict_before_the_build(self, case):
        source, target = case.make(), case.make()
        assert list(source.state_dict()) == list(case.built().state_dict())
        target.load_state_dict(saved_and_loaded(source.state_dict(), weights_only=False))
        assert_lazy(target)

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_a_partial_state_dict_is_an_error_and_the_layer_still_works(self, case, built):
        source = case.built()
        for name in source.state_dict():
            state = source.state_dict()
            del state[name]
            target = case.built() if built else case.make()
            with pytest.raises(RuntimeError, match=name):
                target.load_state_dict(state)
            outputs = target(case.inputs())
            assert outputs.shape == target.compute_output_shape(case.shape)
            assert {n: p.shape for n, p in target.named_parameters()} == {
                n: p.shape for n, p in source.named_parameters()
            }

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_a_partial_state_dict_is_taken_where_it_may_be(self, case, built):
        source = case.built()
        names = list(source.state_dict())
        for name in names if built else names[1:]:  # without the first, no shape is known
            state = {**source.state_dict(), "more": torch.zeros(2)}
            del state[name]
            target = case.built() if built else case.make()
            result = target.load_state_dict(state, strict=False)
            assert (result.missing_keys, result.unexpected_keys) == ([name], ["more"])
            del state["more"]
            assert_same_state({n: target.state_dict()[n] for n in state}, state)
            assert target.state_dict()[name].shape == source.state_dict()[name].shape

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_a_wrong_shaped_state_dict_is_an_error_and_changes_no_shape(self, case, built):
        source = case.built()
        for name, value in source.state_dict().items():
            target = case.built() if built else case.make()
            before = state_of(target) if built else {}
            wrong = {**source.state_dict(), name: value.new_zeros(*value.shape, 2)}
            with pytest.raises(RuntimeError, match=name):
                target.load_state_dict(wrong)
            if built:
                assert_same_state({name: target.state_dict()[name]}, {name: before[name]})
            else:
                assert_lazy(target)
            target.load_state_dict(source.state_dict())
            assert_same_state(target.state_dict(), source.state_dict())

    def test_get_weights_are_copies(self, case):
        layer = case.built()
        before = state_of(layer)
        for array in layer.get_weights():
            array[...] = 7
        assert_same_state(state_of(layer), before)

    def test_weights_round_trip(self, case):
        source, target = case.built(), case.built()
        target.set_weights(source.get_weights())
        assert_same_state(target.state_dict(), source.state_dict())
        target.set_weights([torch.from_numpy(w).double() for w in case.built().get_weights()])
        with pytest.raises(AssertionError):
            assert_same_state(target.state_dict(), source.state_dict())
        assert target.count_params() == sum(w.size for w in target.get_weights())

    def test_set_weights_takes_all_or_nothing(self, case):
        layer = case.built()
        before, arrays = state_of(layer), case.built().get_weights()
        last = arrays[-1]
        wrong = {
            "too few": arrays[:-1],
            "too many": [*arrays, last],
            "shape": [*arrays[:-1], np.zeros((*last.shape, 1), np.float32)],
            "broadcast": [*arrays[:-1], np.zeros((), np.float32)],
            "complex": [*arrays[:-1], last.astype(complex)],
            "text": [*arrays[:-1], "text"],
            "no list": 3,
            "one tensor": torch.zeros(len(arrays)),
        }
        for weights in wrong.values():
            with pytest.raises(ValueError, match="a list of arrays for"):
                layer.set_weights(weights)
            assert_same_state(state_of(layer), before)
        with pytest.raises(ValueError, match="Build the layer first"):
            case.make().set_weights(arrays)

    def test_set_weights_takes_nothing_where_one_weight_is_computed(self, case):
        layer = case.built()
        name = list(layer.state_dict())[-1]
        parametrize.register_parametrization(layer, name, Doubled())
        before = state_of(layer)
        with pytest.raises(ValueError, match="a parameter of its own"):
            layer.set_weights([array + 1 for array in layer.get_weights()])
        assert_same_state(state_of(layer), before)
