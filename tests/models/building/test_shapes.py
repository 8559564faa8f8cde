"""Shapes, and the table that shows them."""

from __future__ import annotations

import pickle
import re

import pytest
from torch import nn

from kerastorch.graph.shapes import UNKNOWN, Shape, broadcast_shapes, complete_shape, to_shapes
from kerastorch.models.build import build_model
from kerastorch.models.sequential import Sequential
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.building.examples import built, operation, shared, wrong
from tests.models.configs import build_all, dense, input_layer, layer, node, sequential, tensor

# The table


def test_the_table():
    model = built(shared())
    assert str(model).splitlines() == [
        "Functional 'model'",
        "--------------------------------------------------------------",
        "Layer (type)        Output shape  Params  Connected to",
        "--------------------------------------------------------------",
        "x (InputLayer)      (None, 4)          0",
        "inner (Functional)  (None, 4)         20  x[0][0], inner[0][0]",
        "  in (InputLayer)   (None, 4)          0",
        "  d (Dense)         (None, 4)         20  in[0][0], d[0][0]",
        "--------------------------------------------------------------",
        "Total params: 20",
        "Trainable params: 20",
        "Non-trainable params: 0",
    ]


def test_the_table_of_a_sequential_model_and_inside_of_others():
    bn = layer("BatchNormalization", "bn")
    model = built(sequential(input_layer("x"), bn, dense("a", units=1000)))
    lines = str(model).splitlines()
    assert lines[2] == "Layer (type)             Output shape  Params"
    assert lines[4:7] == [
        "x (InputLayer)           (None, 4)          0",
        "bn (BatchNormalization)  (None, 4)         16",
        "a (Dense)                (None, 1000)   5,000",
    ]
    assert lines[-3:] == [
        "Total params: 5,016",
        "Trainable params: 5,008",
        "Non-trainable params: 8",
    ]
    outer = str(nn.Sequential(model)).splitlines()
    assert outer[1] == "  (0): Sequential 'model'"
    assert outer[-2] == "  Non-trainable params: 8"
    lazy = build_model(parse_model_config(sequential(dense("a")), "config.json"))
    assert str(lazy).splitlines()[-1] == "Total params: not built yet"
    assert "?" in str(lazy)


# Shapes


def test_shapes_of_structures():
    assert to_shapes((None, 3)) == Shape((None, 3))
    assert to_shapes([(None, 3), [None, 4]]) == [Shape((None, 3)), Shape((None, 4))]
    assert to_shapes({"a": [1, 2]}) == {"a": Shape((1, 2))}
    assert pickle.loads(pickle.dumps(UNKNOWN)) is UNKNOWN
    assert repr(UNKNOWN) == "UNKNOWN"


@pytest.mark.parametrize(
    "shapes, expected",
    [
        ([(None, 3), (3,)], (None, 3)),
        ([(None, 1), (5, 3)], (5, 3)),
        ([(2, 1), (1, 3), ()], (2, 3)),
        ([(None,), (1,)], (None,)),
        ([(1,), (None,)], (None,)),
        ([()], ()),
    ],
)
def test_broadcasting(shapes, expected):
    assert broadcast_shapes(map(Shape, shapes)) == expected


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match=re.escape("the shapes (2, 3), (4,) must match")):
        broadcast_shapes([Shape((2, 3)), Shape((4,))])


@pytest.mark.parametrize(
    "given, expected",
    [
        (UNKNOWN, (None, 4)),
        (Shape((2, 4)), (2, 4)),
        (Shape((None, None)), (None, 4)),
        (Shape((None, 4, 1)), (None, 4)),
    ],
)
def test_an_input_has_its_own_sizes_where_none_are_given(given, expected):
    assert complete_shape(given, Shape((None, 4))) == expected


def test_an_input_of_another_rank():
    assert complete_shape(Shape((None, 4)), Shape((None, 4, 1))) == (None, 4, 1)
    with pytest.raises(ValueError, match=re.escape("the shape (None, 4), not (2, 3, 4)")):
        complete_shape(Shape((2, 3, 4)), Shape((None, 4)))


def test_the_shape_of_the_output_for_another_input():
    conv = layer("Conv2D", "c", filters=2, kernel_size=3)
    model = build_model(
        parse_model_config(sequential(input_layer("x", (None, None, None, 3)), conv), "config.json")
    )
    assert model.compute_output_shape((2, 8, 7, 3)) == (2, 6, 5, 2)
    assert model.output_shapes["c"] == (None, None, None, 2)
    lazy = build_model(parse_model_config(sequential(conv), "config.json"))
    assert isinstance(lazy, Sequential)
    assert not lazy.input_shapes
    assert lazy.compute_output_shape((2, 8, 7, 3)) == (2, 6, 5, 2)
    assert lazy.input_shapes == {"c": (2, 8, 7, 3)}
    build_all(lazy)
    assert lazy.c.weight.shape == (2, 3, 3, 3)


def test_shapes_by_running_an_operation_keep_what_is_not_known():
    ellipsis = {"class_name": "__ellipsis__", "config": {}}
    model = build_model(parse_model_config(wrong(
        operation("Reshape", "r", [node(tensor("x"))], newshape=[-1, 2, 2]),
        operation("Transpose", "t", [node(tensor("r"))], axes=[0, 2, 1]),
        operation("Matmul", "m", [node(tensor("r"), tensor("t"))]),
        operation("GetItem", "g", [node(tensor("m"), [ellipsis, 0])]),
        operation("Concatenate", "c", [node([tensor("g"), tensor("g")])], axis=0),
        outputs=["c", 0, 0],
    ), "config.json"))  # fmt: skip
    shapes = {"r": (None, 2, 2), "m": (None, 2, 2), "g": (None, 2), "c": (None, 2)}
    assert {name: model.output_shapes[name] for name in shapes} == shapes
