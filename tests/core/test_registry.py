"""The tables of names, on a small one of its own."""

import numpy as np
import pytest
import torch

from kerastorch._core.config_arrays import plain, restored
from kerastorch._core.registry import Vocabulary, callable_config, class_names, snake_case


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


SPICES = Vocabulary("spice", "keras.spices", class_names((Salt, BlackPepper), pepper=BlackPepper))
MOVES = Vocabulary(
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
    assert snake_case(name) == snake


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
    assert written == callable_config(boil)
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


def impostor(x):
    return x


impostor.__name__ = "stir"

# A class of one's own may be named as one of Keras's; it must not be read as that one.
FOREIGN = [
    {"module": None, "class_name": "Salt", "config": {}, "registered_name": "Salt"},
    {"module": "kitchen", "class_name": "Salt", "config": {}, "registered_name": "Salt"},
    {"module": "kerastic", "class_name": "Salt", "config": {}, "registered_name": None},
    {"module": "keras.spices", "class_name": "Salt", "config": {}, "registered_name": "my>Salt"},
    {"module": 3, "class_name": "Salt", "config": {}},
]


@pytest.mark.parametrize("written", FOREIGN)
def test_collisions_of_classes(written):
    with pytest.raises(TypeError) as error:
        SPICES.deserialize(written)
    assert str(error.value) == (
        "spice: `config` must be about an object of Keras, or of `custom_objects`. "
        f"Received: config={written!r}."
    )
    name = written.get("registered_name") or "Salt"
    assert type(SPICES.deserialize(written, {name: Sugar})) is Sugar


NAMES = "one of BlackPepper, Salt, black_pepper, pepper, salt"


@pytest.mark.parametrize(
    ("attempt", "kind", "message"),
    [
        (
            lambda: SPICES.get("peper"),
            ValueError,
            (
                f"spice: `name` must be {NAMES}. Received: name='peper'. Did you mean 'pepper'? "
                "Your own objects go in `custom_objects`."
            ),
        ),
        (
            lambda: SPICES.get("Zzz"),
            ValueError,
            (
                f"spice: `name` must be {NAMES}. Received: name='Zzz'. "
                "Your own objects go in `custom_objects`."
            ),
        ),
        (
            lambda: MOVES.deserialize({"class_name": "function", "config": "kitchen>sturr"}),
            ValueError,
            (
                "move: `name` must be one of shake, stir, swirl. Received: name='kitchen>sturr'. "
                "Your own objects go in `custom_objects`."
            ),
        ),
        (
            lambda: SPICES.get(5),
            ValueError,
            (
                "spice: `identifier` must be a name, a config dict or a callable. "
                "Received: identifier=5."
            ),
        ),
        (
            lambda: SPICES.get({"config": {}}),
            ValueError,
            (
                "spice: `config` must be a name or a dict with a `class_name`. "
                "Received: config={'config': {}}."
            ),
        ),
        (
            lambda: SPICES.deserialize(["salt"]),
            ValueError,
            (
                "spice: `config` must be a name or a dict with a `class_name`. "
                "Received: config=['salt']."
            ),
        ),
        (
            lambda: SPICES.deserialize({"class_name": "Salt", "config": "x"}),
            ValueError,
            (
                "spice: `config` must be a dict inside the dict. "
                "Received: config={'class_name': 'Salt', 'config': 'x'}."
            ),
        ),
        (
            lambda: SPICES.deserialize({"class_name": "Salt", "config": {"kilos": 1}}),
            TypeError,
            (
                "Salt: `config` must be a config that the class takes. Received: "
                "config={'kilos': 1}. Salt.__init__() got an unexpected keyword argument 'kilos'"
            ),
        ),
        (
            lambda: MOVES.deserialize({"class_name": "__lambda__", "config": {"value": ["4wE="]}}),
            ValueError,
            (
                "move: `config` must be no lambda, whose code is not run. Received: "
                "config='<lambda>'. Save the model again with a function that has a name, or make "
                "the layer yourself."
            ),
        ),
        (
            lambda: SPICES.serialize(Salt),
            ValueError,
            (
                "spice: `object` must be a function or an instance that has `get_config`. "
                f"Received: object={Salt!r}."
            ),
        ),
        (
            lambda: MOVES.serialize(torch.sin),
            ValueError,
            (
                "move: `object` must be a function or an instance that has `get_config`. "
                f"Received: object={torch.sin!r}."
            ),
        ),
        (
            lambda: MOVES.serialize(impostor),
            ValueError,
            (
                "move: `function` must be named otherwise, since 'stir' means another move. "
                f"Received: function={impostor!r}. Rename it."
            ),
        ),
    ],
)
def test_messages(attempt, kind, message):
    with pytest.raises(kind) as error:
        attempt()
    assert str(error.value) == message


def test_a_lambda_is_not_written():
    nameless = lambda x: x  # noqa: E731
    with pytest.raises(ValueError) as error:
        MOVES.serialize(nameless)
    assert str(error.value) == (
        f"move: `function` must be named. Received: function={nameless!r}. "
        "Name it with `def` and load it back with `custom_objects`."
    )


def test_nothing_is_imported_by_name():
    for name in ("os.system", "builtins.eval", "eval", "torch.relu", "kerastorch.activations.relu"):
        for written in (name, {"module": "builtins", "class_name": "function", "config": name}):
            with pytest.raises(ValueError):
                MOVES.deserialize(written)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (1.5, 1.5),
        ("hann", "hann"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(2.0), 2.0),
        ([np.int64(1), (np.float64(0.5),)], [1, (0.5,)]),
        ({"axis": (np.int64(1), 2)}, {"axis": (1, 2)}),
        (
            np.array([[1, 2]], dtype="int16"),
            {"class_name": "__numpy__", "config": {"value": [[1, 2]], "dtype": "int16"}},
        ),
        (
            torch.tensor([0.5], dtype=torch.bfloat16),
            {"class_name": "__tensor__", "config": {"value": [0.5], "dtype": "bfloat16"}},
        ),
    ],
)
def test_plain(value, written):
    found = plain(value)
    assert found == written
    assert type(found) is type(written)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_arrays_round_trip(dtype):
    array = np.array([[0, 1, 2], [3, 0, 5]]).astype(dtype)
    again = restored("Salt", "grams", plain(array))
    assert type(again) is np.ndarray and again.dtype == array.dtype
    assert np.array_equal(again, array)
    tensor = torch.from_numpy(array)
    twice = restored("Salt", "grams", plain(tensor))
    assert twice.dtype is tensor.dtype and torch.equal(twice, tensor)


def test_all_else_is_restored_as_it_is():
    for value in (None, 1.0, [1], "x", {"class_name": "Salt"}, {"a": 1}):
        assert restored("Salt", "grams", value) is value


@pytest.mark.parametrize("name", ["__numpy__", "__tensor__"])
@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"value": [1.0]},
        {"value": [1.0], "dtype": "object"},
        {"value": [1.0], "dtype": "nn"},
        {"value": [1.0], "dtype": "load"},
        {"value": [[1.0], [1.0, 2.0]], "dtype": "float32"},
        {"value": ["x"], "dtype": "float32"},
        {"value": None, "dtype": "float32"},
        {"value": [1e300], "dtype": "int8"},
    ],
)
def test_arrays_that_are_none(name, content):
    value = {"class_name": name, "config": content}
    with pytest.raises(ValueError) as error:
        restored("Salt", "grams", value)
    assert str(error.value) == (
        f"Salt: `grams` must be an array's `value` and `dtype`. Received: grams={value!r}."
    )
