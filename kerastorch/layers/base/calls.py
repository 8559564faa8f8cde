"""Calls in files of Keras 1 and 2, where they differ from those of Keras 3."""

from __future__ import annotations

from typing import Any


def move_states(
    cls: Any, args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Convert a call on a list: its first tensor is the sequence, the others are the states.

    Raises:
        ValueError: There are constants, too.
    """
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    if kwargs.pop("constants", None):
        raise ValueError(f"{cls.__name__}: `constants` must be left out of a call.")
    if not args or type(args[0]) not in (list, tuple):  # a reference to a tensor is a named tuple
        return args, kwargs
    first, *states = args[0]
    if states:
        kwargs["initial_state"] = states
    return [first, *args[1:]], kwargs
