"""Models made from configs: what they compute, and that they are real modules."""

from __future__ import annotations

import copy
import io
import pickle
import re
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from kerastorch import regularization_loss
from kerastorch._core.errors import FileError
from kerastorch.graph.shapes import UNKNOWN, Shape, broadcast, leaf, within
from kerastorch.layers import Conv2D, Dense, InputLayer, PReLU
from kerastorch.models.build import build_model
from kerastorch.models.functional import Functional
from kerastorch.models.sequential import Sequential
from kerastorch.operations.operation import Operation
from kerastorch.saving.configs.parse import parse_model
from kerastorch.saving.weights.unbuilt import initialize, unbuilt
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


def built(config, **kwargs):
    model = build_model(parse_model(config, "config.json", "3.15.1"), **kwargs)
    initialize(model)
    return model


def operation(class_name, name, nodes, **config):
    return {**layer(class_name, name, nodes, **config), "module": "keras.src.ops.numpy"}


def add(name, *sources):
    return layer("Add", name, [node([tensor(one) for one in sources])], trainable=True)


def two_inputs(inputs, outputs=("sum", 0, 0)):
    return functional(
        input_layer("a"),
        input_layer("b"),
        dense("double", [node(tensor("b"))], units=4, kernel_initializer="ones"),
        add("sum", "a", "double"),
        inputs=inputs,
        outputs=list(outputs),
    )


def shared(activity="l2"):
    """Return a model that calls a layer twice, once of it in a nested model."""
    inner = functional(
        input_layer("in"),
        dense("d", [node(tensor("in")), node(tensor("d"))], 4, activity_regularizer=activity),
        inputs=["in", 0, 0],
        outputs=["d", 1, 0],
        name="inner",
    )
    return functional(
        input_layer("x"),
        inside(inner, [node(tensor("x")), node(tensor("inner", 0))]),
        inputs=["x", 0, 0],
        outputs=["inner", 2, 0],
    )


# What is made


def test_layers_become_modules_under_their_names():
    model = built(chain(dense("one"), layer("ReLU", "two"), dense("three", units=2)))
    assert type(model) is Functional
    assert list(model.layers) == ["x", "one", "two", "three"]
    assert isinstance(model.one, Dense)
    assert isinstance(model.x, InputLayer)
    assert list(model.state_dict()) == ["one.weight", "one.bias", "three.weight", "three.bias"]
    assert (model.name, model.one.name, model.trainable) == ("model", "one", True)


def test_nothing_is_allocated_before_the_weights_are_known():
    spec = parse_model(chain(dense("a", units=2**40), dense("b", units=2**40)), "config.json")
    model = build_model(spec)
    assert [(path, shape) for path, _, shape in unbuilt(model)] == [
        ("a", (None, 4)),
        ("b", (None, 2**40)),
    ]
    assert model.input_shapes["b"] == model.output_shapes["a"] == (None, 2**40)
    assert "not built" in repr(model)


@pytest.mark.parametrize("make", [sequential, chain])
@pytest.mark.parametrize("flag", ["sparse", "ragged"])
def test_inputs_that_may_be_sparse_or_ragged(flag, make):
    config = make(dense("d")) if make is chain else make(input_layer("x"), dense("d"))
    (given, *_) = config["config"]["layers"]
    given["config"][flag] = True
    model = built(config)
    assert model.layers["x"].get_config()[flag] is True
    x = torch.tensor([[0.0, 2.0, 0.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    assert torch.equal(model(x.to_sparse()), model(x))
    rows = torch.nested.nested_tensor([torch.ones(4), torch.ones(3)], layout=torch.jagged)
    with pytest.raises(ValueError, match=r"`x` must be dense or sparse\. .* Pad it with"):
        model(rows)


@pytest.mark.parametrize("name", ["", "a.b", "layers", "spec", "train", "_plan", "_modules", "T"])
def test_a_name_that_no_attribute_can_have_is_changed(name):
    taken = name.replace(".", "_") or "_"
    model = built(
        sequential(input_layer("x"), dense(name), dense(f"{taken}_"), dense(taken + "__"))
    )
    assert list(model.layers) == ["x", name, f"{taken}_", f"{taken}__"]
    modules = list(model.layers.values())
    assert len({id(module) for module in modules}) == 4
    assert dict(model.named_modules()).keys() >= {f"{taken}_", f"{taken}__"}
    assert model.layers[name].name == name
    state = {key: value + 1 for key, value in model.state_dict().items()}
    assert len(state) == 6
    model.load_state_dict(state)
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_names_of_keras_2_may_have_a_slash():
    model = built(sequential(dense("conv1/bn", batch_input_shape=[None, 4])))
    assert list(model.state_dict()) == ["conv1/bn.weight", "conv1/bn.bias"]
    assert model.layers["conv1/bn"].name == "conv1/bn"


def test_layers_as_activations_become_parts_of_their_layer():
    config = {"class_name": "PReLU", "config": {"shared_axes": [1, 2], "trainable": True}}
    conv = layer("Conv2D", "conv", filters=2, kernel_size=3, activation=config)
    model = build_model(
        parse_model(sequential(input_layer("x", (None, 5, 6, 3)), conv), "config.json")
    )
    shapes = {path: shape for path, _, shape in unbuilt(model)}
    assert shapes == {"conv": (None, 5, 6, 3), "conv/activation": (None, 3, 4, 2)}
    initialize(model)
    assert isinstance(model.conv, Conv2D)
    assert isinstance(model.conv.activation, PReLU)
    assert list(model.state_dict()) == ["conv.weight", "conv.bias", "conv.activation.alpha"]


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "ReLU", "config": {"max_value": 1.0}},
        {"class_name": "LeakyReLU", "config": {"alpha": 0.5}},
        {"class_name": "ELU", "config": {"alpha": 0.5}},
        {"class_name": "Softmax", "config": {"axis": -1}},
    ],
)
def test_each_of_them(config):
    model = built(sequential(input_layer("x"), dense("a", activation=config)))
    assert type(model.a.activation).__name__ == config["class_name"]


def test_hard_sigmoid_of_keras_2_is_another_function():
    x = torch.linspace(-4.0, 4.0, 8).reshape(2, 4)
    entry = layer("Activation", "a", activation="hard_sigmoid", trainable=True)
    new = built(sequential(input_layer("x"), entry))
    old = {"class_name": "Sequential", "config": {"name": "m", "layers": [input_layer("x"), entry]}}
    torch.testing.assert_close(new(x), torch.clamp(x / 6 + 0.5, 0, 1))
    torch.testing.assert_close(built(old)(x), torch.clamp(0.2 * x + 0.5, 0, 1))
    own = built(old, custom_objects={"hard_sigmoid": torch.tanh})
    torch.testing.assert_close(own(x), torch.tanh(x))


def test_custom_objects_are_names_of_functions():
    model = built(
        sequential(input_layer("x"), dense("a", activation="mine")),
        custom_objects={"mine": torch.sin},
    )
    assert model.a.activation is torch.sin


# Inputs and outputs


ARRAYS = {"a": torch.arange(8.0).reshape(2, 4), "b": torch.ones(2, 4)}
EXPECTED = ARRAYS["a"] + 4.0


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
    model = build_model(parse_model(sequential(layer("Flatten", "f", data_format=None)), "c"))
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


# Behaviour as a module


def test_a_state_dict_goes_into_another_one_built_or_not():
    config = chain(dense("a"), dense("b"))
    model, other = built(config), built(config)
    fresh = build_model(parse_model(config, "config.json"))
    other.load_state_dict(model.state_dict())
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(model(x), other(x))
    assert torch.equal(model(x), fresh(x))


@pytest.mark.parametrize("config", [shared(), sequential(input_layer("x"), dense("a", units=4))])
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch"])
def test_a_copy_computes_the_same_and_is_its_own(config, how):
    model = built(config)
    x = torch.randn(2, 4)
    expected = model(x)
    if how == "deepcopy":
        other = copy.deepcopy(model)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert torch.equal(other(x), expected)
    terms = [float(term.detach()) for term in model.losses]
    other(2 * x)
    assert [float(term.detach()) for term in model.losses] == terms
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(model(x), expected)
    assert not other(x).any()


def test_train_and_eval_reach_all_layers():
    model = built(sequential(input_layer("x"), layer("Dropout", "d", rate=0.5)))
    x = torch.ones(50, 4)
    assert torch.equal(model.eval()(x), x)
    assert not torch.equal(model.train()(x), x)


def with_mode(training, *, twice=None):
    nodes = [[["x", 0, 0, {"training": training}]]]
    nodes += [] if twice is None else [[["x", 0, 0, {"training": twice}]]]
    inner = {"class_name": "Sequential", "config": {
        "name": "inner", "layers": [input_layer("in"), layer("Dropout", "d", rate=0.5)],
    }}  # fmt: skip
    return functional(
        input_layer("x"),
        inside(inner, nodes),
        layer("Flatten", "f", [[["x", 0, 0, {}]]]),
        inputs=[["x", 0, 0]],
        outputs=[["inner", 1 + n, 0] for n in range(len(nodes))] + [["f", 0, 0]],
    )


@pytest.mark.parametrize("training", [True, False])
def test_a_mode_that_keras_2_fixed_stays(training):
    model = built(with_mode(training))
    assert model.training
    assert model.inner.d.training is training
    for mode in (True, False):
        nn.Sequential(model).train(mode)
        assert model.inner.d.training is training
        assert model.f.training is mode
    assert copy.deepcopy(model).train().inner.d.training is training


def test_two_modes_of_one_layer_are_refused():
    built(with_mode(True, twice=True))
    message = "config.json: a layer must be called with one `training` throughout. Found: two for"
    with pytest.raises(FileError, match=message):
        built(with_mode(True, twice=False))
    with pytest.raises(FileError, match="two for 'inner/d'"):
        built(with_mode(False, twice=True))


def test_inputs_follow_the_type_of_the_model():
    x = torch.randn(2, 4, dtype=torch.float64)
    model = built(chain(dense("a"))).double()
    expected = x @ model.a.kernel + model.a.bias
    assert torch.equal(model(x), expected)  # not rounded to float32 on the way
    assert model.half()(x).dtype is torch.float16


def test_trainable_is_that_of_all_layers():
    config = chain(dense("a", kernel_regularizer="l2"), dense("b"))
    model = built(config)
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.trainable = False
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.a.trainable
    assert not model.losses
    model.trainable = True
    assert model.a.trainable
    assert len(model.losses) == 1
    config["config"]["trainable"] = False
    model = built(config)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.a.trainable  # as in Keras: its own config says so


def test_dead_tensors_are_freed():
    alive = []

    class Step(nn.Module):
        def forward(self, x):
            self.before = sum(one() is not None for one in alive)
            y = x + 1
            alive.append(weakref.ref(y))
            return y

    names = [f"s{n}" for n in range(6)]
    config = chain(*(layer("Step", name) for name in names))
    model = build_model(
        parse_model(config, "config.json"), custom_layers={"Step": lambda config: Step()}
    )
    model(torch.zeros(2, 4))
    assert [model.layers[name].before for name in names] == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("config", [shared(), with_mode(True)], ids=["shared", "mode"])
def test_it_compiles_without_a_break(config):
    model = built(config).eval()
    x = torch.randn(2, 4)
    if config["config"]["layers"][1]["class_name"] == "Sequential":
        model.inner.d.rate = 0.0
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    expected = model(x)
    terms = [term.detach() for term in model.losses]
    torch.testing.assert_close(compiled(x), expected)
    assert len(model.losses) == len(terms)
    torch.testing.assert_close([term.detach() for term in model.losses], terms)


def test_it_can_be_exported():
    model = built(two_inputs([["a", 0, 0], ["b", 0, 0]]))
    exported = torch.export.export(model, (list(ARRAYS.values()),))
    torch.testing.assert_close(exported.module()(list(ARRAYS.values())), EXPECTED)


# Loss terms


def test_a_layer_that_is_called_again_adds_up_and_each_call_starts_afresh():
    model = built(shared())
    layer = model.inner.d
    x = torch.randn(2, 4)
    expected, y = [], x
    for _ in range(4):
        y = layer(y)
        expected.append(layer.losses[0])
    for _ in range(2):
        assert torch.equal(model(x), y)
        torch.testing.assert_close(model.losses, expected)
        torch.testing.assert_close(regularization_loss(model), sum(expected))
    (gradient,) = torch.autograd.grad(sum(model.losses), layer.weight, retain_graph=True)
    (wanted,) = torch.autograd.grad(sum(expected), layer.weight)
    torch.testing.assert_close(gradient, wanted)
    model.inner(x)
    assert len(model.losses) == 2


def test_what_ran_in_an_earlier_call_is_not_counted_again():
    def sub(name, marked):
        both = dense("both", [node(tensor("in"))], 4, activity_regularizer="l2")
        both = {**both, "shared_object_id": 1} if marked else both
        own = dense(f"own_{name}", [node(tensor("both"))], 4, activity_regularizer="l1")
        model = functional(
            input_layer("in"), both, own,
            inputs=["in", 0, 0], outputs=[own["name"], 0, 0], name=name,
        )  # fmt: skip
        return inside(model, [node(tensor("x"))])

    model = built(functional(
        input_layer("x"), sub("one", False), sub("two", True), add("sum", "one", "two"),
        inputs=["x", 0, 0], outputs=["sum", 0, 0],
    ))  # fmt: skip
    assert model.one.both is model.two.both
    assert set(model.state_dict()) > {"one.both.weight", "two.both.weight"}
    for _ in range(3):
        model(torch.randn(2, 4))
        assert len(model.losses) == 4


def test_a_sequential_model_of_models_adds_up_too():
    inner = shared()
    inner["config"]["name"] = "first"
    model = built(sequential(input_layer("x"), inner, dense("last", activity_regularizer="l1")))
    for _ in range(2):
        model(torch.randn(2, 4))
        assert len(model.losses) == 5


# Operations, custom layers and what is not supported


def test_operations_are_modules():
    array = {
        "class_name": "__numpy__",
        "config": {"value": [1.0, 2.0, 3.0, 4.0], "dtype": "float32"},
    }
    model = built(functional(
        input_layer("x"),
        operation("Add", "plus", [node(tensor("x"), array)]),
        operation("Mean", "mean", [node(tensor("plus"))], axis=-1, keepdims=True),
        inputs=["x", 0, 0], outputs=[["mean", 0, 0], ["plus", 0, 0]],
    ))  # fmt: skip
    mean, plus = model(torch.zeros(2, 4))
    assert plus.tolist() == [[1.0, 2.0, 3.0, 4.0]] * 2
    assert mean.tolist() == [[2.5]] * 2
    assert isinstance(model.mean, Operation)
    assert repr(model.mean) == "Operation(Mean, axis=-1, keepdims=True)"
    assert not model.state_dict()
    assert model.to(torch.float64)(torch.zeros(2, 4))[1].dtype is torch.float64
    assert pickle.loads(pickle.dumps(model))(torch.zeros(2, 4))[1].tolist() == plus.tolist()


def test_operations_with_several_outputs():
    model = built(functional(
        input_layer("x"),
        operation("Split", "split", [node(tensor("x"))], indices_or_sections=2, axis=1),
        operation("Subtract", "less", [node(tensor("split", 0, 1), tensor("split", 0, 0))]),
        inputs=["x", 0, 0], outputs=["less", 0, 0],
    ))  # fmt: skip
    assert model(torch.tensor([[1.0, 2.0, 5.0, 7.0]])).tolist() == [[4.0, 5.0]]
    assert model.output_shapes["split"] == [(None, 2), (None, 2)]


class Twice(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.factor = config["factor"]
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x) * self.factor


def test_custom_layers_are_made_of_their_config():
    entry, known = layer("my>Twice", "twice", factor=3.0), {"input_shape": [None, 4]}
    model = built(
        sequential(input_layer("x"), entry, {**dense("a"), "build_config": known}),
        custom_layers={"Twice": Twice},
    )
    assert model.twice.factor == 3.0
    assert model.input_shapes["a"] == (None, 4)
    assert model(torch.zeros(2, 4)).shape == (2, 3)
    own = built(chain(dense("a")), custom_layers={"Dense": lambda config: nn.Identity()})
    assert isinstance(own.a, nn.Identity)
    with pytest.raises(
        TypeError, match=re.escape("`custom_layers['my>Twice']` must be a function")
    ):
        built(sequential(entry), custom_layers={"Twice": lambda config: 3})


def test_shapes_behind_a_custom_layer_are_those_of_the_file_or_unknown():
    def config(shape):
        return functional(
            input_layer("x"),
            layer("Twice", "t", [node(tensor("x"))], factor=2.0),
            dense("a", [node(tensor("t", shape=shape))]),
            dense("b", [node(tensor("a"))]),
            inputs=["x", 0, 0], outputs=["b", 0, 0],
        )  # fmt: skip

    def made(shape):
        return build_model(parse_model(config(shape), "config.json"), {"Twice": Twice})

    assert made([None, 4]).input_shapes["b"] == (None, 3)
    model = made(None)
    assert list(model.input_shapes) == ["x", "t"]
    with pytest.raises(ValueError, match="a: `input_shape` must be known"):
        initialize(model)
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_all_that_is_not_supported_is_listed_at_once():
    config = functional(
        input_layer("x"),
        layer("LSTM", "lstm", [node(tensor("x"))], units=3),
        layer("Lambda", "lambda", [node(tensor("x"))], function={"class_name": "__lambda__"}),
        operation("Einsum", "einsum", [node(tensor("x"))], subscripts="a->a"),
        dense("dense", [node(tensor("x"))], units=-1),
        dense("fine", [node(tensor("x"))]),
        layer("TFOpLambda", "tf.image.resize", [node(tensor("x"))], function="image.resize"),
        inputs=["x", 0, 0],
        outputs=[
            [n, 0, 0] for n in ("lstm", "lambda", "einsum", "dense", "fine", "tf.image.resize")
        ],
    )
    with pytest.raises(FileError) as caught:
        built(config)
    assert str(caught.value).splitlines() == [
        "config.json: 5 layers cannot be rebuilt.",
        "  'lstm' (LSTM): not supported",
        "  'lambda' (Lambda): its code is not run; not supported",
        "  'einsum' (Einsum): not supported",
        (
            "  'dense' (Dense): Dense.from_config: Dense: `units` must be a positive integer. "
            "Received: units=-1."
        ),
        "  'tf.image.resize' (TFOpLambda): tf.image.resize: not supported",
        (
            "Give a function that makes a module of a layer's config, `custom_layers={"
            '"LSTM": ..., "Lambda": ..., "Einsum": ..., "Dense": ..., "TFOpLambda": ...}`; or '
            "rebuild the model in PyTorch and use `load_weights`."
        ),
    ]


def test_a_long_list_is_cut():
    with pytest.raises(FileError) as caught:
        built(sequential(*(layer("LSTM", f"l{n}") for n in range(250))))
    lines = str(caught.value).splitlines()
    assert lines[0] == "config.json: 250 layers cannot be rebuilt."
    assert lines[-2] == "  and 150 more"
    assert len(lines) == 103


@pytest.mark.parametrize("name", ["Lambda", "TorchModuleWrapper", "TFSMLayer"])
def test_code_in_a_config_is_not_run(name):
    with pytest.raises(FileError, match="its code is not run; not supported"):
        built(sequential(layer(name, "a", function="os.system")))


def wrong(*layers, outputs):
    return functional(input_layer("x"), *layers, inputs=["x", 0, 0], outputs=outputs)


@pytest.mark.parametrize(
    "config, message",
    [
        (
            wrong(dense("a", [node(tensor("x"), 3)]), outputs=["a", 0, 0]),
            "config.json: 'model': 'a': a Dense must be called on its inputs alone. Found: 2",
        ),
        (
            wrong(dense("a", [node(tensor("x"), mask=tensor("x"))]), outputs=["a", 0, 0]),
            "Found: 1 arguments and ['mask']",
        ),
        (
            wrong(operation("Mean", "a", [node(tensor("x"))], axes=1), outputs=["a", 0, 0]),
            "'a' (Mean): got an unexpected keyword argument 'axes'",
        ),
        (
            wrong(operation("Mean", "a", [node(tensor("x"))], axis="x"), outputs=["a", 0, 0]),
            "'model': 'a': Mean: operation: `axis` must be integers, or null",
        ),
        (
            wrong(operation("Sum", "a", [node(tensor("x"))], keepdims=True), outputs=["a", 0, 0]),
            "'a': Sum: operation: `axis` must be integers, or null where `keepdims` is false",
        ),
        (
            wrong(
                operation("Reshape", "a", [node(tensor("x"))], newshape=[3, 5]), outputs=["a", 0, 0]
            ),
            None,
        ),
        (
            wrong(operation("Squeeze", "a", [node(tensor("x"))], axis=1), outputs=["a", 0, 0]),
            "'a': Squeeze: Squeeze: `axis` must be axes of size 1. Received: axis=1, x=(5040, 4).",
        ),
        (wrong(operation("Squeeze", "a", [node(tensor("x"))], axis=0), outputs=["a", 0, 0]), None),
        (
            wrong(dense("a", [node(tensor("x"))]), add("b", "x", "a"), outputs=["b", 0, 0]),
            "config.json: 'model': 'b': Add: `input_shape` must be of sizes that are equal or 1",
        ),
        (
            wrong(dense("a", [node(tensor("x"))]), outputs=["a", 0, 1]),
            "a tensor must be one of the 1 outputs of 'a'. Found: number 1.",
        ),
        (
            sequential(input_layer("x"), sequential(input_layer("y", (None, 3)), name="inner")),
            None,
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_when_it_is_made(config, message):
    if message is None:
        build_model(parse_model(config, "config.json"))
        return
    with pytest.raises(FileError, match=re.escape(message)):
        build_model(parse_model(config, "config.json"))


def test_a_module_with_too_few_outputs():
    config = wrong(layer("Own", "a", [node(tensor("x"))]), outputs=[["a", 0, 1], ["a", 0, 0]])
    for module in (nn.Identity(), nn.Sequential()):
        model = built(config, custom_layers={"Own": lambda config, made=module: made})
        with pytest.raises(ValueError) as caught:
            model(torch.zeros(2, 4))
        assert str(caught.value) == (
            f"Functional 'model', layer 'a': {type(module).__name__}: `outputs` must be 2 at "
            "least. Received: outputs=1."
        )

    class Three(nn.Module):
        def forward(self, x):
            return {"b": x + 2, "a": (x, x + 1)}

    model = built(config, custom_layers={"Own": lambda config: Three()})
    second, first = model(torch.zeros(1, 4))
    assert (float(first[0, 0]), float(second[0, 0])) == (0.0, 1.0)


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
    lazy = build_model(parse_model(sequential(dense("a")), "config.json"))
    assert str(lazy).splitlines()[-1] == "Total params: not built yet"
    assert "?" in str(lazy)


# Shapes


def test_shapes_of_structures():
    assert leaf((None, 3)) == Shape((None, 3))
    assert leaf([(None, 3), [None, 4]]) == [Shape((None, 3)), Shape((None, 4))]
    assert leaf({"a": [1, 2]}) == {"a": Shape((1, 2))}
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
    assert broadcast(map(Shape, shapes)) == expected


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match=re.escape("the shapes (2, 3), (4,) must match")):
        broadcast([Shape((2, 3)), Shape((4,))])


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
    assert within(given, Shape((None, 4))) == expected


def test_an_input_of_another_rank():
    assert within(Shape((None, 4)), Shape((None, 4, 1))) == (None, 4, 1)
    with pytest.raises(ValueError, match=re.escape("the shape (None, 4), not (2, 3, 4)")):
        within(Shape((2, 3, 4)), Shape((None, 4)))


def test_the_shape_of_the_output_for_another_input():
    conv = layer("Conv2D", "c", filters=2, kernel_size=3)
    model = build_model(
        parse_model(sequential(input_layer("x", (None, None, None, 3)), conv), "config.json")
    )
    assert model.compute_output_shape((2, 8, 7, 3)) == (2, 6, 5, 2)
    assert model.output_shapes["c"] == (None, None, None, 2)
    lazy = build_model(parse_model(sequential(conv), "config.json"))
    assert isinstance(lazy, Sequential)
    assert not lazy.input_shapes
    assert lazy.compute_output_shape((2, 8, 7, 3)) == (2, 6, 5, 2)
    assert lazy.input_shapes == {"c": (2, 8, 7, 3)}
    initialize(lazy)
    assert lazy.c.weight.shape == (2, 3, 3, 3)


def test_shapes_by_running_an_operation_keep_what_is_not_known():
    ellipsis = {"class_name": "__ellipsis__", "config": {}}
    model = build_model(parse_model(wrong(
        operation("Reshape", "r", [node(tensor("x"))], newshape=[-1, 2, 2]),
        operation("Transpose", "t", [node(tensor("r"))], axes=[0, 2, 1]),
        operation("Matmul", "m", [node(tensor("r"), tensor("t"))]),
        operation("GetItem", "g", [node(tensor("m"), [ellipsis, 0])]),
        operation("Concatenate", "c", [node([tensor("g"), tensor("g")])], axis=0),
        outputs=["c", 0, 0],
    ), "config.json"))  # fmt: skip
    shapes = {"r": (None, 2, 2), "m": (None, 2, 2), "g": (None, 2), "c": (None, 2)}
    assert {name: model.output_shapes[name] for name in shapes} == shapes
