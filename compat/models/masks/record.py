"""Record what models with masks of Keras 2 compute.

Run it where TensorFlow and tf_keras are installed:

    python -m compat.models.masks.record

It writes `compat/golden/masks_tf_keras.npz`, which holds no pickles: a JSON string `versions` and
for each model of `compat/models/masks/models.py`

- `{model}/config`: its config, a JSON string;
- `{model}/weights/{path of a layer}/{i}`: its weights;
- `{model}/{call}/inputs/{i}`, `{model}/{call}/outputs/{i}`, `{model}/{call}/masks/{i}`: what goes
  in, what comes out, and the mask of it, if there is one. The calls follow one another.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from .models import CALLS, MODELS, fill, iterate_weights, make_inputs

PATH = Path(__file__).parents[2] / "golden" / "masks_tf_keras.npz"


def main() -> None:
    arrays = {}
    for seed, (name, make) in enumerate(MODELS.items()):
        tf_keras.backend.clear_session()
        model = make(tf_keras)
        fill(model, seed)
        arrays[f"{name}/config"] = model.to_json()
        for path, weights in iterate_weights(model):
            for i, weight in enumerate(weights):
                arrays[f"{name}/weights/{path}/{i}"] = weight
        for call in range(CALLS):
            inputs = make_inputs(model, seed + call)
            outputs = tf.nest.flatten(model([tf.constant(x) for x in inputs], training=False))
            masks = [getattr(y, "_keras_mask", None) for y in outputs]
            found = {"inputs": inputs, "outputs": outputs, "masks": masks}
            for kind, values in found.items():
                for i, value in enumerate(values):
                    if value is not None:
                        arrays[f"{name}/{call}/{kind}/{i}"] = np.asarray(value)
    packages = {"tf_keras": tf_keras, "tensorflow": tf, "numpy": np}
    versions = json.dumps({name: package.__version__ for name, package in packages.items()})
    np.savez_compressed(PATH, versions=versions, **arrays)
    print(f"{PATH.name}: {len(MODELS)} models, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
