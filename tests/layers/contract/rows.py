"""What is checked of every row of every table."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import re
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from tests.layers.case import LayerCase
from tests.layers.contract.checks import assert_no_trace, assert_same_state, mapped, state_of

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)
POLICIES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16}


def unknown_batch(shape: Any) -> Any:
    return [unknown_batch(one) for one in shape] if isinstance(shape, list) else (None, *shape[1:])


def assert_template(message: str, owner: str, argument: str, value: Any) -> None:
    """Check that a message has the template, and names owner, argument and value.

    The rule may be about another argument that the value contradicts. A name that is not known is
    refused by the namespace, such as "activation".
    """
    assert re.match(r"[\w.]+: `[\w.]+` must be .+\. Received: \w+", message, re.DOTALL), message
    namespace = argument.rpartition("_")[2]
    assert message.startswith((f"{owner}: ", f"{namespace}: ", f"{owner.lower()}: ")), message
    rule, _, received = message.partition("Received: ")
    assert "  " not in rule and message.endswith("."), message
    assert f"{argument}=" in received or repr(value) in message, message


class RowContract:
    def test_output_shapes(self, case: LayerCase) -> None:
        layer = case.make()
        for shape in (case.shape, *case.others):
            outputs = layer(case.inputs(shape))
            assert outputs.shape == layer.compute_output_shape(shape)
            unknown = layer.compute_output_shape(unknown_batch(shape))
            assert unknown[1:] == outputs.shape[1:]
        assert_no_trace(layer)

    def test_refused_shapes_change_nothing(self, case: LayerCase) -> None:
        layer = case.built()
        before = state_of(layer)
        for shape in case.refused:
            with pytest.raises(ValueError) as caught:
                layer(case.inputs(shape))
            assert_template(str(caught.value), case.name, "inputs", shape)
        assert_same_state(state_of(layer), before)
        assert layer(case.inputs()).shape == layer.compute_output_shape(case.shape)

    def test_refused_arguments(self, case: LayerCase) -> None:
        for name, value, kind in (*case.refused_arguments, *case.refused_here):
            with pytest.raises(Exception) as caught:
                case.layer(**case.with_argument(name, value))(case.inputs())
            assert caught.type is kind, (name, value)
            assert_template(str(caught.value), case.name, name, value)

    def test_config_round_trip(self, case: LayerCase) -> None:
        layer = case.built()
        config = layer.get_config()
        kept = copy.deepcopy(config)
        made = case.layer.from_config(config)
        assert config == kept == made.get_config()
        again = case.layer.from_config(json.loads(json.dumps(config)))
        assert json.dumps(again.get_config()) == json.dumps(config)
        self.assert_computes_the_same(case, layer, made)

    def test_copies_compute_the_same(self, case: LayerCase) -> None:
        layer = case.built()
        for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert_same_state(made.state_dict(), layer.state_dict())
            self.assert_computes_the_same(case, layer, made)

    def test_integers_and_booleans(self, case: LayerCase) -> None:
        for dtype, (policy, computed) in itertools.product(INTEGERS, POLICIES.items()):
            if not case.integers:
                break
            layer = case.built(dtype=policy)
            given = mapped(lambda x, dtype=dtype: (x * 4).abs().to(dtype), case.inputs())
            outputs = layer(given)
            if case.integers == "kept":
                exact = case.make(dtype="float64")(mapped(torch.Tensor.double, given))
                assert outputs.dtype is dtype
                assert torch.equal(outputs, exact.to(dtype)), dtype
            else:
                assert outputs.dtype is computed, dtype
                inputs = mapped(lambda x, to=computed: x.to(to), given)
                assert_close(layer.eval()(given), layer(inputs), rtol=0, atol=0)

    def assert_computes_the_same(self, case: LayerCase, layer: Any, made: Any) -> None:
        if not made.built:
            made.build(case.shape)
        made.load_state_dict(layer.state_dict())
        inputs = mapped(lambda x: x.detach(), case.inputs())
        assert_close(made.eval()(inputs), layer.eval()(inputs), rtol=0, atol=0)

    @pytest.mark.filterwarnings(
        "ignore:`torch.jit.* is deprecated:DeprecationWarning",
        "ignore:.*Converting a tensor to a Python:torch.jit.TracerWarning",
    )
    def test_traced(self, case: LayerCase) -> None:
        layer = case.built().eval()
        with torch.no_grad():
            traced = torch.jit.trace(layer, (case.inputs(),))
            for shape in case.others:
                assert_close(traced(case.inputs(shape)), layer(case.inputs(shape)))
