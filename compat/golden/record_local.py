"""Record what Keras 2's LocallyConnected1D and LocallyConnected2D compute; Keras 3 has neither.

Run it where TensorFlow and tf_keras are installed:

    python compat/golden/record_local.py

It writes `local_tf_keras.npz` beside itself, which holds no pickles: two JSON strings,

- `cases`: a list of `{"layer", "arguments", "shape", "loss", "config", "output_shape"}`: the class,
  its keyword arguments, the shape of the input, the sum of the layer's losses after the call,
  what `get_config` and `compute_output_shape` return;
- `versions`: of tf_keras, tensorflow and numpy,

and for each case `i`, counted from 0, the arrays `{i}/input`, `{i}/output`, `{i}/cotangent`,
`{i}/input_gradient`, and for each weight in Keras's order `{i}/weight_{j}` and
`{i}/weight_gradient_{j}`. The gradients are those of `sum(output * cotangent)`. All is computed in
float64; what is no result is in float32, and so are the weights' gradients.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

PATH = Path(__file__).with_name("local_tf_keras.npz")
SEED = 20261128
WINDOWS: dict[int, list[tuple[Any, Any, list[int]]]] = {  # kernel size, strides, sizes
    1: [([2], [1], [5]), ([3], [2], [7]), ([4], [3], [8]), ([1], [2], [6])],
    2: [
        ([2, 3], [1, 1], [4, 5]),
        ([3, 2], [2, 1], [5, 4]),
        ([4, 1], [1, 3], [6, 5]),
        ([3, 3], [2, 2], [6, 5]),
    ],
}
L2 = {"class_name": "L2", "config": {"l2": 0.25}}  # which float32, too, holds
L1 = {"class_name": "L1", "config": {"l1": 0.5}}
MORE: list[dict[str, Any]] = [
    {"use_bias": False},
    {"activation": "softmax"},
    {"activation": "relu", "activity_regularizer": L2},
    {"kernel_regularizer": L2, "bias_regularizer": L1},
]
Case = dict[str, Any]
Arrays = dict[str, np.ndarray]


def list_cases() -> list[Case]:
    """Return the cases: every window with every implementation, padding and data format."""
    cases = []
    ways = ((1, "valid"), *itertools.product((2, 3), ("valid", "same")))
    formats = ("channels_last", "channels_first")
    for rank, (way, layout) in itertools.product(WINDOWS, itertools.product(ways, formats)):
        for (kernel_size, strides, sizes), more in zip(WINDOWS[rank], MORE, strict=True):
            arguments = {"filters": 3, "kernel_size": kernel_size, "strides": strides}
            arguments |= {"padding": way[1], "data_format": layout, "implementation": way[0]}
            shape = [2, *sizes, 2] if layout == "channels_last" else [2, 2, *sizes]
            name = f"LocallyConnected{rank}D"
            cases.append({"layer": name, "arguments": {**arguments, **more}, "shape": shape})
    return cases


def record(rng: np.random.Generator, case: Case) -> tuple[Case, Arrays]:
    """Return a case with what its layer says of itself, and its arrays."""
    layer = getattr(tf_keras.layers, case["layer"])(**case["arguments"], dtype="float64", name="a")
    layer.build(case["shape"])

    def draw(shape: Any) -> np.ndarray:
        return rng.normal(size=tuple(shape)).astype("float32")

    layer.set_weights([draw(weight.shape) for weight in layer.weights])
    arrays = {"input": draw(case["shape"])}
    arrays |= {f"weight_{j}": array for j, array in enumerate(layer.get_weights())}
    inputs = tf.constant(arrays["input"], "float64")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        arrays["cotangent"] = draw(outputs.shape)
        total = tf.reduce_sum(outputs * arrays["cotangent"])
    gradients = tape.gradient(total, [inputs, *layer.trainable_weights])
    arrays |= {"output": outputs.numpy(), "input_gradient": gradients[0].numpy()}
    arrays |= {f"weight_gradient_{j}": g.numpy() for j, g in enumerate(gradients[1:])}
    told = {
        "loss": float(sum(layer.losses, 0.0)),
        "config": layer.get_config(),
        "output_shape": list(layer.compute_output_shape(case["shape"])),
    }
    exact = ("output", "input_gradient")
    stored = {n: a if n in exact else a.astype("float32") for n, a in arrays.items()}
    return {**case, **told}, stored


def main() -> None:
    rng, cases, arrays = np.random.default_rng(SEED), [], {}
    for i, case in enumerate(list_cases()):
        recorded, found = record(rng, case)
        cases.append(recorded)
        arrays |= {f"{i}/{name}": array for name, array in found.items()}
    packages = {"tf_keras": tf_keras, "tensorflow": tf, "numpy": np}
    versions = json.dumps({name: package.__version__ for name, package in packages.items()})
    np.savez_compressed(PATH, cases=json.dumps(cases), versions=versions, **arrays)
    print(f"{PATH.name}: {len(cases)} cases, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
