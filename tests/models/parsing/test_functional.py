"""What a config says: every dialect to one form, and everything else refused with its place."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from kerastorch.graph.order import CycleError, sort_calls
from kerastorch.graph.spec import Call, TensorRef, iterate_refs, map_refs
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
from tests.models.parsing.entries import names, old, parsed, with_shared


def inner_model(kind, *, own_input=True):
    first = [input_layer("in")] if own_input else []
    if kind == "Sequential":
        return sequential(*first, dense("d", units=4), name="inner")
    called = dense("d", [[["in", 0, 0, {}]]], units=4)
    return functional(*first, called, inputs=[["in", 0, 0]], outputs=[["d", 0, 0]], name="inner")


@pytest.mark.parametrize(
    "built, shape",
    [
        ({"input_shape": [None, 4]}, (None, 4)),
        ({"shapes_dict": {"input_shape": [None, 4]}}, (None, 4)),
        ({"input_shape": [[None, 4], [None, 5]]}, [(None, 4), (None, 5)]),
        ({"input_shape": None}, None),
        ({"input_shape": "x"}, None),
        ({"input_shape": [[None, "x"]]}, None),
        ("x", None),
    ],
)
def test_the_shape_that_a_layer_was_built_with(built, shape):
    spec = parsed(sequential({**dense("a"), "build_config": built}))
    assert spec.layers[-1].input_shape == shape


# Functional


def test_the_calls_of_keras_3():
    config = functional(
        input_layer("x"),
        dense("a", [node(tensor("x")), node(tensor("a", 0, shape=[None, 4]))], units=4),
        layer("Add", "sum", [node([tensor("a", 1), tensor("x")])], trainable=True),
        inputs=["x", 0, 0],
        outputs={"y": ["sum", 0, 0], "z": [["a", 1, 0]]},
    )
    spec = parsed(config)
    x, first, second = TensorRef("x", 0, 0), TensorRef("a", 0, 0), TensorRef("a", 1, 0)
    assert spec.calls == (
        Call("a", (x,), {}, 0),
        Call("a", (first,), {}, 1),
        Call("sum", ([second, x],), {}, 0),
    )
    assert spec.inputs == x
    assert spec.outputs == {"y": TensorRef("sum", 0, 0), "z": [second]}
    assert spec.hints == {first: (None, 4)}
    assert not any(layer.keras_2 for layer in spec.layers)


def test_the_calls_of_keras_2():
    config = old(
        input_layer("x"),
        input_layer("y"),
        dense("a", [[["x", 0, 0, {}]], [["a", 0, 0]]], units=4),
        layer("Add", "sum", [[["a", 1, 0, {"z": [["y", 0, 0]], "k": 2}], ["y", 0, 0, {}]]]),
        inputs=[["x", 0, 0], ["y", 0, 0]],
        outputs=[["sum", 0, 0]],
    )
    spec = parsed(config)
    x, y = TensorRef("x", 0, 0), TensorRef("y", 0, 0)
    assert [call.args for call in spec.calls] == [
        (x,),
        (TensorRef("a", 0, 0),),
        ([TensorRef("a", 1, 0), y],),
    ]
    assert spec.calls[-1].kwargs == {"z": [y], "k": 2}
    assert spec.inputs == [x, y]
    assert all(layer.keras_2 for layer in spec.layers)


def test_an_operation_of_tensorflow():
    operation = {"trainable": True, "dtype": "float32", "function": "math.subtract"}
    constant = ["_CONSTANT_VALUE", -1, 2.0, {"y": ["x", 0, 0], "name": None}]
    config = old(
        input_layer("x"),
        layer("TFOpLambda", "op", [constant], **operation),
        layer("TFOpLambda", "two", [[["x", 0, 0, {"axis": 1}], ["op", 0, 0, {"axis": 1}]]]),
        inputs=[["x", 0, 0]],
        outputs=[["two", 0, 0]],
    )
    spec = parsed(config)
    x = TensorRef("x", 0, 0)
    assert [one.operation for one in spec.layers] == [False, True, True]
    assert spec.calls[0] == Call("op", (2.0,), {"y": x}, 0)
    assert spec.calls[1] == Call("two", ([x, TensorRef("op", 0, 0)],), {"axis": 1}, 0)


@pytest.mark.parametrize(
    "module, operation",
    [
        ("keras.src.ops.numpy", True),
        ("keras.ops", True),
        ("keras.src.activations.activations", True),
        ("keras_core.src.ops.numpy", True),
        ("keras.layers", False),
        ("keras.src.opsy", False),
        ("mine.src.ops", False),
        (None, True),
    ],
)
def test_an_operation_is_told_from_a_layer(module, operation):
    entry = layer("Add", "add", [node(tensor("x"), 2.0)])
    entry = entry if module is None else {**entry, "module": module}
    config = functional(input_layer("x"), entry, inputs=["x", 0, 0], outputs=["add", 0, 0])
    assert parsed(config).layers[1].operation is operation


def test_arguments_of_every_kind():
    key = [
        {"class_name": "__slice__", "config": {"start": None, "stop": 3, "step": 2}},
        {"class_name": "__ellipsis__", "config": {}},
        None,
        {"class_name": "__tuple__", "items": [1, -1]},
    ]
    array = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float64"}}
    weights = {"class_name": "__tensor__", "config": {"value": [1], "dtype": "int32"}}
    policy = {"class_name": "DTypePolicy", "config": {"name": "float16"}}
    entry = layer("GetItem", "a", [node(tensor("x"), key, b=array, c={"d": weights}, e=policy)])
    config = functional(
        input_layer("x"),
        {**entry, "module": "keras.src.ops.numpy"},
        inputs=["x", 0, 0],
        outputs=["a", 0, 0],
    )
    (call,) = parsed(config).calls
    assert call.args == (TensorRef("x", 0, 0), [slice(None, 3, 2), ..., None, (1, -1)])
    np.testing.assert_array_equal(call.kwargs["b"], np.array([1.0, 2.0]))
    assert torch.equal(call.kwargs["c"]["d"], torch.tensor([1], dtype=torch.int32))
    assert call.kwargs["e"] == "float16"


def test_what_says_nothing_is_left_out_and_inputs_may_be_named():
    nodes = [node(inputs=tensor("x"), mask=None, training=True)]
    config = functional(
        input_layer("x"), dense("a", nodes), inputs=["x", 0, 0], outputs=["a", 0, 0]
    )
    assert parsed(config).calls == (Call("a", (TensorRef("x", 0, 0),), {}, 0),)


@pytest.mark.parametrize("given, kept", [(True, True), (0, False), (None, None)])
def test_training_is_kept_where_keras_keeps_to_it(given, kept):
    nodes = [[["x", 0, 0, {"training": given, "mask": None}]]]
    config = old(input_layer("x"), dense("a", nodes), inputs=["x", 0, 0], outputs=[["a", 0, 0]])
    expected = {} if kept is None else {"training": kept}
    assert parsed(config).calls[0].kwargs == expected


@pytest.mark.parametrize("kind", ["Sequential", "Functional"])
@pytest.mark.parametrize("first", [0, 1])
def test_keras_2_counts_the_calls_of_nested_models_from_1_or_0(kind, first):
    model = inner_model(kind, own_input=kind == "Functional" or first == 1)
    config = old(
        input_layer("x"),
        inside(model, [[["x", 0, 0, {}]], [["inner", first, 0, {}]]]),
        inputs=[["x", 0, 0]],
        outputs=[["inner", first + 1, 0]],
    )
    spec = parsed(config)
    assert [call.number for call in spec.calls] == [0, 1]
    assert spec.calls[1].args == (TensorRef("inner", 0, 0),)
    assert spec.outputs == [TensorRef("inner", 1, 0)]


def test_keras_3_counts_them_from_1_at_the_ends_only():
    model = inner_model("Functional")
    config = functional(
        input_layer("x"),
        inside(model, [node(tensor("x")), node(tensor("inner", 0))]),
        inputs=[["x", 0, 0]],
        outputs=[["inner", 2, 0]],
    )
    assert parsed(config).outputs == [TensorRef("inner", 1, 0)]
    flat = inner_model("Sequential")
    config = functional(
        input_layer("x"),
        inside(flat, [node(tensor("x")), node(tensor("inner", 0))]),
        inputs=[["x", 0, 0]],
        outputs=[["inner", 1, 0]],
    )
    assert parsed(config).outputs == [TensorRef("inner", 1, 0)]


def test_nested_structures_of_inputs_and_outputs():
    config = functional(
        *(input_layer(name) for name in "abc"),
        layer("Add", "sum", [node([tensor("a"), tensor("b"), tensor("c")])], trainable=True),
        inputs=[["a", 0, 0], {"x": [["b", 0, 0]], "y": ["c", 0, 0]}],
        outputs={"z": ["sum", 0, 0]},
    )
    spec = parsed(config)
    assert spec.inputs[1] == {"x": [TensorRef("b", 0, 0)], "y": TensorRef("c", 0, 0)}


def test_an_input_may_be_unused():
    config = functional(
        input_layer("x"), input_layer("unused"), dense("a", [node(tensor("x"))]),
        inputs=[["x", 0, 0], ["unused", 0, 0]], outputs=["a", 0, 0],
    )  # fmt: skip
    assert len(parsed(config).calls) == 1


def test_nothing_is_changed_in_the_config():
    config = with_shared(third=True)
    kept = copy.deepcopy(config)
    parsed(config)
    assert config == kept


def test_tuples_and_odd_numbers_are_taken():
    config = chain(dense("a", kernel_regularizer={"class_name": "L2", "config": {"l2": math.nan}}))
    config["config"]["layers"] = tuple(config["config"]["layers"])
    assert names(parsed(config)) == ["x", "a"]


# Order


def test_calls_are_made_in_the_order_of_keras():
    def call(layer, number, *sources):
        return Call(layer, tuple(TensorRef(*source, 0) for source in sources), {}, number)

    listed = [
        call("late", 0, ("x", 0)),
        call("bn", 0, ("a", 0)),
        call("bn", 1, ("x", 0)),
        call("a", 0, ("x", 0)),
        call("sum", 0, ("bn", 0), ("bn", 1), ("late", 0)),
    ]
    calls = {(one.layer, one.number): one for one in listed}
    order = sort_calls(calls, [TensorRef("sum", 0, 0)])
    assert order == [("a", 0), ("bn", 0), ("bn", 1), ("late", 0), ("sum", 0)]


def test_a_long_chain_needs_no_deep_recursion():
    count = 5000
    calls = {("a", n): Call("a", (TensorRef("a", n - 1, 0),), {}, n) for n in range(1, count)}
    calls["a", 0] = Call("a", (TensorRef("x", 0, 0),), {}, 0)
    order = sort_calls(calls, TensorRef("a", count - 1, 0))
    assert order == [("a", n) for n in range(count)]
    calls["a", 0] = Call("a", (TensorRef("a", 9, 0),), {}, 0)
    with pytest.raises(CycleError):
        sort_calls(calls, TensorRef("a", count - 1, 0))


def test_structures():
    a, b = TensorRef("a", 0, 0), TensorRef("b", 0, 0)
    structure = {"z": [a, (b, 3)], "y": b}
    assert list(iterate_refs(structure)) == [b, a, b]
    assert map_refs(structure, lambda ref: ref.layer) == {"z": ["a", ("b", 3)], "y": "b"}
