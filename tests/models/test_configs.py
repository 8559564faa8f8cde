"""What a config says: every dialect to one form, and everything else refused with its place."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch

from kerastorch._core.errors import FileError
from kerastorch.graph.order import CycleError, ordered
from kerastorch.graph.spec import mapped, refs
from kerastorch.saving.configs.parse import Call, TensorRef, parse_model
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


def parsed(config, version="3.15.1"):
    return parse_model(config, "config.json", version)


def old(*layers, inputs, outputs, **config):
    return functional(*layers, inputs=inputs, outputs=outputs, **config)


def names(spec):
    return [one.name for one in spec.layers]


def inner_model(kind, *, own_input=True):
    first = [input_layer("in")] if own_input else []
    if kind == "Sequential":
        return sequential(*first, dense("d", units=4), name="inner")
    called = dense("d", [[["in", 0, 0, {}]]], units=4)
    return functional(*first, called, inputs=[["in", 0, 0]], outputs=[["d", 0, 0]], name="inner")


# Sequential


def test_a_sequential_model():
    spec = parsed(sequential(input_layer("x"), dense("a"), layer("ReLU", "b", trainable=True)))
    assert (spec.kind, spec.name, spec.trainable) == ("Sequential", "model", True)
    assert not any(layer.keras2 for layer in spec.layers)
    assert names(spec) == ["x", "a", "b"]
    assert [one.class_name for one in spec.layers] == ["InputLayer", "Dense", "ReLU"]
    assert (spec.calls, spec.inputs, spec.outputs, spec.source) == ((), None, None, "config.json")


def test_a_sequential_model_is_a_list_until_keras_2_2_2():
    spec = parsed({"class_name": "Sequential", "config": [dense("a"), dense("b")]})
    assert (spec.name, names(spec)) == ("sequential", ["a", "b"])
    assert all(layer.keras2 for layer in spec.layers)


@pytest.mark.parametrize(
    "config",
    [
        sequential(dense("a", batch_input_shape=[None, 4])),
        sequential(dense("a"), build_input_shape=[None, 4]),
        {**sequential(dense("a")), "build_config": {"input_shape": [None, 4]}},
    ],
    ids=["batch_input_shape", "build_input_shape", "build_config"],
)
def test_an_input_shape_becomes_an_input_layer(config):
    spec = parsed(config)
    assert names(spec) == ["a_input", "a"]
    expected = {"batch_shape": (None, 4), "name": "a_input", "dtype": "float32"}
    assert spec.layers[0].config == expected


def test_a_sequential_model_may_have_no_input_shape():
    assert names(parsed(sequential(dense("a")))) == ["a"]
    assert parsed(sequential()).layers == ()


def test_trainable_of_a_sequential_model_is_not_read_as_in_keras():
    assert parsed(sequential(dense("a"), trainable=False)).trainable
    frozen = chain(dense("a"))
    frozen["config"]["trainable"] = False
    assert not parsed(frozen).trainable


def test_names_of_classes_are_those_of_keras_3():
    spec = parsed(
        sequential(
            layer("Convolution2D", "a", filters=2, kernel_size=3),
            layer("MaxPool2D", "b"),
            layer("AvgPool2D", "c"),
            layer("GlobalAvgPool2D", "d"),
            layer("GlobalMaxPool2D", "e"),
        )
    )
    assert [one.class_name for one in spec.layers] == [
        *("Conv2D", "MaxPooling2D", "AveragePooling2D"),
        *("GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    ]


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
    assert not any(layer.keras2 for layer in spec.layers)


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
    assert all(layer.keras2 for layer in spec.layers)


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


# Numbers that depend on the version


def called_twice(consumer, last):
    """Return a model that calls `d` on `x` and on `e`, which takes `consumer`."""
    return functional(
        input_layer("x"),
        dense("d", [node(tensor("x")), node(tensor("e"))], 4),
        dense("e", [node(tensor(*consumer))], 4),
        layer("Add", "sum", [node([tensor("e"), tensor(*last)])], trainable=True),
        inputs=["x", 0, 0],
        outputs=[["sum", 0, 0], ["d", 1, 0], ["d", 0, 0]],
    )


VERSIONS = (None, "3.0.5", "3.1.1", "3.2.1", "3.3.0", "3.15.1", "x", "3.x")
ANY = ("3.3.0", "3.15.1")


@pytest.mark.parametrize(
    "consumer, last, good",
    [
        (("d", 0), ("x", 0), VERSIONS),  # the second call needs `e`
        (("d", 0), ("d", 1), VERSIONS),
        (("d", 0), ("d", 0), ("3.0.5", "3.1.1", *ANY)),
        (("x", 0), ("d", 0), ("3.0.5", "3.1.1", *ANY)),
        (("x", 0), ("d", 1), ANY),
        (("x", 0), ("x", 0), VERSIONS),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_numbers_of_calls_may_mean_something_else_in_early_versions(consumer, last, good, version):
    config = called_twice(consumer, last)
    if version in good:
        spec = parsed(config, version)
        assert {call.args for call in spec.calls if call.layer == "e"} == {
            (TensorRef(*consumer, 0),)
        }
        return
    message = "config.json: it must be clear which calls of 'd' are meant. Found: 'Keras "
    with pytest.raises(FileError, match=message + (version or "of a version not known")):
        parsed(config, version)


def test_the_version_may_be_in_the_config():
    config = called_twice(("d", 0), ("d", 0))
    with pytest.raises(FileError, match="which calls of 'd'"):
        parsed(config, None)
    assert parsed({**config, "keras_version": "3.15.1"}, None)


def test_many_doubts_are_not_looked_into():
    calls = [node(tensor("x"))] + [node(tensor("d")) for _ in range(300)]
    outputs = [["d", n, 0] for n in range(301)]
    config = functional(input_layer("x"), dense("d", calls, 4), inputs=["x", 0, 0], outputs=outputs)
    assert parsed(config)
    with pytest.raises(FileError, match="which calls of 'd'"):
        parsed(config, None)


def test_the_number_of_an_input_says_nothing():
    config = chain(dense("a"))
    config["config"]["layers"][1]["inbound_nodes"] = [node(tensor("x", 3))]  # Keras 3.1
    config["config"]["input_layers"] = ["x", 2, 0]
    assert parsed(config).calls[0].args == (TensorRef("x", 0, 0),)


# What is one and the same object


def with_shared(*, mark=7, units=(3, 3), third=False):
    def sub(name, size, marked):
        entry = dense("both", [node(tensor("in"))], units=size)
        entry = {**entry, "shared_object_id": mark} if marked else entry
        model = functional(
            input_layer("in"), entry, inputs=["in", 0, 0], outputs=["both", 0, 0], name=name
        )
        return inside(model, [node(tensor("x"))])

    models = [sub("one", units[0], False), sub("two", units[1], mark is not None)]
    models += [sub("three", units[0], True)] if third else []
    return functional(
        input_layer("x"),
        *models,
        inputs=["x", 0, 0],
        outputs=[[model["name"], 1, 0] for model in models],
    )


def alias_of(config, name):
    model = next(one for one in parsed(config).layers if one.name == name).model
    return next(one for one in model.layers if one.name == "both").alias


def test_a_marked_layer_is_the_earlier_one_of_its_name_and_config():
    assert alias_of(with_shared(), "two") == ("one", "both")
    assert alias_of(with_shared(), "one") is None
    assert alias_of(with_shared(mark=None), "two") is None
    assert alias_of(with_shared(units=(3, 2)), "two") is None
    assert alias_of(with_shared(third=True), "three") == ("one", "both")


def test_marks_inside_configs_do_not_count():
    config = with_shared()
    entry = config["config"]["layers"][2]["config"]["layers"][1]
    entry["config"]["kernel_initializer"] = {
        "class_name": "Zeros",
        "config": {},
        "shared_object_id": 1,
    }
    config["config"]["layers"][1]["config"]["layers"][1]["config"]["kernel_initializer"] = {
        "class_name": "Zeros",
        "config": {},
    }
    assert alias_of(config, "two") == ("one", "both")


def test_two_candidates_are_refused():
    config = with_shared(mark=None)
    third = with_shared(third=True)["config"]["layers"][3]
    config["config"]["layers"].append(third)
    config["config"]["output_layers"].append(["three", 1, 0])
    with pytest.raises(FileError, match="it must be clear which earlier layer"):
        parsed(config)


def test_a_shared_model_is_one_object():
    inner = functional(
        input_layer("in"), dense("d", [node(tensor("in"))], units=4),
        inputs=["in", 0, 0], outputs=["d", 0, 0], name="inner",
    )  # fmt: skip

    def outer(name, marked):
        entry = inside(copy.deepcopy(inner), [node(tensor("top"))])
        if marked:
            entry["shared_object_id"] = 3
            entry["config"]["layers"][1]["shared_object_id"] = 4
        model = functional(
            input_layer("top"), entry, inputs=["top", 0, 0], outputs=["inner", 1, 0], name=name
        )
        return inside(model, [node(tensor("x"))])

    config = functional(
        input_layer("x"), outer("one", False), outer("two", True),
        inputs=["x", 0, 0], outputs=[["one", 1, 0], ["two", 1, 0]],
    )  # fmt: skip
    second = parsed(config).layers[2].model.layers[1]
    assert second.alias == ("one", "inner")
    assert second.model.layers[1].alias is None


# Keras 1


def test_keras_1_in_the_words_of_keras_2():
    config = {
        "class_name": "Sequential",
        "config": [
            layer(
                "Convolution2D", "c", nb_filter=2, nb_row=3, nb_col=5, init="glorot_uniform",
                activation="relu", border_mode="same", subsample=[1, 2], dim_ordering="tf",
                W_regularizer={"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.5},
                b_regularizer=None, activity_regularizer=None, W_constraint=None,
                b_constraint=None, bias=True, batch_input_shape=[None, 8, 8, 3],
                input_dtype="float32", trainable=True,
            ),
            layer("BatchNormalization", "bn", mode=0, axis=-1, momentum=0.9, epsilon=0.1),
            layer("MaxPooling2D", "m", border_mode="valid", dim_ordering="th", pool_size=[2, 2]),
            layer("Dropout", "drop", p=0.25),
            layer("Dense", "d", output_dim=4, init="normal", bias=False, input_dim=None),
        ],
    }  # fmt: skip
    spec = parsed(config)
    first, conv, bn, pool, dropout, last = spec.layers
    assert first.config["batch_shape"] == (None, 8, 8, 3)
    expected = {
        "filters": 2, "kernel_size": (3, 5), "padding": "same", "strides": [1, 2],
        "data_format": "channels_last", "use_bias": True, "dtype": "float32",
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}},
    }  # fmt: skip
    assert conv.class_name == "Conv2D"
    assert {key: conv.config[key] for key in expected} == expected
    assert bn.config == {"name": "bn", "axis": -1, "momentum": 0.9, "epsilon": 0.1}
    assert pool.config["data_format"] == "channels_first"
    assert dropout.config == {"name": "drop", "rate": 0.25}
    assert last.config["kernel_initializer"] == "normal"  # a name of the initializer today, too
    assert (last.config["units"], last.config["use_bias"]) == (4, False)


@pytest.mark.parametrize(
    "entry, argument",
    [
        (layer("BatchNormalization", "a", mode=1), "mode"),
        (layer("Dropout", "a", p=0.5, dim_ordering="x"), "dim_ordering"),
        (layer("Dropout", "a", p=0.5, activity_regularizer={"name": "x"}), "activity_regularizer"),
        (layer("Dense", "a", output_dim=2, W_regularizer={"name": "x"}), "name"),
    ],
)  # fmt: skip
def test_what_keras_1_did_otherwise_is_refused(entry, argument):
    with pytest.raises(
        FileError, match=f"layers\\[0\\] 'a': the `{argument}` of a .* of Keras 1 must"
    ):
        parsed(sequential(entry))


# What is refused


def changed(change, config=None):
    config = copy.deepcopy(config or chain(dense("a"), dense("b")))
    change(config["config"])
    return config


def set_(key, value):
    return lambda content: content.__setitem__(key, value)


def entry(number, **values):
    return lambda content: content["layers"][number].update(values)


def nodes(value):
    return entry(1, inbound_nodes=value)


NESTED = "x"
for _ in range(200):
    NESTED = [NESTED]

WRONG = {
    "no dict": ([], "config.json: a model's config must be a dict. Found: []."),
    "no class": ({}, "a model must have a `class_name` and a `config`"),
    "a class of one's own": (
        {"class_name": "Mine", "config": {}},
        (
            "only Sequential and Functional models can be rebuilt from a config. Found: 'Mine'. "
            "Its code is in no file: rebuild the class in PyTorch from `kerastorch.layers`, and "
            "load the weights with `load_weights`."
        ),
    ),
    "a subclass of Model": ({"class_name": "Model", "config": {"name": "x"}}, "Its code is in no"),
    "a model of a number": ({"class_name": "Sequential", "config": 3}, "must be a dict or a list"),
    "a functional list": ({"class_name": "Functional", "config": []}, "must be a dict. Found: []"),
    "too deep": ({"class_name": "Sequential", "config": NESTED}, "be nested more than 128 levels"),
    "layers no list": (changed(set_("layers", 3)), "`layers` must be a list. Found: 3."),
    "a layer no dict": (changed(set_("layers", [3])), "layers[0]: a layer must be a dict"),
    "a layer no class": (changed(set_("layers", [{}])), "layers[0]: a layer must have a `class_"),
    "a config no dict": (changed(entry(1, config=3)), "layers[1]: the `config` of a layer must"),
    "no name": (changed(entry(1, config={}, name=None)), "layers[1]: `name` must be one string"),
    "two names": (changed(entry(1, name="b")), "`name` must be one string. Found: ['b', 'a']"),
    "a name of a number": (changed(entry(1, config={"name": 1}, name=1)), "`name` must be one"),
    "a name twice": (
        sequential(dense("a"), dense("a")),
        "the names of layers must differ. Found: ['a']",
    ),
    "a late input": (
        sequential(dense("a"), input_layer("x")),
        "layers[1] 'x': an InputLayer must come first",
    ),
    "a called input": (
        changed(entry(0, inbound_nodes=[node(tensor("a"))])),
        "layers[0] 'x': an InputLayer must not be called",
    ),
    "no inputs": (changed(lambda c: c.pop("input_layers")), "must have `input_layers`"),
    "another input": (changed(set_("input_layers", ["a", 0, 0])), "list the InputLayers ['x']"),
    "an input twice": (changed(set_("input_layers", [["x", 0, 0], ["x", 0, 0]])), "each once"),
    "no outputs": (changed(set_("output_layers", [])), "`output_layers` must list a tensor"),
    "an output of another": (
        changed(set_("output_layers", ["y", 0, 0])),
        "config.json: output_layers: a tensor must be of a layer of this model. Found: 'y'.",
    ),
    "an output of no call": (
        changed(set_("output_layers", ["b", 1, 0])),
        (
            "a tensor must come from one of the 1 calls of its layer. Found: ['b', 1, 0]. Some "
            "versions of Keras 3 wrote wrong numbers"
        ),
    ),
    "a negative call": (changed(set_("output_layers", ["b", -1, 0])), "must be integers >= 0"),
    "a true call": (changed(set_("output_layers", ["b", True, 0])), "must be integers >= 0"),
    "an output of nothing": (changed(set_("output_layers", 3)), "must be [layer, node, tensor]"),
    "nodes no list": (changed(nodes(3)), "layers[1] 'a': `inbound_nodes` must be a list"),
    "two dialects": (
        changed(nodes([node(tensor("x")), [["x", 0, 0, {}]]])),
        "`inbound_nodes` must all be Keras 3's, or all Keras 2's",
    ),
    "a node of a number": (changed(nodes([3])), "inbound_nodes[0]: a call must list [layer, node"),
    "arguments no list": (changed(nodes([{"args": 3, "kwargs": {}}])), "`args` must be a list"),
    "no tensor": (changed(nodes([node(3)])), "a call must be on some tensor. Found: [3]."),
    "a tensor of nothing": (
        changed(nodes([node({"class_name": "__keras_tensor__", "config": {}})])),
        "inbound_nodes[0]: a tensor must be [layer, node, tensor]. Found: None.",
    ),
    "a lambda": (
        changed(nodes([node(tensor("x"), {"class_name": "__lambda__", "config": {"value": 1}})])),
        (
            "an argument must be a tensor, a plain value, a slice or an array. Found: "
            "{'class_name': '__lambda__', 'config': {'value': 1}}. Nothing else is rebuilt."
        ),
    ),
    "a wrong slice": (
        changed(nodes([node(tensor("x"), {"class_name": "__slice__", "config": {"start": "a"}})])),
        "a slice must be of integers or null",
    ),
    "a wrong array": (
        changed(nodes([node(tensor("x"), {"class_name": "__numpy__", "config": {"value": "a"}})])),
        "must be an array's `value` and `dtype`",
    ),
    "an object": (changed(nodes([node(tensor("x"), object())])), "must be a plain value"),
    "training": (changed(nodes([node(tensor("x"), training="x")])), "`training` must be true"),
    "different arguments": (
        changed(nodes([[["x", 0, 0, {"a": 1}], ["x", 0, 0, {"a": 2}]]])),
        "the keyword arguments must be one dict",
    ),
    "a cycle": (
        changed(nodes([node(tensor("b"))])),
        "a layer must not need its own output. Found: ",
    ),
    "a call for nothing": (
        changed(nodes([node(tensor("x")), node(tensor("x"))])),
        "every layer must be called, and every call lead to an output. Found: [\"call 1 of 'a'\"].",
    ),
    "a layer never called": (
        changed(lambda c: c["layers"].append(dense("c", []))),
        "Found: [\"'c', never called\"].",
    ),
    "a wrong number of a shared layer": (  # Keras 3.2
        changed(lambda c: c["layers"][1].update(
            inbound_nodes=[node(tensor("x")), node(tensor("a", 0))]
        )),
        "Found: [\"call 1 of 'a'\"]. Some versions of Keras 3",
    ),
    "too many layers": (
        sequential(*[dense("a")] * 100_001), "there must be 100000 layers at most. Found: 100001.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_its_place(case):
    config, message = WRONG[case]
    with pytest.raises(FileError, match=re.escape(message)) as caught:
        parsed(config)
    assert str(caught.value).startswith("config.json: ")
    assert len(str(caught.value)) < 1000


def test_the_place_inside_a_nested_model():
    inner = sequential(dense("d"), {"class_name": "Dense", "config": 3}, name="inner")
    with pytest.raises(
        FileError, match=re.escape("config.json: layers[0] 'inner': layers[1]: the")
    ):
        parsed(sequential(inner))


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
    order = ordered(calls, [TensorRef("sum", 0, 0)])
    assert order == [("a", 0), ("bn", 0), ("bn", 1), ("late", 0), ("sum", 0)]


def test_a_long_chain_needs_no_deep_recursion():
    count = 5000
    calls = {("a", n): Call("a", (TensorRef("a", n - 1, 0),), {}, n) for n in range(1, count)}
    calls["a", 0] = Call("a", (TensorRef("x", 0, 0),), {}, 0)
    order = ordered(calls, TensorRef("a", count - 1, 0))
    assert order == [("a", n) for n in range(count)]
    calls["a", 0] = Call("a", (TensorRef("a", 9, 0),), {}, 0)
    with pytest.raises(CycleError):
        ordered(calls, TensorRef("a", count - 1, 0))


def test_structures():
    a, b = TensorRef("a", 0, 0), TensorRef("b", 0, 0)
    structure = {"z": [a, (b, 3)], "y": b}
    assert list(refs(structure)) == [b, a, b]
    assert mapped(structure, lambda ref: ref.layer) == {"z": ["a", ("b", 3)], "y": "b"}
