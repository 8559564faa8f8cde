"""Record what Keras's layers compute of integers and booleans on TensorFlow.

Run it where Keras and TensorFlow are installed:

    KERAS_BACKEND=tensorflow python compat/golden/record_integers.py

It writes `integers_tensorflow.json` beside itself: `versions`, `inputs`, which are 32 numbers for
each type, and `cases`. A case is

- `layer` and `arguments`: the layer; `training` where it is called so;
- `dtype` and `shape` of the input, which is made of the first numbers of that type; two types mean
  a list of two inputs;
- `output_dtype` and `output`, the numbers in one list; both are null where TensorFlow refuses it.
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
from versions import Case, read_versions, require_tensorflow

PATH = Path(__file__).with_name("integers_tensorflow.json")
WAYS = ("bicubic", "lanczos3", "lanczos5")
POLICIES = ("float32", "float64", "float16")
# Some are beyond what float16, and of int64 what float32, holds.
INPUTS: dict[str, list[Any]] = {
    "int32": [0, 1, -1, 2, -3, 7, 70000, -70001, *range(-12, 12)],
    "int64": [0, 1, -1, 2, -3, 7, 2**40 + 1, -(2**33), *range(-12, 12)],
    "uint8": [0, 1, 2, 3, 7, 130, 200, 255, *range(232, 256)],
    "bool": [number % 3 == 0 for number in range(32)],
    "float32": [number / 4 for number in range(-16, 16)],
    "float16": [number / 4 for number in range(-16, 16)],
}
WHOLE = ("int32", "int64", "uint8", "bool")
FLAT: list[tuple[str, dict[str, Any]]] = [
    *(
        ("ReLU", arguments)
        for arguments in (
            {}, {"max_value": 6}, {"max_value": 2.5}, {"negative_slope": 0.5}, {"threshold": 1.5},
            {"max_value": 6, "negative_slope": 0.5}, {"max_value": 6, "negative_slope": 2},
            {"negative_slope": 1, "threshold": 2}, {"negative_slope": 1, "threshold": 2.0},
        )
    ),
    *((name, {}) for name in ("LeakyReLU", "ELU", "Softmax", "BatchNormalization", "Flatten")),
    ("PReLU", {"alpha_initializer": "ones"}),
    *((name, {}) for name in ("LayerNormalization", "RMSNormalization", "UnitNormalization")),
    ("GroupNormalization", {"groups": 2}),
    ("Dense", {"units": 3, "kernel_initializer": "ones", "activation": "tanh"}),
    ("Rescaling", {"scale": 0.5, "offset": 1}),
    ("Normalization", {"mean": 1.0, "variance": 4.0}),
    ("Reshape", {"target_shape": [4, 1]}),
    ("Permute", {"dims": [1]}),
    ("RepeatVector", {"n": 3}),
    *(("Dropout", {"rate": rate}) for rate in (0.5, 0, 1)),
    *((name, {"rate": 0.5}) for name in ("AlphaDropout", "GaussianDropout")),
    ("GaussianNoise", {"stddev": 0.5}),
    ("ActivityRegularization", {"l1": 0.5}),
    ("Identity", {}),
]  # fmt: skip
ONES: dict[str, Any] = {"kernel_size": 2, "kernel_initializer": "ones"}
DEPTHWISE_ONES: dict[str, Any] = {"kernel_size": 2, "depthwise_initializer": "ones"}


def convolutions(rank: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the convolutions over some spatial axes."""
    found: list[tuple[str, dict[str, Any]]] = [
        (f"Conv{rank}D{kind}", {"filters": 2, **ONES}) for kind in ("", "Transpose")
    ]
    if rank < 3:
        both = {"filters": 2, "pointwise_initializer": "ones", **DEPTHWISE_ONES}
        found += [(f"DepthwiseConv{rank}D", DEPTHWISE_ONES), (f"SeparableConv{rank}D", both)]
    return found


IMAGES: list[tuple[str, dict[str, Any]]] = [
    *convolutions(2),
    ("MaxPooling2D", {"pool_size": 2, "strides": 1, "padding": "same"}),
    ("AveragePooling2D", {"pool_size": [2, 3], "padding": "same"}),
    *((name, {}) for name in ("GlobalMaxPooling2D", "GlobalAveragePooling2D", "ZeroPadding2D")),
    ("Cropping2D", {"cropping": [1, 0]}),
    *(("UpSampling2D", {"interpolation": way}) for way in ("nearest", "bilinear", *WAYS)),
    ("SpatialDropout2D", {"rate": 0.5}),
    ("AutoContrast", {}),
    ("CenterCrop", {"height": 2, "width": 3}),
    *(("Resizing", {"height": 5, "width": 3, "interpolation": w}) for w in ("nearest", "bilinear")),
    *((f"Adaptive{kind}Pooling2D", {"output_size": [2, 3]}) for kind in ("Average", "Max")),
]
SEQUENCES: list[tuple[str, dict[str, Any]]] = [
    *convolutions(1),
    ("MaxPooling1D", {"pool_size": 2, "strides": 1, "padding": "same"}),
    ("AveragePooling1D", {"pool_size": 3, "padding": "same"}),
    *((name, {}) for name in ("GlobalMaxPooling1D", "GlobalAveragePooling1D", "ZeroPadding1D")),
    ("Cropping1D", {"cropping": [1, 0]}),
    ("UpSampling1D", {}),
    ("SpatialDropout1D", {"rate": 0.5}),
    *((f"Adaptive{kind}Pooling1D", {"output_size": 3}) for kind in ("Average", "Max")),
]
VOLUMES: list[tuple[str, dict[str, Any]]] = [
    *convolutions(3),
    ("MaxPooling3D", {"pool_size": 2, "strides": 1, "padding": "same"}),
    ("AveragePooling3D", {"pool_size": [2, 3, 1], "padding": "same"}),
    *((name, {}) for name in ("GlobalMaxPooling3D", "GlobalAveragePooling3D", "ZeroPadding3D")),
    ("Cropping3D", {"cropping": [[1, 0], [0, 1], [0, 0]]}),
    ("UpSampling3D", {"size": [2, 1, 3]}),
    ("SpatialDropout3D", {"rate": 0.5}),
    *((f"Adaptive{kind}Pooling3D", {"output_size": [2, 1, 3]}) for kind in ("Average", "Max")),
]
# Layers that change images unless they are told not to.
AUGMENTATIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"factor": 0.5}) for name in (
        "RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomHue",
        "RandomRotation", "RandomSaturation", "RandomSharpness",
    )),
    *((name, {}) for name in (
        "AugMix", "CutMix", "Equalization", "MixUp", "RandAugment", "RandomColorJitter",
        "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
        "RandomGrayscale", "RandomInvert", "RandomPerspective", "RandomShear", "Solarization",
    )),
    ("RandomCrop", {"height": 2, "width": 3, "seed": 1}),
    ("RandomPosterization", {"factor": 4}),
    ("RandomTranslation", {"height_factor": 0.5, "width_factor": 0.5}),
    ("RandomZoom", {"height_factor": 0.5}),
]  # fmt: skip
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
PAIRS = [
    *([dtype, dtype] for dtype in WHOLE),
    *(["int64", "int32"], ["int32", "uint8"], ["bool", "int32"], ["uint8", "bool"]),
    *(["int32", "float32"], ["float16", "int64"], ["bool", "float32"]),
]


def integer_cases() -> list[Case]:
    """Return cases of all layers called on integers and booleans."""
    from keras.src.activations import ALL_OBJECTS

    every = {function.__name__ for function in ALL_OBJECTS} - {"threshold"}
    named = [("Activation", {"activation": name}) for name in sorted(every)]
    tables: list[tuple[Any, list[int], Any]] = [
        (named + FLAT, [2, 4], WHOLE),
        (IMAGES, [1, 3, 4, 2], WHOLE),
        (SEQUENCES, [2, 4, 3], WHOLE),
        (VOLUMES, [1, 2, 3, 4, 1], WHOLE),
        (AUGMENTATIONS, [1, 3, 4, 2], WHOLE),
        ([(name, {}) for name in MERGES], [2, 4], PAIRS),
        ([("Dot", {"axes": 1})], [1, 4], PAIRS),  # of small numbers: it sums them as floats
    ]
    cases: list[Case] = []
    for layers, shape, dtypes in tables:
        for (layer, arguments), dtype, policy in itertools.product(layers, dtypes, POLICIES):
            given = {**arguments, "dtype": policy}
            case = {"layer": layer, "arguments": given, "dtype": dtype, "shape": shape}
            if (layer, arguments) in AUGMENTATIONS:
                case["training"] = False
            cases.append(case)
            if "Dropout" in layer or layer == "BatchNormalization":
                cases.append({**case, "training": True})
    return cases


def call(case: Case) -> Case:
    """Return a case with what TensorFlow computes."""
    import tensorflow as tf  # after `main` has found that Keras runs on it

    layer = getattr(keras.layers, case["layer"])(**case["arguments"])
    size = math.prod(case["shape"])

    def made(dtype: str) -> Any:
        numbers = np.array(INPUTS[dtype][:size], dtype).reshape(case["shape"])
        return keras.ops.convert_to_tensor(numbers, dtype=dtype)

    dtype = case["dtype"]
    inputs = made(dtype) if isinstance(dtype, str) else [made(name) for name in dtype]
    training = {"training": case["training"]} if "training" in case else {}
    try:
        found = np.array(layer(inputs, **training))
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):
        return {**case, "output_dtype": None, "output": None}
    flat = found.ravel()
    floating = np.issubdtype(found.dtype, np.floating)  # whose shortest form is that of `str`
    output = [float(str(value)) for value in flat] if floating else flat.tolist()
    return {**case, "output_dtype": str(found.dtype), "output": output}


def main() -> None:
    require_tensorflow()
    cases = [call(case) for case in integer_cases()]
    versions, inputs = json.dumps(read_versions()), json.dumps(INPUTS)
    listed = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    PATH.write_text(f'{{"versions": {versions},\n"inputs": {inputs},\n"cases": [\n{listed}\n]}}\n')
    print(f"{PATH.name}: {len(cases)} cases, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
