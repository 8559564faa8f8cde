"""Errors of layers: they tell which layer of which model they come from."""

from __future__ import annotations

import sys

import torch

from .._core.errors import problem

_REMEDY = "Put a module in its place, `{code}`; to leave the layer out, take torch.nn.Identity()."

# In these the one argument is the message, and nothing else.
_PLAIN = (
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


def name_layer(error: Exception, model: str, layer: str, nested: str | None) -> None:
    """Put a model and a layer of it before the message of an error, which stays the same object.

    An error of any other class keeps its arguments, which its constructor or whoever catches it
    may depend on; it gets a note from Python 3.11 on, and nothing before.

    Args:
        error: What the layer raised.
        model: The title of the model: "Functional 'resnet50'".
        layer: The layer's name in it.
        nested: The title of the layer where it is a model itself, which has put its own layer
            there by then: the two become one path.
    """
    message = str(error)
    if type(error) in _PLAIN and error.args == (message,):
        inner = f"{nested}, layer '"
        if nested is not None and message.startswith(inner):
            error.args = (f"{model}, layer '{layer}/{message[len(inner) :]}",)
        else:
            error.args = (f"{model}, layer '{layer}': {message}",)
    elif sys.version_info >= (3, 11):
        error.add_note(f"It was raised in the layer {layer!r} of {model}.")


def missing_layer(model: str, layer: str, attribute: str) -> AttributeError:
    """Return the error for a layer whose module was deleted, or is None.

    Args:
        model: The title of the model: "Functional 'resnet50'".
        layer: The layer's name in it.
        attribute: The name of its module.
    """
    assignment = f"model.{attribute} = ..."
    if not attribute.isidentifier():
        assignment = f"setattr(model, {attribute!r}, ...)"
    remedy = _REMEDY.format(code=assignment)
    return AttributeError(problem(model, layer, "a torch.nn.Module", None, remedy))
