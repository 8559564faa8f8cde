"""The functions, classes and comments that a text uses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .. import printed
from .constructors import is_own

HELPERS: dict[str, Any] = {  # by name: the functions and classes of `plain.printed`
    name: one
    for module in filter(inspect.ismodule, vars(printed).values())
    for name, one in vars(module).items()
    if getattr(one, "__module__", "") == module.__name__
}


class Vocabulary:
    """Names functions and classes, and keeps which of them the text uses.

    Attributes:
        helpers: The functions and classes of `plain.printed` that the text uses.
        uses: The names that the text needs: "F", "torch", "math".
        own_imports: The lines that import modules of your own which the text uses.
    """

    def __init__(self, imports: Mapping[str, str]) -> None:
        self.imports, self.own_imports = imports, set[str]()
        self.helpers: dict[str, Any] = {}
        self.uses: set[str] = set()
        self.comments: set[str] = set()

    def name_class(self, kind: type) -> str:
        """Return how the text names a class of torch or `plain.printed`."""
        if getattr(nn, kind.__name__, None) is kind:
            return f"nn.{kind.__name__}"
        if is_own(kind):
            self.own_imports.add(self.imports[kind.__name__])
            return kind.__name__
        return self.name_helper(kind)

    def name_helper(self, helper: Any) -> str:
        """Return the name of a function or class that is printed into the text."""
        self.helpers[helper.__name__] = helper
        return str(helper.__name__)

    def name_function(self, function: Callable[..., Any]) -> str:
        """Return how the text names a function."""
        if (getattr(function, "__module__", None) or "").startswith(printed.__name__):
            return self.name_helper(function)
        for prefix, namespace in (("F", F), ("torch", torch), ("torch.linalg", torch.linalg)):
            # F.logsigmoid has another name of its own; that of F.threshold is private.
            own = sorted([function.__name__, *vars(namespace)], key=lambda one: one[0] == "_")
            name = next((one for one in own if getattr(namespace, one, None) is function), None)
            if name is not None:
                self.uses.add(prefix.split(".")[0])
                return f"{prefix}.{name}"
        raise TypeError(f"no name for {function!r}")

    def take_comment(self, comment: str | None) -> str | None:
        """Return a comment where it is printed for the first time."""
        if comment in self.comments:
            return None
        if comment is not None:
            self.comments.add(comment)
        return comment

    def print_helpers(self) -> list[str]:
        """Return the text of the functions and classes that the classes use."""
        found: dict[str, str] = {}  # name -> text, what a helper needs before it
        for name in self.helpers:
            _add_helper(name, found)
        return list(found.values())


def _add_helper(name: str, found: dict[str, str]) -> None:
    """Add the text of a helper, after those of the helpers that it names."""
    if name in found:
        return
    text = inspect.getsource(HELPERS[name]).rstrip()
    for other in HELPERS:
        if other != name and re.search(rf"(?<![.\w]){other}[(),]", text):
            _add_helper(other, found)
    found[name] = text
