"""TensorFlow.js layers models: `model.json` with the config and a list of arrays, and their bytes.

Teachable Machine's models are such, too. Graph models hold operations instead of layers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..._core.errors import FileError, short_repr
from .byte_range import ByteRange, JoinedRanges, Progress
from .npy import ArrayHeader, make_header, read_array, read_blocks
from .weight_file import SavedLayer, Weight, WeightFile

KEYS = ("modelTopology", "weightsManifest")
_CODES = {
    "float32": "<f4", "int32": "<i4", "bool": "|b1", "uint8": "|u1", "uint16": "<u2",
    "float16": "<f2",
}  # fmt: skip
_QUANTIZED = {"uint8": "|u1", "uint16": "<u2", "float16": "<f2"}
_LONGEST_NAME = 1000  # characters of an array's
_MOST_FILES = 500  # open at once
_NAME = re.compile(r"(?:\./)?([^/\\\0]+)")
_NUMBERED = re.compile(r"(?:.*/)?vars/[0-9]{1,9}")  # of Keras 3: "layers/dense/vars/0"
_AGAIN = "Convert or download it again."
_GRAPH = (
    "a graph model of TensorFlow.js: TensorFlow's operations, without Keras's layers. Convert the "
    "Keras model itself, or load the file that it was converted from"
)
_OPTIMIZER = "optimizer"

OpenFile = Callable[[str], ByteRange]


@dataclass(frozen=True)
class Quantization:
    """How numbers are stored: value = stored * scale + minimum."""

    scale: float
    minimum: float

    def restore(self, stored: Tensor) -> Tensor:
        """Return the values, computed in double precision as the converter does."""
        found: Tensor = (stored.double() * self.scale + self.minimum).float()
        return found


@dataclass(frozen=True, eq=False)
class _ArrayReader:
    """Reads one array."""

    where: str
    header: ArrayHeader
    window: JoinedRanges
    offset: int
    quantization: Quantization | None
    progress: Progress | None

    def __call__(self) -> Tensor:
        """Read the array into a new tensor."""
        place = self.where, self.header, self.window, self.offset, self.progress
        return self._restore(read_array(*place))

    def blocks(self) -> Iterator[Tensor]:
        """Yield its rows in order, in blocks of about a megabyte."""
        place = self.where, self.header, self.window, self.offset, self.progress
        yield from map(self._restore, read_blocks(*place))

    def _restore(self, stored: Tensor) -> Tensor:
        if self.quantization is not None:
            return self.quantization.restore(stored)
        return stored.float() if stored.dtype == torch.float16 else stored


def read_layers_model(
    source: str, value: Mapping[str, Any], open_file: OpenFile, progress: Progress | None
) -> WeightFile:
    """Return the contents of a `model.json`.

    Args:
        source: The file, for messages.
        value: Its content, as parsed JSON.
        open_file: Opens a file beside it.
        progress: Called with the number of bytes as arrays are read.
    """
    if "class_name" in value or "weight_map" in value:
        raise FileError(f"{source}: a file of Keras and a TensorFlow.js model at once.")
    config = _find_config(source, value)
    weights = _read_manifest(source, value.get("weightsManifest"), open_file, progress)
    known: dict[str, Any] = {"version": _find_version(value, config), "config": config}
    if weights and all(_NUMBERED.fullmatch(weight.path) for weight in weights):
        layers, ignored = _group_numbered(weights)
        known |= {"layout": "classes", "ignored": ignored}
    else:
        layers = (SavedLayer("", None, tuple(weights)),)
        known |= {"layout": "scopes", "in_order": False}
    return WeightFile(source, "TensorFlow.js layers model", layers, backend="tensorflow", **known)


def _find_config(source: str, value: Mapping[str, Any]) -> dict[str, Any]:
    found = value.get("modelTopology")
    topology = found if isinstance(found, dict) else {}
    if value.get("format") == "graph-model" or topology.keys() & {"node", "library"}:
        raise FileError(f"{source}: {_GRAPH}.")
    config = topology.get("model_config", topology)
    if not isinstance(config, dict) or "class_name" not in config:
        what = "a TensorFlow.js model without the config of its layers in `modelTopology`"
        raise FileError(f"{source}: {what}. Found: {short_repr(found)}. {_AGAIN}")
    return config


def _find_version(value: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Return the version of Keras, which TensorFlow.js's own models do not have."""
    found = config.get("keras_version", value["modelTopology"].get("keras_version"))
    return found if isinstance(found, str) and not found.startswith("tfjs") else None


def _read_manifest(
    source: str, manifest: Any, open_file: OpenFile, progress: Progress | None
) -> list[Weight]:
    """Return the weights; those of a group lie one after another in all of its files."""
    if not isinstance(manifest, list) or not all(isinstance(group, dict) for group in manifest):
        what = "`weightsManifest` must be a list of dicts"
        raise FileError(f"{source}: {what}. Found: {short_repr(manifest)}. {_AGAIN}")
    weights: list[Weight] = []
    used: set[str] = set()
    for number, group in enumerate(manifest):
        where = f"{source}: weightsManifest[{number}]"
        names = _read_names(where, group.get("paths"), used)
        window = JoinedRanges([open_file(name) for name in names])
        entries = group.get("weights")
        if not isinstance(entries, list):
            raise FileError(f"{where}: `weights` must be a list. {_AGAIN}")
        offset = 0
        for entry in entries:
            header, name, quantization = _read_entry(where, entry)
            place = header, window, offset, quantization, progress
            read = _ArrayReader(f"{where}: {name}", *place)
            dtype = "float32" if quantization or header.dtype == "float16" else header.dtype
            weights.append(Weight(name, name.rpartition("/")[2], header.shape, dtype, read))
            offset += header.nbytes
        if offset != window.size:
            what = f"arrays of {offset} bytes in files of {window.size}"
            raise FileError(f"{where}: {what}: {', '.join(names)[:200]}. {_AGAIN}")
    twice = [path for path, count in Counter(one.path for one in weights).items() if count > 1]
    if twice:
        raise FileError(f"{source}: two arrays of the same name: {sorted(twice)[:5]}. {_AGAIN}")
    return weights


def _read_names(where: str, paths: Any, used: set[str]) -> list[str]:
    """Return the names of a group's files, which must lie beside `model.json`."""
    names = []
    for path in paths if isinstance(paths, list) else [None]:
        match = _NAME.fullmatch(path) if isinstance(path, str) else None
        if match is None or match[1] in (".", "..") or match[1] in used:
            what = "`paths` must be names of files beside model.json, each once"
            raise FileError(f"{where}: {what}. Found: {short_repr(path)}. {_AGAIN}")
        used.add(match[1])
        names.append(match[1])
    if len(used) > _MOST_FILES:
        raise FileError(f"{where}: more than {_MOST_FILES} files.")
    return names


def _read_entry(where: str, entry: Any) -> tuple[ArrayHeader, str, Quantization | None]:
    """Return how an array is stored, its name, and how its numbers are restored."""
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise FileError(f"{where}: an array without a name. Found: {short_repr(entry)}. {_AGAIN}")
    where = f"{where}: {name[:200]}"
    shape, dtype, stored = entry.get("shape"), entry.get("dtype"), entry.get("quantization")
    sizes: list[Any] = shape if isinstance(shape, list) else [None]
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in sizes):
        raise FileError(f"{where}: no shape. Found: {short_repr(shape)}. {_AGAIN}")
    if not isinstance(dtype, str) or dtype not in _CODES:
        what = f"the dtype must be one of {', '.join(_CODES)}"
        raise FileError(f"{where}: {what}. Found: {short_repr(dtype)}. {_AGAIN}")
    if stored is None:
        return make_header(where, _CODES[dtype], tuple(sizes)), name, None
    kind = stored.get("dtype") if isinstance(stored, dict) else None
    if not isinstance(kind, str) or kind not in _QUANTIZED or dtype != "float32":
        what = "only float32 can be stored as uint8, uint16 or float16"
        raise FileError(f"{where}: {what}. Found: {dtype} as {short_repr(stored)}. {_AGAIN}")
    header = make_header(where, _QUANTIZED[kind], tuple(sizes))
    if kind == "float16":
        return header, name, None
    numbers = [stored.get("scale"), stored.get("min")]
    if not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        what = "a quantized array must have a finite `scale` and `min`"
        raise FileError(f"{where}: {what}. Found: {short_repr(stored)}. {_AGAIN}")
    return header, name, Quantization(*map(float, numbers))


def _group_numbered(weights: list[Weight]) -> tuple[tuple[SavedLayer, ...], tuple[str, ...]]:
    """Return the layers of a tree as Keras 3 has it, and the paths of the optimizer's arrays."""
    layers: dict[str, list[Weight]] = {}
    ignored = []
    for weight in sorted(weights, key=lambda one: int(one.path.rpartition("/")[2])):
        path = weight.path.rpartition("vars/")[0].rstrip("/")
        if path.partition("/")[0] == _OPTIMIZER:
            ignored.append(weight.path)
        else:
            layers.setdefault(path, []).append(replace(weight, name=None))
    return tuple(SavedLayer(path, None, tuple(w)) for path, w in layers.items()), tuple(ignored)
