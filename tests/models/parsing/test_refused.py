"""Configs that are refused, each with its place."""

from __future__ import annotations

import copy
import re

import pytest

from kerastorch._core.errors import FileError
from tests.models.configs import chain, dense, input_layer, node, sequential, tensor
from tests.models.parsing.entries import entry, nodes, parsed


def changed(change, config=None):
    config = copy.deepcopy(config or chain(dense("a"), dense("b")))
    change(config["config"])
    return config


def set_(key, value):
    return lambda content: content.__setitem__(key, value)


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
