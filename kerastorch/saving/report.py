"""The report of what was loaded from where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LoadEntry:
    """One weight of a module, one array of a source, or both.

    Attributes:
        target: The path in the module, "conv1.weight"; None for what nothing took.
        source: The path in the source, "layers/conv2d/vars/0"; None for what was not there.
        shape: The shape in Keras's order of axes; None while a missing weight has none.
        dtype: The type of the numbers in the source, or in the module where it is missing.
    """

    target: str | None
    source: str | None
    shape: tuple[int, ...] | None
    dtype: str


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Attributes:
        source: What was loaded: the file's path.
        format: What it is, in words.
        matched: How it was matched: "name", "order", "name and order" where some have no name in
            common, or "structure" where the model's own config says where each layer is.
        loaded: What was loaded from where.
        unused: What nothing in the module took.
        missing: What stayed as it was, since the source does not have it.
        warnings: What may make the numbers differ from Keras's.
    """

    source: str
    format: str
    matched: str
    loaded: tuple[LoadEntry, ...]
    unused: tuple[LoadEntry, ...] = ()
    missing: tuple[LoadEntry, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts, lists and strings, ready for JSON."""
        found = asdict(self)
        for group in ("loaded", "unused", "missing"):
            found[group] = [
                {**entry, "shape": None if entry["shape"] is None else list(entry["shape"])}
                for entry in found[group]
            ]
        return {**found, "warnings": list(self.warnings)}

    def __repr__(self) -> str:
        """Return the counts."""
        counts = (
            f"{len(getattr(self, group))} {group}"
            for group in ("loaded", "unused", "missing", "warnings")
        )
        return f"<LoadReport of {self.source}: {', '.join(counts)}, by {self.matched}>"

    def __str__(self) -> str:
        """Return a table: the module's weights, and where each one came from."""
        rows = list(self._rows())
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        head = f"{self.source} ({self.format}), matched by {self.matched}"
        return "\n".join([head, *lines, *(f"warning: {text}" for text in self.warnings)])

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for entries, source, target in (
            (self.loaded, "", ""),
            (self.missing, "(missing)", ""),
            (self.unused, "", "(unused)"),
        ):
            for entry in entries:
                shape = "" if entry.shape is None else str(entry.shape)
                yield entry.target or target, entry.source or source, shape, entry.dtype
