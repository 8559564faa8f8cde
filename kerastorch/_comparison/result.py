"""Comparison: what `compare` found, as a table and in plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .causes import Cause


@dataclass(frozen=True)
class LayerDifference:
    """How far one output of one call of a layer is from the reference's.

    Attributes:
        layer: The layer's name in the reference, after those of the models that it is in.
        kind: Its class there.
        call: Which call of the layer it is, from 0.
        output: Which output of the call it is, from 0.
        shape: The reference's shape.
        found: The model's shape; it may have the channels second.
        absolute: The largest absolute difference.
        relative: That, divided by the largest absolute number of the reference.
        ok: Whether it is within the tolerance, or made up for by what comes after it.
        note: Why it is ok though it differs; empty otherwise.
    """

    layer: str
    kind: str
    call: int
    output: int
    shape: tuple[int, ...]
    found: tuple[int, ...]
    absolute: float
    relative: float
    ok: bool
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """A model's numbers beside the reference's; `print` shows it as a table.

    Attributes:
        ok: Whether all outputs and all layers agree.
        layers: The layers that both have, in the order in which the model called them.
        first: The first of them that differs, else the first output that does, or None.
        cause: What that one's difference vanishes with, or None.
        outputs: The model's outputs.
        missing: The reference's layers that the model has no module for, or does not call.
        error: Why the model stopped on the reference's inputs, or None.
        reference: What it was compared with.
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
        """Return it in dicts, lists, strings and numbers; what is infinite is None."""
        found: dict[str, Any] = _without_infinities(asdict(self))
        return found

    def __str__(self) -> str:
        """Return a table of all layers, and below it what to know of the first that differs."""
        heads = ("layer", "class", "shape", "absolute", "relative", "")
        lines = [heads, *map(_cells, (*self.layers, *self.outputs))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*text, *self._remarks()])

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


def _label(row: LayerDifference) -> str:
    """Return a layer's name, and which call and output it is where there are several."""
    call = f" call {row.call + 1}" if row.call else ""
    output = f" output {row.output + 1}" if row.output else ""
    return f"{row.layer}{call}{output}"


def _cells(row: LayerDifference) -> tuple[str, ...]:
    shape = (
        str(row.shape)
        if sorted(row.shape) == sorted(row.found)
        else (f"{row.shape}, here {row.found}")
    )
    verdict = "ok" if row.ok else "differs"
    verdict = f"{verdict}: {row.note}" if row.note else verdict
    return _label(row), row.kind, shape, f"{row.absolute:.1e}", f"{row.relative:.1e}", verdict


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinities(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_infinities(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
