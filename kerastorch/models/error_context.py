"""Errors of layers, with the names of the layer and the model."""

from __future__ import annotations

import sys

import torch

from .._core.errors import argument_error

_WITH_MESSAGE_ONLY = (  # classes whose one argument is the message
    *(Exception, AssertionError, AttributeError, IndexError, NotImplementedError, OverflowError),
    *(RuntimeError, TypeError, ValueError, ZeroDivisionError, torch.OutOfMemoryError),
)


def add_layer_context(error: Exception, model: str, layer: str, nested: str | None) -> None:
    """Prefix the message of an error with the model and the layer, in place.

    An error of a class with other arguments keeps them, since its constructor or handlers may
    depend on them; it gets a note from Python 3.11 on.

    Args:
        error: The layer's error.
        model: The title of the model: "Functional 'resnet50'".
        layer: The layer's name in it.
        nested: The title of the layer if it is a model, whose prefix is merged into one path.
    """
    message = str(error)
    if type(error) in _WITH_MESSAGE_ONLY and error.args == (message,):
        path = message.removeprefix(f"{nested}, layer '")
        rest = f"': {message}" if nested is None or path == message else f"/{path}"
        error.args = (f"{model}, layer '{layer}{rest}",)
    elif sys.version_info >= (3, 11):
        error.add_note(f"It was raised in the layer {layer!r} of {model}.")


def make_missing_layer_error(model: str, layer: str, attribute: str) -> AttributeError:
    """Return the error for a layer whose module was deleted, or is None."""
    plain = attribute.isidentifier()
    code = f"model.{attribute} = ..." if plain else f"setattr(model, {attribute!r}, ...)"
    remedy = f"Assign a module, `{code}`; to skip the layer, use torch.nn.Identity()."
    return AttributeError(argument_error(model, layer, "a torch.nn.Module", None, remedy))
