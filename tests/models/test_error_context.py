"""What an error in a layer of a rebuilt model tells: which layer of which model it was."""

from __future__ import annotations

import pickle
import sys
import traceback

import pytest
import torch
from torch import nn

from kerastorch.layers import Conv2D, Dense
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import (
    build_all,
    chain,
    dense,
    functional,
    input_layer,
    inside,
    layer,
    node,
    sequential,
)
from tests.models.configs import tensor as keras_tensor


class Raising(nn.Module):
    """A layer that raises an error."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


def built(config, module=None):
    """Return a model, with a module as its layers of the class Own."""
    spec = parse_model_config(config, "config.json", "3.15.1")
    model = build_model(spec, custom_layers={"Own": lambda config: module})
    build_all(model)
    return model


def raised(model, *shape):
    """Return the error that a model ends with."""
    with pytest.raises(BaseException) as caught:
        model(torch.zeros(*(shape or (2, 4))))
    return caught.value


def own(error):
    """Return a model whose layer raises an error."""
    return built(chain(layer("Own", "a")), Raising(error))


@pytest.mark.parametrize("hooked", [False, True], ids=["inside", "outside"])
def test_an_error_names_the_layer_and_the_model(hooked):
    convolution = layer("Conv2D", "conv2_block1_1_conv", filters=2, kernel_size=1)
    model = built(sequential(input_layer("x", (None, 8, 8, 3)), convolution, name="resnet50"))
    model.conv2_block1_1_conv = Conv2D(2, 1, input_shape=(8, 8, 5))
    if hooked:
        model.conv2_block1_1_conv.register_forward_hook(lambda *_: None)
    error = raised(model, 2, 8, 8, 3)
    assert type(error) is ValueError and isinstance(error.__cause__, RuntimeError)
    assert str(error) == (
        "Sequential 'resnet50', layer 'conv2_block1_1_conv': Conv2D: `inputs` must be of 5 "
        "channels along axis -1. Received: inputs=(2, 8, 8, 3), data_format='channels_last'."
    )


def test_an_error_of_torch_names_the_layer_by_its_true_name():
    model = built(sequential(input_layer("x"), layer("Own", "block/a.b's")), nn.Linear(5, 3))
    error = raised(model)
    assert type(error) is RuntimeError
    assert str(error) == (
        "Sequential 'model', layer 'block/a.b's': "
        "mat1 and mat2 shapes cannot be multiplied (2x4 and 5x3)"
    )


PLAIN = (
    AssertionError,
    AttributeError,
    Exception,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    torch.OutOfMemoryError,
)


@pytest.mark.parametrize("kind", PLAIN)
def test_an_error_stays_itself_and_keeps_its_message(kind):
    error, cause = kind("too much"), KeyError("why")
    error.__cause__ = cause
    found = raised(own(error))
    assert found is error and type(found) is kind and found.__cause__ is cause
    assert str(found) == "Functional 'model', layer 'a': too much"
    assert traceback.extract_tb(found.__traceback__)[-1].line == "raise self.error"
    assert not hasattr(found, "__notes__")
    assert str(pickle.loads(pickle.dumps(found))) == str(found)


class Odd(ValueError):
    """An error whose constructor takes something else than a message."""

    def __init__(self, code, *, more):
        super().__init__(f"code {code}")
        self.code, self.more = code, more


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Odd(3, more="x"), "code 3"),
        (KeyError("b"), "'b'"),
        (OSError(2, "No such file", "f.png"), "[Errno 2] No such file: 'f.png'"),
        (ImportError("no such module", name="m"), "no such module"),
        (UserWarning("careful"), "careful"),
        (ValueError("a", 1), "('a', 1)"),
        (ValueError(7), "7"),
        (ValueError(), ""),
    ],
    ids=repr,
)
def test_an_error_with_more_than_a_message_keeps_it_and_gets_a_note(error, message):
    args, state = error.args, dict(vars(error))
    inner = sequential(input_layer("i"), layer("Own", "a"), name="inner")
    found = raised(built(chain(inner), Raising(error)))
    assert found is error and found.args == args and str(found) == message
    notes = vars(found).pop("__notes__", None)
    assert vars(found) == state
    if sys.version_info >= (3, 11):
        assert notes == [
            "It was raised in the layer 'a' of Sequential 'inner'.",
            "It was raised in the layer 'inner' of Functional 'model'.",
        ]


def test_what_stops_a_program_is_left_alone():
    stop = KeyboardInterrupt("now")
    assert raised(own(stop)) is stop
    assert stop.args == ("now",) and not vars(stop)


def test_an_error_in_nested_models_tells_one_path():
    inner = sequential(input_layer("i"), layer("Own", "block/a"), name="it's")
    middle = sequential(input_layer("j"), inner, name="middle")
    error = raised(built(chain(middle), Raising(ValueError("too much"))))
    assert str(error) == "Functional 'model', layer 'middle/it's/block/a': too much"


def test_an_error_of_a_model_in_a_module_tells_both():
    model = built(chain(layer("Own", "wrapped")), nn.Sequential(own(ValueError("too much"))))
    assert str(raised(model)) == (
        "Functional 'model', layer 'wrapped': Functional 'model', layer 'a': too much"
    )


def test_what_a_nested_model_refuses_is_told_with_its_place():
    ends = {"inputs": ["i", 0, 0], "outputs": ["b", 0, 0]}
    inner = functional(
        input_layer("i", (None, 5)), dense("b", [node(keras_tensor("i"))]), name="inner", **ends
    )
    config = functional(
        input_layer("x"),
        dense("a", [node(keras_tensor("x"))], units=5),
        inside(inner, [node(keras_tensor("a"))]),
        inputs=["x", 0, 0],
        outputs=["inner", 1, 0],
    )
    model = built(config)
    model.a = nn.Identity()
    assert str(raised(model)) == (
        "Functional 'model', layer 'inner': Functional 'inner': `i` must be of the shape "
        "(None, 5). Received: i=(2, 4)."
    )


def test_a_compiled_model_that_raises_names_the_layer():
    model = torch.compile(own(ValueError("too much")), backend="eager")
    assert str(raised(model)) == "Functional 'model', layer 'a': too much"


def test_a_model_that_cannot_be_exported_names_the_layer():
    model = built(chain(dense("a")))
    model.a = Dense(3, input_shape=(5,))
    with pytest.raises(ValueError) as caught:
        torch.export.export(model, (torch.zeros(2, 4),), strict=False)
    assert str(caught.value).startswith(
        "Functional 'model', layer 'a': Dense: `inputs` must be of the size 5 along the last axis."
    )
