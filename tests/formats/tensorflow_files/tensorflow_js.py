"""TensorFlow.js models: `model.json`, and files of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Model:
    """The JSON of a model, and the bytes of its only group of weights; both may be changed."""

    json: dict[str, Any]
    data: bytes
    names: list[str]  # of the files that the data is cut into
    most: int  # bytes in each of them but the last

    @property
    def group(self) -> dict[str, Any]:
        """The group's entry in the manifest."""
        return self.json["weightsManifest"][0]

    def files(self) -> dict[str, bytes]:
        """Return name -> content."""
        starts = [number * self.most for number in range(len(self.names))]
        parts = [self.data[at : at + self.most] for at in starts[:-1]]
        parts += [self.data[at:] for at in starts[-1:]]
        text = json.dumps(self.json).encode()
        return {"model.json": text, **dict(zip(self.names, parts, strict=True))}


def quantize(array: np.ndarray, dtype: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return an array in fewer bits, and how to undo it."""
    known = {"dtype": dtype, "original_dtype": array.dtype.name}
    if dtype == "float16":
        return array.astype(dtype), known
    least, most = float(array.min()), float(array.max())
    scale = (most - least) / np.iinfo(dtype).max or 1.0
    steps = np.round((array.astype("float64") - least) / scale)
    return steps.astype(dtype), {**known, "min": least, "scale": scale}


def build_model(
    topology: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    *,
    quantized: str | None = None,
    most: int = 4 << 20,
    **changed: Any,
) -> Model:
    """Return a model.

    Args:
        topology: `modelTopology`: `{"model_config": config}` of the converter, or the config
            itself, as a browser writes it.
        weights: Name -> array.
        quantized: The dtype to which weights of float32 are quantized.
        most: How many bytes a file of weights has at most.
        changed: Other entries of `model.json`; None leaves one out.
    """
    entries, data = [], b""
    for name, array in weights.items():
        entry = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        stored = array
        if quantized and array.dtype == np.float32:
            stored, entry["quantization"] = quantize(array, quantized)
        entries.append(entry)
        data += stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    count = -(-len(data) // most)
    names = [f"group1-shard{number + 1}of{count}.bin" for number in range(count)]
    found: dict[str, Any] = {
        "format": "layers-model",
        "generatedBy": "keras v2.15.0",
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "modelTopology": dict(topology),
        "weightsManifest": [{"paths": names, "weights": entries}],
        **changed,
    }
    kept = {key: value for key, value in found.items() if value is not None}
    return Model(kept, data, list(names), most)
