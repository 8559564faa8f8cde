"""Calls whose numbers depend on the version, and what is one and the same object."""

from __future__ import annotations

import copy

import pytest

from kerastorch._core.errors import FileError
from kerastorch.graph.spec import TensorRef
from tests.models.configs import chain, dense, functional, input_layer, inside, layer, node, tensor
from tests.models.parsing.entries import parsed, with_shared


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
