"""What a registry refuses, with its messages."""

import pytest
import torch

from tests.core.test_registry import MOVES, SPICES, Salt, Sugar


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
