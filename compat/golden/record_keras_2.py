"""Record what layers of Keras 2 compute that compute something else in Keras 3.

Run it where TensorFlow and tf_keras are installed:

    python compat/golden/record_keras_2.py

It writes `keras_2.npz` beside itself, which holds no pickles: two JSON strings,

- `cases`: a list of `{"layer", "config", "dtype", "output_dtype"}`: the class, what `get_config`
  returns, and the dtypes of the input and of the output. The layers are called in evaluation;
- `versions`: of tf_keras, tensorflow and numpy,

and for each case `i`, counted from 0, `{i}/input` and `{i}/output`.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

PATH = Path(__file__).with_name("keras_2.npz")
SEED = 20261129
WAYS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area", "gaussian")
Row = tuple[str, dict[str, Any], list[int], tuple[str, ...]]

ALL = ("float32", "float64", "float16", "uint8", "int32", "bool")
RANDOM: dict[str, dict[str, Any]] = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.3},
    "RandomContrast": {"factor": 0.2},
    "RandomBrightness": {"factor": 0.2},
    "RandomHeight": {"factor": 0.2},
    "RandomWidth": {"factor": 0.2},
}


def list_cases() -> list[Row]:
    """Return layers with their arguments, the shape of an input, and its dtypes."""
    sizes = ([4, 5], [12, 3], [9, 14], [9, 7], [1, 1], [20, 15])
    rows: list[Row] = []
    for way, (height, width) in itertools.product((*WAYS, "mitchellcubic"), sizes):
        arguments = {"height": height, "width": width, "interpolation": way}
        for crop in (False, True):
            given = {**arguments, "crop_to_aspect_ratio": crop}
            rows.append(("Resizing", given, [2, 9, 7, 2], ("float32",)))
    for way in (*WAYS, "mitchellcubic"):  # positions far from the origin are rounded
        given = {"height": 224, "width": 5, "interpolation": way}
        rows.append(("Resizing", given, [1, 500, 3, 1], ("float32",)))
        rows.append(("Resizing", {**given, "height": 4}, [6, 7, 3], ALL))
    for name, (height, width) in itertools.product(("CenterCrop", "RandomCrop"), sizes):
        rows.append((name, {"height": height, "width": width}, [2, 9, 7, 2], ALL))
    rows.append(("RandomCrop", {"height": 3, "width": 4}, [5, 7, 2], ("float32",)))
    rows += [(name, given, [2, 4, 3, 3], ALL) for name, given in RANDOM.items()]
    for axis in (-1, [1, 2]):
        rows.append(("UnitNormalization", {"axis": axis}, [3, 4, 2], ("float32",)))
    return [*rows, ("GaussianNoise", {"stddev": 5.0}, [3, 4], ("float32",))]


def draw(rng: np.random.Generator, name: str, shape: list[int], dtype: str) -> np.ndarray:
    if np.issubdtype(dtype, np.floating):
        scale = 1e-7 if name == "UnitNormalization" else 1.0  # below Keras 2's least norm
        return (scale * rng.normal(size=shape)).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 256, size=shape).astype(dtype)


def main() -> None:
    rng, cases, arrays = np.random.default_rng(SEED), [], {}
    for name, arguments, shape, dtypes in list_cases():
        for dtype in dtypes:
            layer = getattr(tf_keras.layers, name)(**arguments, name="a")
            inputs = draw(rng, name, shape, dtype)
            mode = {"training": False} if name.startswith("Random") else {}
            outputs = layer(tf.constant(inputs), **mode).numpy()
            arrays |= {f"{len(cases)}/input": inputs, f"{len(cases)}/output": outputs}
            told = {"layer": name, "config": layer.get_config(), "dtype": dtype}
            cases.append({**told, "output_dtype": outputs.dtype.name})
    packages = {"tf_keras": tf_keras, "tensorflow": tf, "numpy": np}
    versions = json.dumps({name: package.__version__ for name, package in packages.items()})
    np.savez_compressed(PATH, cases=json.dumps(cases), versions=versions, **arrays)
    print(f"{PATH.name}: {len(cases)} cases, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
