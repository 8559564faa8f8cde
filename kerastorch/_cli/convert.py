"""Converting a file of Keras's to a state dict: load, compare with a recording, write."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._comparison.result import Comparison
from .._comparison.side_by_side import compare
from .._core.errors import problem
from ..saving.model_loading import load_model

FORMATS = (".pt", ".safetensors")


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        source: The file of Keras's.
        output: What was to be written.
        written: Whether it was: not where the numbers differ from the reference's.
        model: The model.
        comparison: The model beside the reference, or None where there is none.
        tensors: The number of tensors in the state dict.
        size: Their size in bytes.
    """

    source: Path
    output: Path
    written: bool
    model: nn.Module
    comparison: Comparison | None
    tensors: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return it in dicts, lists, strings and numbers."""
        state = self.model.state_dict()
        return {
            "source": str(self.source),
            "output": str(self.output),
            "written": self.written,
            "tensors": {
                name: {
                    "shape": list(tensor.shape),
                    "dtype": str(tensor.dtype).removeprefix("torch."),
                }
                for name, tensor in state.items()
            },
            "bytes": self.size,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }

    def __str__(self) -> str:
        """Return the model's table, the comparison's table, and what was written."""
        parts = [str(self.model)]
        if self.comparison is not None:
            parts.append(str(self.comparison))
        amount = f"{self.tensors} tensors, {self.size / 1e6:.1f} MB"
        parts.append(f"{self.output}: {amount if self.written else 'not written'}")
        return "\n\n".join(parts)


def convert(
    source: Path,
    output: Path,
    *,
    weights: Path | None = None,
    reference: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> Conversion:
    """Load a model of Keras's, compare it with a recording, and write its state dict.

    The same source gives the same bytes, whatever the output's name.

    Args:
        source: What `load_model` takes.
        output: The file to write: `.pt` for `torch.load`, or `.safetensors`. It is replaced as a
            whole or not at all.
        weights: Where the weights are, if not in `source`.
        reference: What `compat/record_reference.py` recorded; by default the file that it writes
            beside `source`, where there is one.
        progress: Called with the number of bytes as the arrays are read.

    Raises:
        ValueError: a file is refused.
        OSError: a file cannot be read or written.
        ImportError: a library is not installed.
    """
    save = _saver(output)
    model = load_model(source, weights=weights, progress=progress)
    recorded = reference or recorded_beside(source)
    comparison = None if recorded is None else compare(model, recorded)
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    agrees = comparison is None or comparison.ok
    if agrees:
        _replaced(output, lambda path: save(state, path))
    size = sum(tensor.nbytes for tensor in state.values())
    return Conversion(source, output, agrees, model, comparison, len(state), size)


def recorded_beside(source: Path) -> Path | None:
    """Return the recording that lies beside a file of Keras's, or None."""
    stem = source.name.removesuffix(source.suffix).removesuffix(".weights")
    path = source.with_name(f"{stem}.reference.npz")
    return path if path.is_file() else None


def _saver(output: Path) -> Callable[[dict[str, Tensor], Path], None]:
    if output.suffix not in FORMATS:
        rule = f"a file that ends in {' or '.join(FORMATS)}"
        raise ValueError(problem("convert", "output", rule, str(output)))
    return _save_pt if output.suffix == ".pt" else _safetensors_saver()


def _save_pt(state: dict[str, Tensor], path: Path) -> None:
    with path.open("wb") as file:  # of a path, torch stores the name
        torch.save(state, file)


def _safetensors_saver() -> Callable[[dict[str, Tensor], Path], None]:
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        remedy = 'safetensors, which is not installed. Run: pip install "kerastorch[files]"'
        raise ImportError(f"convert: .safetensors files take {remedy}") from error

    def save(state: dict[str, Tensor], path: Path) -> None:
        apart: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, tensor in state.items():  # the format has no tensors that share memory
            storage = tensor.untyped_storage().data_ptr()
            apart[name] = tensor.clone() if storage in seen else tensor
            seen.add(storage)
        save_file(apart, path, {"format": "pt"})  # of several, the order is random

    return save


def _replaced(output: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside the place where it belongs, and put it there once it is whole."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        part.touch()  # the system says best why a file cannot be made
        write(part)
        part.replace(output)
    except OSError as error:  # which names the part
        raise OSError(error.errno, error.strerror or str(error), str(output)) from error
    except MemoryError:
        raise
    except Exception as error:  # torch and safetensors have their own, torch's after the system's
        reason = error.__context__ or error
        raise OSError(f"{output}: could not be written: {reason}") from error
    finally:
        with suppress(OSError):
            part.unlink()
