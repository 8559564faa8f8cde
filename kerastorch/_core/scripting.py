"""The refusal of `torch.jit.script`, with what to use instead."""

from __future__ import annotations

from typing import NoReturn

from .errors import argument_error

_REMEDY = (
    "Trace the whole module with `torch.jit.trace(module, inputs)` under `torch.no_grad()`, or "
    "export it with `torch.export.export(module, (inputs,))`."
)
_PLAIN = " `layer.to_torch()` gives plain modules of torch.nn, which can be scripted."


class NotScriptable:
    """A mixin for modules that `torch.jit.script` refuses, also within other modules."""

    def __prepare_scriptable__(self) -> NoReturn:
        """Raise: `torch.jit.script` calls this on every module in a tree before it compiles."""
        rule = "a module without layers and models of kerastorch"
        remedy = _REMEDY + (_PLAIN if hasattr(self, "to_torch") else "")
        message = argument_error("torch.jit.script", "obj", rule, type(self).__name__, remedy)
        raise NotImplementedError(message)
