"""Inputs and outputs of models made from configs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.building.examples import ARRAYS, EXPECTED, built, two_inputs
from tests.models.configs import (
    chain,
    dense,
    functional,
    input_layer,
    inside,
    layer,
    node,
    sequential,
    tensor,
)


@pytest.mark.parametrize(
    "given",
    [
        [ARRAYS["a"], ARRAYS["b"]],
        (ARRAYS["a"], ARRAYS["b"]),
        ARRAYS,
        {"b": ARRAYS["b"].numpy(), "a": ARRAYS["a"].numpy()},
    ],
    ids=["list", "tuple", "dict", "arrays"],
)
def test_inputs_by_place_or_by_name(given):
    model = built(two_inputs([["a", 0, 0], ["b", 0, 0]]))
    torch.testing.assert_close(model(given), EXPECTED)


def test_inputs_of_a_dict():
    model = built(two_inputs({"p": ["a", 0, 0], "q": ["b", 0, 0]}))
    torch.testing.assert_close(model({"q": ARRAYS["b"], "p": ARRAYS["a"]}), EXPECTED)
    with pytest.raises(ValueError, match=re.escape("`inputs` must be a dict of {'p': 'a', 'q'")):
        model([ARRAYS["a"], ARRAYS["b"]])


def test_nested_inputs_and_outputs():
    outputs = {"one": [["sum", 0, 0], ["double", 0, 0]], "two": ["sum", 0, 0]}
    config = two_inputs([["a", 0, 0], {"x": [["b", 0, 0]]}])
    config["config"]["output_layers"] = outputs
    found = built(config)([ARRAYS["a"], {"x": [ARRAYS["b"]]}])
    assert list(found) == ["one", "two"]
    torch.testing.assert_close(found["one"][0], EXPECTED)
    assert found["two"] is found["one"][0]


@pytest.mark.parametrize("inputs", [["x", 0, 0], [["x", 0, 0]], {"x": ["x", 0, 0]}])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"x": x}, np.asarray])
def test_one_input_may_be_wrapped(inputs, wrap):
    config = chain(dense("a", kernel_initializer="ones"))
    config["config"]["input_layers"] = inputs
    if inputs == {"x": ["x", 0, 0]} and isinstance(wrap(0), list):
        pytest.skip("a list for a dict")
    assert built(config)(wrap(torch.ones(2, 4))).tolist() == [[4.0] * 3] * 2


@pytest.mark.parametrize(
    "given, message",
    [
        ([ARRAYS["a"]], "`inputs` must be a list of ['a', 'b']. Received: inputs=[(2, 4)]."),
        (ARRAYS["a"], "`inputs` must be a list of ['a', 'b']. Received: inputs=(2, 4)."),
        ({"a": 1, "c": 2}, "`inputs` must be a list of ['a', 'b']. Received: inputs={'a': 1, 'c'"),
        ([ARRAYS["a"], 3], "`b` must be a tensor or an array of real numbers. Received: b=3."),
        ([ARRAYS["a"], None], "`b` must be a tensor or an array of real numbers. Received: b=None"),
        (
            [ARRAYS["a"], torch.ones(2, 5)],
            "Functional 'model': `b` must be of the shape (None, 4). Received: b=(2, 5).",
        ),
        ([ARRAYS["a"], torch.ones(2, 4, 2)], "`b` must be of the shape (None, 4)"),
        (
            [ARRAYS["a"], torch.ones(2, 4, dtype=torch.complex64)],
            "`b` must be a tensor of real numbers. Received: b=torch.complex64.",
        ),
    ],
)
def test_wrong_inputs_are_refused(given, message):
    model = built(two_inputs([["a", 0, 0], ["b", 0, 0]]))
    with pytest.raises(ValueError, match=re.escape(message)):
        model(given)


@pytest.mark.parametrize(
    "given, received",
    [
        (np.zeros((500, 4), "complex64"), "<ndarray of the shape (500, 4) and the type complex64>"),
        ("x" * 10**6, f"'{'x' * 149}... (str of length 1000000)"),
    ],
    ids=["array", "text"],
)
def test_a_long_input_is_not_shown_whole(given, received):
    model = built(chain(dense("a")))
    with pytest.raises(ValueError) as caught:
        model(given)
    rule = "a tensor or an array of real numbers"
    assert str(caught.value) == f"Functional 'model': `x` must be {rule}. Received: x={received}."


def test_inputs_are_cast_and_an_axis_of_one_is_added_or_dropped():
    identity = layer("Activation", "i", activation="linear")
    model = built(sequential(input_layer("x", (None, 4)), identity))
    assert model(torch.ones(2, 4, 1, dtype=torch.int64)).shape == (2, 4)
    assert model(torch.ones(2, 4, dtype=torch.int64)).dtype is torch.float32
    deep = built(functional(
        input_layer("x", (None, 4, 1)), inside(identity, [node(tensor("x"))]),
        inputs=["x", 0, 0], outputs=["i", 0, 0],
    ))  # fmt: skip
    assert deep(torch.ones(2, 4)).shape == (2, 4, 1)


def test_sizes_are_checked_by_functional_models_as_in_keras():
    pool = layer("GlobalAveragePooling2D", "p", data_format="channels_last", trainable=True)
    image = input_layer("x", (None, 8, 8, 3))
    other = torch.ones(2, 5, 6, 3)
    assert built(sequential(image, pool))(other).shape == (2, 3)
    called = {**pool, "name": "p", "inbound_nodes": [node(tensor("x"))]}
    model = built(functional(image, called, inputs=["x", 0, 0], outputs=["p", 0, 0]))
    with pytest.raises(ValueError, match=re.escape("`x` must be of the shape (None, 8, 8, 3)")):
        model(other)


def test_a_first_layer_without_an_input_gets_what_keras_would_give_it():
    model = build_model(
        parse_model_config(sequential(layer("Flatten", "f", data_format=None)), "c")
    )
    assert model(torch.ones(2, 3, 4, dtype=torch.int32)).dtype is torch.float32


def test_an_optional_input_may_be_none():
    class Either(nn.Module):
        def forward(self, x, y):
            return x if y is None else x + y

    config = functional(
        input_layer("a"), input_layer("b", optional=True),
        layer("Either", "e", [node(tensor("a"), tensor("b"))]),
        inputs=[["a", 0, 0], ["b", 0, 0]], outputs=["e", 0, 0],
    )  # fmt: skip
    model = built(config, custom_layers={"Either": lambda config: Either()})
    assert torch.equal(model([ARRAYS["a"], None]), ARRAYS["a"])
    assert torch.equal(model([ARRAYS["a"], ARRAYS["b"]]), ARRAYS["a"] + 1)
