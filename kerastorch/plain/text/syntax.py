"""The tables and rules by which code is laid out: operators, lines and comments."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

WIDTH = 100
INDENT = "    "

# Operators by precedence: the symbol, and how tightly it binds.
OPERATORS: dict[Any, tuple[str, int]] = {
    operator.add: ("+", 1),
    operator.sub: ("-", 1),
    operator.mul: ("*", 2),
    operator.truediv: ("/", 2),
    operator.floordiv: ("//", 2),
    operator.mod: ("%", 2),
    operator.matmul: ("@", 2),
    operator.pow: ("**", 4),
    operator.and_: ("&", 0),
    operator.or_: ("|", 0),
    operator.ne: ("!=", -1),
    operator.eq: ("==", -1),
    operator.lt: ("<", -1),
    operator.le: ("<=", -1),
    operator.gt: (">", -1),
    operator.ge: (">=", -1),
}
ATOM = 9  # binds tighter than any operator

# What a line begins with: its input is a name, not the expression before it.
STARTS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.LSTM, nn.GRU, nn.RNN, nn.Embedding, nn.Sequential, fx.GraphModule),
)
STARTING_FUNCTIONS: frozenset[Any] = frozenset({
    F.pad, torch.cat, torch.stack, F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d,
    F.avg_pool2d, F.avg_pool3d, F.interpolate, F.scaled_dot_product_attention,
})  # fmt: skip


def add_comment(lines: Iterator[str], comment: str | None, indent: int) -> Iterator[str]:
    """Yield lines with a comment at the end of the only one, or above them."""
    found = list(lines)
    if comment is not None:
        end = f"  # {comment}"
        if len(found) == 1 and len(found[0]) + len(end) + indent <= WIDTH:
            found[0] += end
        else:
            yield f"# {comment}"
    yield from found


def break_call(head: str, arguments: Sequence[str], indent: int) -> Iterator[str]:
    """Yield the lines of `head(arguments)` as ruff breaks them, `indent` columns being taken."""
    line = f"{head}({', '.join(arguments)})"
    if len(line) + indent <= WIDTH:
        yield line
        return
    inner = ", ".join(arguments)
    if len(inner) + indent + 4 <= WIDTH:
        yield from (f"{head}(", f"{INDENT}{inner}", ")")
        return
    yield f"{head}("
    yield from (f"{INDENT}{one}," for one in arguments)
    yield ")"
