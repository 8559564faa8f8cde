"""Operations, custom layers, and what is not supported."""

from __future__ import annotations

import pickle
import re

import pytest
import torch
from torch import nn

from kerastorch._core.errors import FileError
from kerastorch.models.build import build_model
from kerastorch.operations.operation import Operation
from kerastorch.saving.configs.parse import parse_model_config
from kerastorch.saving.weights.module_weights import list_unbuilt_layers
from tests.models.building.examples import add, built, operation, wrong
from tests.models.configs import (
    chain,
    dense,
    functional,
    input_layer,
    layer,
    node,
    sequential,
    tensor,
)


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
        return build_model(parse_model_config(config(shape), "config.json"), {"Twice": Twice})

    assert made([None, 4]).input_shapes["b"] == (None, 3)
    model = made(None)
    assert list(model.input_shapes) == ["x", "t"]
    unbuilt = [(path, shape) for path, _, shape in list_unbuilt_layers(model)]
    assert unbuilt == [("a", None), ("b", None)]
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_all_that_is_not_supported_is_listed_at_once():
    config = functional(
        input_layer("x"),
        layer("StringLookup", "lookup", [node(tensor("x"))], units=3),
        layer("Lambda", "lambda", [node(tensor("x"))], function={"class_name": "__lambda__"}),
        operation("Einsum", "einsum", [node(tensor("x"))], subscripts="a->a"),
        dense("dense", [node(tensor("x"))], units=-1),
        dense("fine", [node(tensor("x"))]),
        layer("TFOpLambda", "tf.image.resize", [node(tensor("x"))], function="image.resize"),
        inputs=["x", 0, 0],
        outputs=[
            [n, 0, 0] for n in ("lookup", "lambda", "einsum", "dense", "fine", "tf.image.resize")
        ],
    )
    with pytest.raises(FileError) as caught:
        built(config)
    assert str(caught.value).splitlines() == [
        "config.json: 5 layers cannot be rebuilt.",
        "  'lookup' (StringLookup): not supported",
        "  'lambda' (Lambda): its code is not run; not supported",
        "  'einsum' (Einsum): not supported",
        (
            "  'dense' (Dense): Dense.from_config: Dense: `units` must be a positive integer. "
            "Received: units=-1."
        ),
        "  'tf.image.resize' (TFOpLambda): tf.image.resize: not supported",
        (
            "Give a function that makes a module of a layer's config, `custom_layers={"
            '"StringLookup": ..., "Lambda": ..., "Einsum": ..., "Dense": ..., '
            '"TFOpLambda": ...}`; or rebuild the model in PyTorch and use `load_weights`.'
        ),
    ]


def test_a_long_list_is_cut():
    with pytest.raises(FileError) as caught:
        built(sequential(*(layer("StringLookup", f"l{n}") for n in range(250))))
    lines = str(caught.value).splitlines()
    assert lines[0] == "config.json: 250 layers cannot be rebuilt."
    assert lines[-2] == "  and 150 more"
    assert len(lines) == 103


@pytest.mark.parametrize("name", ["Lambda", "TorchModuleWrapper", "TFSMLayer"])
def test_code_in_a_config_is_not_run(name):
    with pytest.raises(FileError, match="its code is not run; not supported"):
        built(sequential(layer(name, "a", function="os.system")))


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
        (sequential(input_layer("x"), sequential(input_layer("y", (None, 3)), name="inner")), None),
    ],
)
def test_what_cannot_be_computed_is_refused_when_it_is_made(config, message):
    if message is None:
        build_model(parse_model_config(config, "config.json"))
        return
    with pytest.raises(FileError, match=re.escape(message)):
        build_model(parse_model_config(config, "config.json"))


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
