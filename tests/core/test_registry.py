"""The tables of names, on a small one of its own."""

import pytest
import torch

from kerastorch._core.registry import (
    Registry,
    make_class_table,
    to_snake_case,
)


class Salt:
    def __init__(self, grams=1.0):
        self.grams = grams

    def __call__(self):
        return self.grams

    def get_config(self):
        return {"grams": self.grams}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class BlackPepper(Salt):
    pass


class Sugar(Salt):
    """A user's own."""


def stir(x):
    return x


def shake(x):
    return x


def boil(x):
    """A user's own."""
    return x


SPICES = Registry(
    "spice", "keras.spices", make_class_table((Salt, BlackPepper), pepper=BlackPepper)
)
MOVES = Registry(
    "move", "keras.moves", {"stir": stir, "swirl": stir, "shake": shake}, {torch.cos: "shake"}
)


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Conv2D", "conv2d"),
        ("ReLU", "re_lu"),
        ("L1L2", "l1l2"),
        ("STFT", "stft"),
        ("GlorotUniform", "glorot_uniform"),
        ("MinMaxNorm", "min_max_norm"),
        ("my>Class", "my_class"),
    ],
)
def test_snake_case(name, snake):
    assert to_snake_case(name) == snake


def test_class_names():
    assert SPICES.table == {
        "Salt": Salt,
        "salt": Salt,
        "BlackPepper": BlackPepper,
        "black_pepper": BlackPepper,
        "pepper": BlackPepper,
    }


@pytest.mark.parametrize("identifier", ["pepper", "black_pepper", "BlackPepper", BlackPepper])
def test_get_makes_an_instance(identifier):
    assert type(SPICES.get(identifier)) is BlackPepper


def test_get_keeps_callables():
    salt = Salt(3.0)
    assert SPICES.get(salt) is salt
    assert MOVES.get(boil) is boil
    assert MOVES.get("swirl") is stir
    assert SPICES.get(None) is None


# Every way in which Keras ever wrote one of its own.
@pytest.mark.parametrize(
    "written",
    [
        {"class_name": "Salt", "config": {"grams": 2.0}},  # Keras 1 and 2, tf.keras
        {"class_name": "salt", "config": {"grams": 2.0}},
        {
            "module": "keras.spices",
            "class_name": "Salt",
            "config": {"grams": 2.0},
            "registered_name": None,
        },  # Keras 3
        {
            "module": "keras.src.spices.salty",
            "class_name": "Salt",
            "config": {"grams": 2.0},
            "registered_name": "Salt",
        },
        {"module": "tf_keras.spices", "class_name": "Salt", "config": {"grams": 2.0}},
    ],
)
def test_dialects_of_classes(written):
    before = {**written, "config": dict(written["config"])}
    salt = SPICES.deserialize(written)
    assert type(salt) is Salt and salt.grams == 2.0
    assert written == before


@pytest.mark.parametrize(
    "written", [{"class_name": "Salt"}, {"class_name": "Salt", "config": None}]
)
def test_no_arguments(written):
    assert SPICES.deserialize(written).grams == 1.0


@pytest.mark.parametrize(
    "written",
    [
        "swirl",
        {"class_name": "function", "config": "swirl"},
        {
            "module": "builtins",
            "class_name": "function",
            "config": "swirl",
            "registered_name": "function",
        },
        {
            "module": "keras.moves",
            "class_name": "function",
            "config": "swirl",
            "registered_name": "swirl",
        },
    ],
)
def test_dialects_of_functions(written):
    assert MOVES.deserialize(written) is stir


@pytest.mark.parametrize(("vocabulary", "obj"), [(SPICES, Salt(2.5)), (SPICES, BlackPepper(0.5))])
def test_classes_round_trip(vocabulary, obj):
    written = vocabulary.serialize(obj)
    assert written == {
        "module": "keras.spices",
        "class_name": type(obj).__name__,
        "config": {"grams": obj.grams},
        "registered_name": None,
    }
    assert list(written) == ["module", "class_name", "config", "registered_name"]
    again = vocabulary.deserialize(written)
    assert type(again) is type(obj) and again.grams == obj.grams


def test_functions_round_trip():
    assert [MOVES.serialize(function) for function in (stir, shake)] == ["stir", "shake"]
    assert MOVES.serialize(torch.cos) == "shake"
    assert MOVES.serialize(None) is MOVES.deserialize(None) is None


def test_ones_own_class():
    written = SPICES.serialize(Sugar(4.0))
    assert written == {
        "module": Sugar.__module__,
        "class_name": "Sugar",
        "config": {"grams": 4.0},
        "registered_name": "Sugar",
    }
    for name in ("Sugar", "kitchen>Sugar"):
        registered = {**written, "registered_name": name}
        again = SPICES.deserialize(registered, {name: Sugar})
        assert type(again) is Sugar and again.grams == 4.0


def test_a_class_of_the_main_module_has_none():
    inner = type("Inner", (Salt,), {"__module__": "__main__"})
    assert SPICES.serialize(inner())["module"] is None


def test_ones_own_function():
    written = MOVES.serialize(boil)
    assert written == {
        "module": "builtins",
        "class_name": "function",
        "config": "boil",
        "registered_name": "function",
    }
    assert MOVES.deserialize(written, {"boil": boil}) is boil
    package = {**written, "config": "kitchen>boil"}
    assert MOVES.deserialize(package, {"kitchen>boil": boil}) is boil
    assert MOVES.deserialize(package, {"boil": boil}) is boil


def test_custom_objects_come_first():
    assert MOVES.deserialize("stir", {"stir": boil}) is boil
    assert type(SPICES.deserialize("salt", {"salt": Sugar})) is Sugar
    assert SPICES.deserialize({"class_name": "Salt", "config": {}}, {"Salt": boil}) is boil


def test_a_class_without_from_config_is_called():
    class Plain:
        def __init__(self, grams):
            self.grams = grams

    written = {"class_name": "Plain", "config": {"grams": 9}}
    assert SPICES.deserialize(written, {"Plain": Plain}).grams == 9


class Unhashable(Salt):
    def __eq__(self, other):
        raise AssertionError("compared")


def test_what_is_not_hashable_is_written():
    assert MOVES.serialize(Unhashable(2.0))["config"] == {"grams": 2.0}
