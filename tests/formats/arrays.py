"""Arrays, and the files NumPy makes of them."""

from __future__ import annotations

import struct
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from kerastorch.saving.formats.open import open_weight_file

KERNEL = np.arange(24, dtype="float32").reshape(1, 2, 3, 4)
BIAS = np.array([0.5, -1.0, 2.0, 4.0], "float32")
ARRAYS = {
    "C": KERNEL,
    "Fortran": np.asfortranarray(KERNEL),
    "moved": np.moveaxis(KERNEL, 1, 3),
    "every other": KERNEL[:, :, ::2],
    "backwards": KERNEL[..., ::-1],
    "big-endian": KERNEL.astype(">f4"),
    "big-endian int": np.arange(-3, 5).astype(">i2"),
    "bool": np.array([True, False, True]),
    "one number": np.array(7.5),
    "no axis": np.float32(2.5),
    **{f"int{n}": np.arange(-2, 3).astype(f"int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}": np.array([0, 1, 2**n - 1], f"uint{n}") for n in (8, 16, 32, 64)},
    **{f"float{n}": np.array([0.5, -np.inf, np.nan], f"float{n}") for n in (16, 32, 64)},
    "empty": np.zeros((0, 3), "float32"),
}
BFLOAT16 = torch.tensor([1.5, -2.0, 3e38], dtype=torch.bfloat16)


def values(path: Path) -> dict[str, list[tuple]]:
    """Layer's path -> (path, name, array) of its weights, bfloat16 as a tensor."""
    with open_weight_file(path) as contents:
        assert contents.named_by_caller
        assert contents.source == str(path)
        found = {}
        for layer in contents.layers:
            found[layer.path] = []
            for weight in layer.weights:
                tensor = weight.read()
                assert (tuple(tensor.shape), f"torch.{weight.dtype}") == (
                    weight.shape,
                    str(tensor.dtype),
                )
                assert tensor.is_contiguous()
                bare = tensor if tensor.dtype is torch.bfloat16 else tensor.numpy()
                found[layer.path].append((weight.path, weight.name, bare))
        return found


def plain(path: Path) -> list[np.ndarray]:
    """The arrays of a file without layers, in order."""
    found = values(path)
    assert list(found) == [""]
    assert [name for _, name, _ in found[""]] == [None] * len(found[""])
    return [array for _, _, array in found[""]]


def npy(header: str, data: bytes, version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def npy_of(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path
