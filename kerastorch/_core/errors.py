"""The message template for arguments, and the error for files."""

from __future__ import annotations

from itertools import islice
from typing import Any

_LONGEST = 200  # characters of a value in a message


def argument_error(
    owner: str, argument: str, rule: str, value: object, remedy: str = "", **related: object
) -> str:
    """Return the message that `argument` of `owner` must be `rule`, with the value received.

    `remedy` is a full sentence; `related` are other values that the rule refers to.
    """
    received = ", ".join(f"{k}={short_repr(v)}" for k, v in ((argument, value), *related.items()))
    message = f"{owner}: `{argument}` must be {rule}. Received: {received}."
    return f"{message} {remedy}" if remedy else message


def short_repr(value: object) -> str:
    """Return the repr of a value; for a long one, its start and its size."""
    kind = type(value).__name__
    try:
        text = repr(_beginning(value))
    except ValueError:  # an integer of more digits than Python writes
        return f"<{kind}>"
    if len(text) <= _LONGEST:
        return text
    try:
        return _describe(value)
    except (AttributeError, RuntimeError, TypeError):  # no array, or a nested tensor
        size = f" of length {len(value)}" if hasattr(value, "__len__") else ""
        return f"{text[: _LONGEST - 50]}... ({kind}{size})"


class _Text(str):
    """A text that is its own repr."""

    __repr__ = str.__str__


def _describe(array: Any) -> str:
    return f"<{type(array).__name__} of the shape {tuple(array.shape)} and the type {array.dtype}>"


def list_shapes(value: Any) -> Any:
    """Return the shapes of the tensors in lists, for a message."""
    if isinstance(value, (list, tuple)):
        return [list_shapes(one) for one in value]
    return tuple(value.shape) if hasattr(value, "shape") else value


def _beginning(value: Any) -> Any:
    """Return the start of a plain container: the repr of all of it might take minutes."""
    kind = type(value)
    if kind in (str, bytes):
        return value[:_LONGEST]
    if kind in (list, tuple, set, frozenset):
        beginning = islice(value, _LONGEST)
        return kind(_Text(_describe(one)) if getattr(one, "ndim", 0) else one for one in beginning)
    return dict(islice(value.items(), _LONGEST)) if kind is dict else value


class FileError(ValueError):
    """Raised for an invalid file: says which file, where in it, what was found, what to do."""
