"""Small HDF5 files for tests."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch

from kerastorch.saving.formats.byte_range import ByteRange
from kerastorch.saving.formats.hdf5 import objects, reader

KERNEL = np.arange(1.0, 121.0, dtype="f4").reshape(2, 3, 4, 5)


def opened(path: Path) -> ByteRange:
    data = path.read_bytes()
    (path.parent / "copy").write_bytes(data)
    return ByteRange((path.parent / "copy").open("rb", buffering=0), 0, len(data))


def root_of(path: Path) -> objects.Group:
    window = opened(path)
    try:
        return reader.read_tree("file", window)
    finally:
        window.file.close()


def tensor_of(path: Path, name: str = "a") -> torch.Tensor:
    window = opened(path)
    try:
        return reader.read_tree("file", window).members[name]()
    finally:
        window.file.close()


def written(path: Path, value=KERNEL, **options) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=value, **options)
    return path
