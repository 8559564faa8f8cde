"""Conversion of a Keras file to a state dict: load, compare with a reference, write."""

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
from ..dtype_policies import get_dtype_name
from ..saving.model_loading import load_model

FORMATS = (".pt", ".safetensors")
_State = dict[str, Tensor]


@dataclass(frozen=True)
class Conversion:
    """The result of `convert`; nothing is written if the values differ from the reference."""

    source: Path
    output: Path
    written: bool
    model: nn.Module
    comparison: Comparison | None

    @property
    def size(self) -> int:
        """The size of the state dict in bytes."""
        return sum(tensor.nbytes for tensor in self.model.state_dict().values())

    def to_dict(self) -> dict[str, Any]:
        """Return the result ready for JSON."""
        return {
            "source": str(self.source),
            "output": str(self.output),
            "written": self.written,
            "tensors": {
                name: {"shape": list(tensor.shape), "dtype": get_dtype_name(tensor.dtype)}
                for name, tensor in self.model.state_dict().items()
            },
            "bytes": self.size,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }

    def __str__(self) -> str:
        """Return the model's table, the comparison's table, and what was written."""
        compared = [] if self.comparison is None else [self.comparison]
        amount = f"{len(self.model.state_dict())} tensors, {self.size / 1e6:.1f} MB"
        end = f"{self.output}: {amount if self.written else 'not written'}"
        return "\n\n".join(map(str, [self.model, *compared, end]))


def convert(
    source: Path, output: Path, weights: Path | None, reference: Path | None, progress: Any
) -> Conversion:
    """Load a Keras model, compare it with a reference, and write its state dict.

    The output, whose suffix is one of FORMATS, is replaced atomically; its bytes depend on the
    source only. The default reference is the recording next to the source, if present.
    """
    save = get_writer(output.suffix)
    model = load_model(source, weights=weights, progress=progress)
    recorded = reference or find_recording(source)
    comparison = None if recorded is None else compare(model, recorded)
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    agrees = comparison is None or comparison.ok
    if agrees:
        _replace_file(output, lambda path: save(state, path))
    return Conversion(source, output, agrees, model, comparison)


def find_recording(source: Path) -> Path | None:
    """Return the recording next to a Keras file, or None."""
    stem = source.name.removesuffix(source.suffix).removesuffix(".weights")
    path = source.with_name(f"{stem}.reference.npz")
    return path if path.is_file() else None


def get_writer(suffix: str) -> Callable[[_State, Path], None]:
    """Return the function that writes a state dict to a file with a suffix of FORMATS."""
    return _save_pt if suffix == ".pt" else _get_safetensors_writer()


def _save_pt(state: _State, path: Path) -> None:
    with path.open("wb") as file:  # given a path, torch stores its name in the file
        torch.save(state, file)


def _get_safetensors_writer() -> Callable[[_State, Path], None]:
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        remedy = 'safetensors, which is not installed. Run: pip install "kerastorch[files]"'
        raise ImportError(f"convert: .safetensors files require {remedy}") from error

    def save(state: _State, path: Path) -> None:
        separate: _State = {}
        seen: set[int] = set()
        for name, tensor in state.items():  # the format does not allow shared memory
            storage = tensor.untyped_storage().data_ptr()
            separate[name] = tensor.clone() if storage in seen else tensor
            seen.add(storage)
        save_file(separate, path, {"format": "pt"})  # with several entries, the order is random

    return save


def _replace_file(output: Path, write: Callable[[Path], None]) -> None:
    """Write to a temporary file in the same directory, then rename it."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        part.touch()  # for the system's own error message
        write(part)
        part.replace(output)
    except OSError as error:  # which names the temporary file
        raise OSError(error.errno, error.strerror or str(error), str(output)) from error
    except MemoryError:
        raise
    except Exception as error:  # torch's own follow the system's, as their context
        reason = error.__context__ or error
        raise OSError(f"{output}: could not be written: {reason}") from error
    finally:
        with suppress(OSError):
            part.unlink()
