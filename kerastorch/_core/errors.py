"""The one message template of refused arguments, and the error of refused files."""

from __future__ import annotations

from itertools import islice
from typing import Any

_LONGEST = 200  # characters of a value in a message


def problem(
    owner: str,
    argument: str,
    rule: str,
    value: object,
    remedy: str = "",
    **related: object,
) -> str:
    """Return the message that every refused argument gets.

    Args:
        owner: Who refuses: a class, a function or a file.
        argument: The argument's name as the caller wrote it.
        rule: What the argument must be, to follow "must be".
        value: What came instead; of a long one the message shows the start.
        remedy: What to do, as a full sentence, when the rule does not say it all.
        **related: Other values that the rule compares with.
    """
    received = ", ".join(f"{k}={shown(v)}" for k, v in ((argument, value), *related.items()))
    return (
        f"{owner}: `{argument}` must be {rule}. Received: {received}."
        f"{' ' if remedy else ''}{remedy}"
    )


def shown(value: object) -> str:
    """Return the repr of a value, or of what is too long for a message its start and its size."""
    kind = type(value).__name__
    try:
        text = repr(_beginning(value))
    except ValueError:  # an integer of more digits than Python writes
        return f"<{kind}>"
    if len(text) <= _LONGEST:
        return text
    try:
        return f"<{kind} of the shape {tuple(value.shape)} and the type {value.dtype}>"  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError, TypeError):  # no array, or a nested tensor
        size = f" of length {len(value)}" if hasattr(value, "__len__") else ""
        return f"{text[: _LONGEST - 50]}... ({kind}{size})"


def _beginning(value: Any) -> Any:
    """Return as much of a plain container as may be shown: the repr of all might take minutes."""
    kind = type(value)
    if kind in (str, bytes):
        return value[:_LONGEST]
    if kind in (list, tuple, set, frozenset):
        return kind(islice(value, _LONGEST))
    return dict(islice(value.items(), _LONGEST)) if kind is dict else value


class FileError(ValueError):
    """A file, or a part of one, that is refused.

    The message says which file, where in it, what was found, and what to do.
    """
