"""README's table of layers, written from the registry.

    python -m tests.architecture.layer_table

rewrites the table in README.md.
"""

from __future__ import annotations

import re

from kerastorch import layers
from kerastorch._core.registry import LAYERS

from .documents import README

BEGIN, END = "<!-- layers: python -m tests.architecture.layer_table -->", "<!-- layers end -->"


def names_of(layer: type) -> str:
    """Return the layer's name and its aliases in `kerastorch.layers`."""
    name = layer.__name__
    aliases = sorted(n for n, found in vars(layers).items() if found is layer and n != name)
    return f"`{name}`" + (f" ({', '.join(f'`{alias}`' for alias in aliases)})" if aliases else "")


def layer_table() -> str:
    """Return the table: one row for each family, which is a folder of `kerastorch/layers`."""
    families: dict[str, list[str]] = {}
    for name in sorted(LAYERS):
        family = LAYERS[name].__module__.split(".")[2]
        families.setdefault(family, []).append(names_of(LAYERS[name]))
    rows = [f"| {family} | {', '.join(found)} |" for family, found in sorted(families.items())]
    return "\n".join(["| family | layers and their aliases |", "| --- | --- |", *rows])


def with_table(text: str) -> str:
    """Return README's text with the table of today."""
    return re.sub(
        f"(?<={BEGIN}\n).*(?={END})", lambda _: f"{layer_table()}\n", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
