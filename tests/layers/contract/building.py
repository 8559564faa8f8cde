"""How a layer with parameters is built: at the first call, and without a trace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.layers.contract.checks import (
    COPIES,
    assert_lazy,
    assert_no_trace,
    assert_same_state,
    state_of,
    step,
)


class BuildingContract:
    def test_is_lazy_until_the_first_call(self, case):
        layer = case.make()
        assert_lazy(layer)
        outputs = layer(case.inputs())
        assert outputs.shape == layer.compute_output_shape(case.shape)
        assert {type(weight) for weight in layer.parameters()} == {nn.Parameter}
        assert {type(weight) for weight in layer.buffers()} <= {torch.Tensor}
        assert_no_trace(layer)

    def test_build_does_what_the_first_call_does(self, case):
        layer, called = case.make(), case.make()
        layer.build((None, *case.shape[1:]))
        called(case.inputs())
        assert_no_trace(layer)
        described = [[(n, p.shape, p.stride(), p.dtype) for n, p in made.named_parameters()]
                     for made in (layer, called)]  # fmt: skip
        assert described[0] == described[1]

    def test_a_second_build_is_refused(self, case):
        layer = case.built()
        before = state_of(layer)
        with pytest.raises(ValueError, match="given to a layer not built yet"):
            layer.build(case.shape)
        assert_same_state(state_of(layer), before)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_a_first_call_without_gradients_leaves_a_layer_to_train(self, case, mode):
        layer = case.make()
        with mode():
            layer(case.inputs())
        layer(case.inputs()).sum().backward()
        assert all(weight.grad is not None for weight in layer.trainable_weights)

    def test_two_layers_start_with_values_of_their_own(self, case):
        left, right = state_of(case.built()), state_of(case.built())
        assert any(not torch.equal(left[name], right[name]) for name in left)
        torch.manual_seed(3)
        first = state_of(case.built())
        torch.manual_seed(3)
        assert_same_state(state_of(case.built()), first)

    def test_reset_parameters_draws_in_place(self, case):
        layer = case.make()
        layer.reset_parameters()
        assert_lazy(layer)
        layer.build(case.shape)
        before, addresses = state_of(layer), [p.data_ptr() for p in layer.parameters()]
        layer.reset_parameters()
        assert any(not torch.equal(before[name], value) for name, value in state_of(layer).items())
        assert [p.data_ptr() for p in layer.parameters()] == addresses

    @pytest.mark.parametrize("way", COPIES)
    def test_copies_before_the_build(self, case, way):
        layer = case.make()
        made = COPIES[way](layer)
        assert_lazy(made)
        assert made.name == layer.name
        made(case.inputs())
        assert_no_trace(made)
        assert_lazy(layer)

    def test_training_a_copy_leaves_the_original_alone(self, case):
        layer = case.built()
        made, before = copy.deepcopy(layer), state_of(layer)
        step(made, case.inputs(), torch.optim.SGD(made.parameters(), lr=0.1))
        assert_same_state(state_of(layer), before)

    def test_an_unbuilt_layer_that_refuses_its_input_stays_lazy(self, case):
        unbuilt = case.make()
        for value in ("text", None, [1.0], {}, 3):
            with pytest.raises(ValueError, match="a tensor or an array of real numbers"):
                unbuilt(value)
        assert_lazy(unbuilt)
        assert repr(unbuilt).startswith(f"{case.name}(None")
        assert unbuilt(case.inputs()).shape == unbuilt.compute_output_shape(case.shape)
        assert "None" not in repr(unbuilt).partition(",")[0]
