"""The only way for text from a file into the written code: identifiers and literals."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Container
from typing import Any

from torch import nn

LONGEST = 40  # characters of an identifier

# What a module or a line of code already means.
_TAKEN = frozenset(
    {*dir(nn.Module), *vars(nn.Module()), *keyword.kwlist, *keyword.softkwlist}
    | {"self", "super", "torch", "nn", "F", "math", "T_destination", "print", "range", "x"}
)


def make_identifier(text: str, taken: Container[str], default: str = "layer") -> str:
    """Return an ASCII identifier for a name, numbered where it is taken.

    >>> make_identifier("block1/conv", {"block1_conv"})
    'block1_conv2'
    """
    name = re.sub(r"[^A-Za-z0-9]+", "_", text[: 4 * LONGEST]).strip("_")[:LONGEST].rstrip("_")
    if not name:
        name = default
    if name[0].isdigit():
        name = f"{default}_{name}"[:LONGEST].rstrip("_")
    found, number = name, 1
    while found in taken or found in _TAKEN:
        number += 1
        found = f"{name}_{number}" if name[-1].isdigit() else f"{name}{number}"
    return found


def make_class_name(text: str, taken: Container[str], default: str = "Model") -> str:
    """Return a class name in CapWords for a name, numbered where it is taken.

    >>> make_class_name("mobilenetv2_1.00", ())
    'Mobilenetv2100'
    """
    words = re.findall(r"[A-Za-z0-9]+", text[: 4 * LONGEST])
    name = "".join(word[0].upper() + word[1:] for word in words)[:LONGEST]
    if not name or name[0].isdigit():
        name = default
    return make_identifier(name, taken, default)


def clean_text(text: str, longest: int = 200) -> str:
    """Return text for a comment or docstring: printable ASCII, no quotes and no backslashes.

    >>> clean_text('a"b' + chr(10))
    'a?b?'
    """
    shown = re.sub(r"[^ !#-&(-\[\]-~]", "?", text[:longest])
    return shown if len(text) <= longest else f"{shown}..."


def format_literal(value: Any) -> str:
    r"""Return the source text of a number, string, bool, None, or a tuple, list or dict of these.

    >>> format_literal((1, 0.5, "a\"b"))
    '(1, 0.5, "a\\"b")'
    """
    kind = type(value)
    if kind in (tuple, list):
        inner = ", ".join(map(format_literal, value))
        if kind is list:
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if kind is dict:
        pairs = (f"{format_literal(key)}: {format_literal(own)}" for key, own in value.items())
        return f"{{{', '.join(pairs)}}}"
    if kind is float and not math.isfinite(value):
        return "math.nan" if math.isnan(value) else "math.inf" if value > 0 else "-math.inf"
    if value is None or kind in (bool, int, float):
        return repr(value)
    if kind is str:
        text = ascii(value)
        if text[0] == "'":
            inner = text[1:-1].replace("\\'", "'").replace('"', '\\"')
            text = f'"{inner}"'
        return text
    raise TypeError(f"no literal: {kind.__name__}")
