"""Constructors that Python's own messages name after the class that was called."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any


class OwnConstructor:
    """A mixin: a class without an `__init__` of its own gets a copy of the inherited one.

    "missing 1 required positional argument" then names the class itself, and not the one that
    defines the function, which may be one that no user knows.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own_constructor(cls)


def own_constructor(cls: Any) -> None:
    """Give a class without an `__init__` of its own a copy of the inherited one."""
    inherited = cls.__init__
    if "__init__" not in vars(cls) and isinstance(inherited, FunctionType):
        # A metaclass or a wrapper costs time at each call and hides the signature.
        parts = (inherited.__name__, inherited.__defaults__, inherited.__closure__)
        copy = FunctionType(inherited.__code__, inherited.__globals__, *parts)
        copy.__kwdefaults__ = inherited.__kwdefaults__
        functools.update_wrapper(copy, inherited)
        copy.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = copy
