"""Comparison: the result of `compare`, as a table and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .causes import Cause
from .recording import mapped


@dataclass(frozen=True)
class LayerDifference:
    """The difference of one output of one call of a layer from the reference's."""

    layer: str  # the path in the reference: "encoder/conv1"
    kind: str  # the class there
    call: int  # its index among the layer's calls
    output: int  # its index among the call's outputs
    shape: tuple[int, ...]  # the reference's
    found: tuple[int, ...]  # the model's, possibly with the channels second
    absolute: float  # the largest difference
    relative: float  # that, divided by the largest absolute value of the reference
    ok: bool  # whether it is within the tolerance, or compensated for later in the model
    note: str = ""  # why it is ok though it differs


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`; `print` shows it as a table.

    Attributes:
        ok: Whether all outputs and all layers agree.
        layers: The layers that both have, in the order in which the model called them.
        first: The first of them that differs, else the first output that differs, or None.
        cause: The likely cause of that difference, or None.
        outputs: The model's outputs.
        missing: The reference's layers that the model has no module for, or does not call.
        error: The error that stopped the model on the reference's inputs, or None.
        reference: What the model was compared with.
        rtol: The tolerance.
    """

    ok: bool
    layers: tuple[LayerDifference, ...]
    first: LayerDifference | None
    cause: Cause | None
    outputs: tuple[LayerDifference, ...]
    missing: tuple[str, ...]
    error: str | None
    reference: str
    rtol: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers, with None for infinity."""
        found: dict[str, Any] = mapped(_without_infinity, asdict(self))
        return found

    def __str__(self) -> str:
        """Return a table of all layers, and remarks on the first that differs."""
        heads = ("layer", "class", "shape", "absolute", "relative", "")
        rows = map(_cells, (*self.layers, *self.outputs))
        return "\n".join([*format_table(heads, *rows), *self._remarks()])

    def _remarks(self) -> Iterator[str]:
        if self.missing:
            yield f"not in the model, and not compared: {', '.join(self.missing)}"
        if self.error is not None:
            yield f"the model stopped: {self.error}"
        if self.ok:
            yield f"The model agrees with {self.reference}, within {self.rtol:g}."
            return
        yield f"The model differs from {self.reference} by more than {self.rtol:g}."
        if self.first is not None:
            yield f"The first to differ is {_label(self.first)}."
        if self.cause is not None:
            yield f"Likely cause: {self.cause.name}. {self.cause}"
        elif self.first is not None:
            yield "No known mistake explains it."


def format_table(*rows: tuple[str, ...]) -> Iterator[str]:
    """Yield each row as a line, with its cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _label(row: LayerDifference) -> str:
    """Return a layer's name, with the call and output after the first."""
    call = f" call {row.call + 1}" if row.call else ""
    output = f" output {row.output + 1}" if row.output else ""
    return f"{row.layer}{call}{output}"


def _cells(row: LayerDifference) -> tuple[str, ...]:
    shape = str(row.shape)
    if sorted(row.shape) != sorted(row.found):
        shape += f", here {row.found}"
    verdict = ("ok" if row.ok else "differs") + (f": {row.note}" if row.note else "")
    return _label(row), row.kind, shape, f"{row.absolute:.1e}", f"{row.relative:.1e}", verdict


def _without_infinity(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
