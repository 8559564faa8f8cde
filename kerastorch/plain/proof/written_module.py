"""Modules of written text in memory: their source can be shown, and they can be pickled."""

from __future__ import annotations

import hashlib
import linecache
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from torch import nn


@lru_cache(maxsize=64)
def run_text(text: str) -> dict[str, Any]:
    """Run the text of a file as a module; return what it defines.

    Tracebacks, `inspect.getsource` and `torch.jit.script` find the text by its file name.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    filename = f"<kerastorch {digest}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    module = ModuleType(f"kerastorch_written_{digest}")
    module.__file__ = filename
    sys.modules[module.__name__] = module
    found = vars(module)
    exec(compile(text, filename, "exec"), found)
    for name, kind in list(found.items()):
        if isinstance(kind, type) and kind.__module__ == module.__name__:
            kind.__reduce_ex__ = _make_reduce(text, name)  # type: ignore[method-assign]
    return found


def make_module(text: str, class_name: str) -> nn.Module:
    """Return a new instance of a class of the text."""
    made: nn.Module = run_text(text)[class_name]()
    return made


def _make_reduce(text: str, name: str) -> Any:
    """Return `__reduce_ex__` of a class of the text: pickle finds no such class by its module."""

    def reduce(self: Any, protocol: Any) -> Any:
        return _make_empty, (text, name), vars(self)

    return reduce


def _make_empty(text: str, name: str) -> Any:
    """Return an instance without attributes, for pickle and `copy` to fill."""
    kind = run_text(text)[name]
    return kind.__new__(kind)
