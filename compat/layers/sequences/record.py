"""Record what layers of sequences compute in Keras 2.

Run it where TensorFlow and tf_keras are installed:

    python -m compat.layers.sequences.record

It writes `compat/golden/sequences_tf_keras.npz`, which holds no pickles: a JSON string `versions`
and for each model of `compat/layers/sequences/models.py`

- `{model}/config`: its config, a JSON string;
- `{model}/weights/{path of a layer}/{i}`: its weights;
- `{model}/{call}/inputs/{i}`, `{model}/{call}/outputs/{i}`, `{model}/{call}/losses/{i}`: what goes
  in, what comes out, and the terms of its loss. The calls follow one another.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from compat.models.masks.models import fill, iterate_weights

from .models import CALLS, MODELS

PATH = Path(__file__).parents[2] / "golden" / "sequences_tf_keras.npz"


def make_inputs(model: Any, rng: np.random.Generator) -> list[np.ndarray]:
    """Return an array for each input; some steps of a sequence of vectors are 0."""
    arrays = []
    for tensor in model.inputs:
        shape = tuple(tensor.shape)
        kept = rng.random(shape[:2]) < 0.6
        kept[0], kept[1, :2] = False, False  # a sequence without steps, one with none in front
        if tensor.dtype == tf.bool:
            arrays.append(rng.random(shape) < 0.6 if len(shape) > 2 else kept)
        elif len(shape) == 3:
            arrays.append((rng.normal(size=shape) * kept[..., None]).astype(np.float32))
        else:
            arrays.append(rng.normal(size=shape).astype(np.float32))
    return arrays


def main() -> None:
    arrays = {}
    for seed, (name, make) in enumerate(MODELS.items()):
        tf_keras.backend.clear_session()
        model, rng = make(tf_keras), np.random.default_rng(seed)
        fill(model, seed)
        arrays[f"{name}/config"] = model.to_json()
        for path, weights in iterate_weights(model):
            for i, weight in enumerate(weights):
                arrays[f"{name}/weights/{path}/{i}"] = weight
        for call in range(CALLS):
            inputs = make_inputs(model, rng)
            outputs = tf.nest.flatten(model([tf.constant(x) for x in inputs], training=False))
            found = {"inputs": inputs, "outputs": outputs, "losses": model.losses}
            for kind, values in found.items():
                for i, value in enumerate(values):
                    arrays[f"{name}/{call}/{kind}/{i}"] = np.asarray(value)
    packages = {"tf_keras": tf_keras, "tensorflow": tf, "numpy": np}
    versions = json.dumps({name: package.__version__ for name, package in packages.items()})
    np.savez_compressed(PATH, versions=versions, **arrays)
    print(f"{PATH.name}: {len(MODELS)} models, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
