"""Conversion of a Keras file to PyTorch code and its weights: load, prove, write both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._comparison.result import Comparison
from .._comparison.side_by_side import compare
from ..plain.api import Source, to_source
from ..plain.proof.comparison import TOLERANCE, ProofError
from ..plain.proof.isolation import run_alone
from ..saving.model_loading import load_model
from .convert import find_recording, get_writer

CODE = ".py"
_TOLERANCE_IN_SINGLE = 1e-5


@dataclass(frozen=True)
class WrittenCode:
    """The result of `write_code`; nothing is written if the values differ from the reference."""

    file: Path
    output: Path
    weights: Path
    written: bool
    source: Source
    comparison: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        """Return the result ready for JSON."""
        proof = self.source.proof
        return {
            "source": str(self.file),
            "output": str(self.output),
            "weights": str(self.weights),
            "written": self.written,
            "class": self.source.class_name,
            "names": dict(self.source.names),
            "proof": {
                "operations": proof.operations,
                "batches": list(proof.batches),
                "sizes": list(proof.sizes),
                "difference": proof.difference,
            },
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }

    def __str__(self) -> str:
        """Return what was compared and written."""
        compared = [] if self.comparison is None else [str(self.comparison), ""]
        if not self.written:
            return "\n".join([*compared, f"{self.output}: not written"])
        lines = self.source.text.count("\n")
        tensors = self.source.state.values()
        size = sum(tensor.nbytes for tensor in tensors) / 1e6
        return "\n".join(
            [
                *compared,
                f"{self.output}: class {self.source.class_name}, {lines} lines",
                f"{self.weights}: {len(tensors)} tensors, {size:.1f} MB",
                str(self.source.proof),
                "A fresh Python without kerastorch loaded both files, strictly: the same outputs.",
            ]
        )


def write_code(
    file: Path,
    output: Path,
    weights: Path | None,
    reference: Path | None,
    progress: Any,
    *,
    weights_suffix: str = ".safetensors",
    options: Mapping[str, Any],
) -> WrittenCode:
    """Load a Keras model, write its PyTorch code and its state dict beside it, or neither.

    Args:
        file: The Keras file.
        output: The file of the code; the weights get its name with `weights_suffix`.
        weights: The file of the Keras weights, if it is another one.
        reference: A recording to compare the model with; by default the one next to the file.
        progress: Called with the number of bytes read.
        weights_suffix: ".safetensors" or ".pt".
        options: Arguments of `to_source`.

    Raises:
        ProofError: The code computes something else than the model.
    """
    save = get_writer(weights_suffix)
    target = output.with_suffix(weights_suffix)
    model = load_model(file, weights=weights, progress=progress)
    recorded = reference or find_recording(file)
    comparison = None if recorded is None else compare(model, recorded)
    source = to_source(model, weights_file=target.name, **options)
    agrees = comparison is None or comparison.ok
    result = WrittenCode(file, output, target, agrees, source, comparison)
    if not agrees:
        return result
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        text, state = Path(folder, output.name), Path(folder, target.name)
        text.write_text(source.text, encoding="utf-8")
        save({name: one.contiguous() for name, one in source.state.items()}, state)
        outputs = Path(folder, "outputs.pt")
        inference = bool(options.get("inference"))
        tolerance = _TOLERANCE_IN_SINGLE if inference else TOLERANCE
        dtype = torch.float32 if inference else torch.float64
        torch.save(_list_samples(source, dtype), outputs)
        problem = run_alone(text, state, outputs, source.class_name, tolerance)
        if problem:
            raise ProofError(f"{output}: in a fresh Python: {problem}.")
        _replace_both((state, target), (text, output))
    return result


def _list_samples(source: Source, dtype: torch.dtype) -> dict[str, Any]:
    """Return what `run_alone` compares: inputs and outputs of a floating-point dtype."""

    def cast(tensors: list[Tensor]) -> list[Tensor]:
        return [one.to(dtype) if one.is_floating_point() else one for one in tensors]

    pairs = [(cast(inputs), cast(outputs)) for inputs, outputs in source.proof.samples]
    return {"dtype": dtype, "pairs": pairs}


def _replace_both(*pairs: tuple[Path, Path]) -> None:
    """Move files to their places; put back what they replaced if one cannot be moved."""
    kept: list[tuple[Path, Path]] = []
    moved: list[Path] = []
    try:
        for new, place in pairs:
            if place.exists():
                backup = new.with_name(f"{new.name}.before")
                place.replace(backup)
                kept.append((backup, place))
            new.replace(place)
            moved.append(place)
    except OSError as error:
        for place in moved:
            with suppress(OSError):
                place.unlink()
        for backup, place in kept:
            backup.replace(place)
        raise OSError(error.errno, error.strerror or str(error), str(pairs[-1][1])) from error
