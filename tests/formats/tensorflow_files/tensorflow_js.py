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

    @property
    def group(self) -> dict[str, Any]:
        """The group's entry in the manifest."""
        return self.json["weightsManifest"][0]

    def files(self, *, most: int = 4 << 20) -> dict[str, bytes]:
        """Return name -> content; the data is cut where a file has `most` bytes."""
        parts = [self.data[at : at + most] for at in range(0, len(self.data), most)]
        paths = [f"group1-shard{k + 1}of{len(parts)}.bin" for k in range(len(parts))]
        self.group.setdefault("paths", paths)
        text = json.dumps(self.json).encode()
        return {"model.json": text, **dict(zip(paths, parts, strict=True))}


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
    **changed: Any,
) -> Model:
    """Return a model.

    Args:
        topology: `modelTopology`: `{"model_config": config}` of the converter, or the config
            itself, as a browser writes it.
        weights: Name -> array.
        quantized: The dtype to which weights of float32 are quantized.
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
    found: dict[str, Any] = {
        "format": "layers-model",
        "generatedBy": "keras v2.15.0",
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "modelTopology": dict(topology),
        "weightsManifest": [{"weights": entries}],
        **changed,
    }
    return Model({key: value for key, value in found.items() if value is not None}, data)
