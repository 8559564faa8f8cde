"""The report of `load_weights`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LoadEntry:
    """One weight of a module, one array of a source, or both.

    Attributes:
        target: The path in the module, "conv1.weight"; None if unexpected.
        source: The path in the source, "layers/conv2d/vars/0"; None if missing.
        shape: The shape in Keras's axis order; None if missing and not yet built.
        dtype: The dtype in the source, or in the module if missing.
    """

    target: str | None
    source: str | None
    shape: tuple[int, ...] | None
    dtype: str


@dataclass(frozen=True)
class LoadReport:
    """The result of `load_weights`.

    Attributes:
        source: The path of the file, or a description of the object.
        format: A description of the format.
        matched: How it was matched: "name", "order", "name and order" if some names differ, or
            "structure" if the model's config gives the position of each layer.
        loaded: The weights that were loaded, with their sources.
        unexpected: The arrays of the source that match nothing in the module.
        missing: The weights of the module that the source does not have; they are unchanged.
        warnings: Possible causes of differences from Keras.
    """

    source: str
    format: str
    matched: str
    loaded: tuple[LoadEntry, ...]
    unexpected: tuple[LoadEntry, ...] = ()
    missing: tuple[LoadEntry, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report ready for JSON."""
        found = asdict(self)
        for entry in (*found["loaded"], *found["unexpected"], *found["missing"]):
            entry["shape"] = None if entry["shape"] is None else list(entry["shape"])
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}

    def __repr__(self) -> str:
        """Return the counts."""
        groups = ("loaded", "unexpected", "missing", "warnings")
        counts = ", ".join(f"{len(getattr(self, group))} {group}" for group in groups)
        return f"<LoadReport of {self.source}: {counts}, by {self.matched}>"

    def __str__(self) -> str:
        """Return a table of the weights and their sources."""
        groups = (
            (self.loaded, "", ""),
            (self.missing, "(missing)", ""),
            (self.unexpected, "", "(unexpected)"),
        )
        rows = []
        for entries, source, target in groups:
            for e in entries:
                shape = "" if e.shape is None else str(e.shape)
                rows.append((e.target or target, e.source or source, shape, e.dtype))
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        head = f"{self.source} ({self.format}), matched by {self.matched}"
        return "\n".join([head, *lines, *(f"warning: {text}" for text in self.warnings)])
