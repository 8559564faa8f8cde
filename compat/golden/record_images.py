"""Record what Keras's layers for images compute on TensorFlow, where its backends disagree.

Run it where Keras and TensorFlow are installed:

    KERAS_BACKEND=tensorflow python compat/golden/record_images.py

It writes `images_tensorflow.npz` beside itself, which holds no pickles: two JSON strings,

- `cases`: a list of `{"layer", "arguments", "dtype"}`. `arguments` are the keyword arguments of
  the layer, which takes channels_last; `dtype` is the type of the input;
- `versions`: of keras, tensorflow and numpy,

and for each case `i`, counted from 0:

- `{i}/input` and `{i}/output`, of the same type;
- `{i}/cotangent` and `{i}/gradient`, for float32, but for "area", of which TensorFlow has no
  gradient: the weights of the scalar `sum(output * cotangent)`, and its gradient by the input.
"""

import itertools
import json
from pathlib import Path

import keras
import numpy as np
from versions import Case, read_versions, require_tensorflow

Arrays = dict[str, np.ndarray]

PATH = Path(__file__).with_name("images_tensorflow.npz")
SEED = 20260311
POOLINGS = 60
WAYS = ("bicubic", "lanczos3", "lanczos5")
FACTORS = ([2, 2], [3, 1], [1, 4], [5, 7], [2, 3])
SIZES = ([1, 1], [2, 5], [7, 4], [13, 3])
TYPES = ("float16", "float64", "uint8", "int8", "int16", "int32")


def upsampling_cases() -> list[tuple[Case, list[int]]]:
    """Return cases of `UpSampling2D`, each with the shape of an input."""

    def case(way: str, size: list[int], dtype: str) -> Case:
        arguments = {"size": size, "interpolation": way}
        if dtype.startswith("float"):
            arguments["dtype"] = dtype
        return {"layer": "UpSampling2D", "arguments": arguments, "dtype": dtype}

    small = [
        (case(way, factors, "float32"), [1, *sizes, 2])
        for way in WAYS
        for factors in FACTORS
        for sizes in SIZES
    ]
    # Far from the origin TensorFlow's positions in float32 are no longer exact.
    large = [(case(way, [3, 1], "float32"), [1, 500, 2, 1]) for way in WAYS]
    types = [(case(way, [2, 3], dtype), [1, 4, 5, 2]) for way in WAYS for dtype in TYPES]
    return small + large + types


def pooling_cases(rng: np.random.Generator, rank: int) -> list[tuple[Case, list[int]]]:
    """Return random cases of average pooling with "same"."""
    cases = []
    for _ in range(POOLINGS if rank == 2 else POOLINGS // 2):
        arguments = {
            "pool_size": rng.integers(1, 6, size=rank).tolist(),
            "strides": rng.integers(1, 4, size=rank).tolist(),
            "padding": "same",
        }
        most = 10 if rank < 3 else 6
        shape = [int(rng.integers(1, 3)), *rng.integers(1, most, size=rank).tolist(), 2]
        case = {"layer": f"AveragePooling{rank}D", "arguments": arguments, "dtype": "float32"}
        cases.append((case, shape))
    return cases


def resizing_cases(*ways: str) -> list[tuple[Case, list[int]]]:
    """Return cases of `Resizing`."""
    cases = []
    for height, width in ([4, 5], [12, 3], [9, 14]):
        for way, antialias in itertools.product(ways, (False, True)):
            arguments = {"height": height, "width": width}
            arguments |= {"interpolation": way, "antialias": antialias}
            for more in ({}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}):
                case = {"layer": "Resizing", "arguments": {**arguments, **more}}
                cases.append(({**case, "dtype": "float32"}, [1, 9, 7, 2]))
    return cases


def center_crop_cases() -> list[tuple[Case, list[int]]]:
    cases = []
    for height, width in ([4, 5], [12, 3], [9, 14]):
        size = {"height": height, "width": width}
        cases.append(({"layer": "CenterCrop", "arguments": size, "dtype": "float32"}, [1, 9, 7, 2]))
    return cases


def far_cases() -> list[tuple[Case, list[int]]]:
    """Return cases of `Resizing` far from the origin, where positions are rounded."""
    size = {"height": 224, "width": 4}
    cases = [
        {"layer": "Resizing", "arguments": {**size, "interpolation": w}} for w in (*WAYS, "area")
    ]
    return [({**case, "dtype": "float32"}, [1, 500, 3, 1]) for case in cases]


def draw(rng: np.random.Generator, shape: list[int], dtype: str) -> np.ndarray:
    """Return an input; one of integers reaches to the ends of a small type."""
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=shape).astype(dtype)
    ends = np.iinfo(np.int16 if dtype == "int32" else dtype)
    return rng.choice([ends.min, ends.max, *rng.integers(ends.min, ends.max, 9)], shape).astype(
        dtype
    )


def record(rng: np.random.Generator, case: Case, shape: list[int]) -> Arrays:
    """Run one case, forward and for float32 backward, and return what went in and came out."""
    import tensorflow as tf  # after `main` has found that Keras runs on it

    layer = getattr(keras.layers, case["layer"])(**case["arguments"], data_format="channels_last")
    arrays = {"input": draw(rng, shape, case["dtype"])}
    inputs = tf.constant(arrays["input"])
    if case["dtype"] != "float32" or case["arguments"].get("interpolation") == "area":
        arrays["output"] = layer(inputs).numpy()
        return arrays
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        arrays["cotangent"] = rng.normal(size=outputs.shape).astype("float32")
        total = tf.reduce_sum(outputs * arrays["cotangent"])
    arrays["output"] = outputs.numpy()
    arrays["gradient"] = tape.gradient(total, inputs).numpy()
    return arrays


def main() -> None:
    require_tensorflow()
    rng = np.random.default_rng(SEED)
    cases = [*upsampling_cases(), *pooling_cases(rng, 2)]
    arrays: Arrays = {}
    # The others come last: they leave what was drawn for the images as it was.
    recorded = [record(rng, *each) for each in cases]
    others = [each for rank in (1, 3) for each in pooling_cases(rng, rank)]
    others += [*resizing_cases("nearest", "bilinear", *WAYS, "area"), *center_crop_cases()]
    others += far_cases()
    recorded += [record(rng, *each) for each in others]
    for i, found in enumerate(recorded):
        arrays |= {f"{i}/{name}": array for name, array in found.items()}
    cases += others
    listed = json.dumps([case for case, _ in cases])
    np.savez_compressed(PATH, cases=listed, versions=json.dumps(read_versions()), **arrays)
    print(f"{PATH.name}: {len(cases)} cases, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
