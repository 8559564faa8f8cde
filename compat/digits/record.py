"""Train a small network in Keras on scikit-learn's digits, and record what it computes.

Run it where Keras, torch and scikit-learn are installed:

    KERAS_BACKEND=torch python compat/digits/record.py

It writes beside itself, for `kerastorch convert` and `accuracy.py` to read without Keras:

- `digits.keras`: the network as Keras saves it;
- `digits.reference.npz`: what every layer gives out for a few test images, written by
  `compat/record_reference.py`;
- `digits.npz`: the data, and what Keras makes of it. `train/images`, `train/labels`,
  `test/images`, `test/labels`: uint8, the images of shape (n, 8, 8) with values from 0 to 16;
  `test/logits`: float32, what Keras computes for the test images; `test/accuracy`: the share of
  test images that Keras recognises; `versions`: JSON in uint8, of keras, torch, scikit-learn and
  numpy.
"""

import json
import runpy
from functools import partial
from pathlib import Path

import keras
import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

PATH = Path(__file__).with_name("digits.npz")
RECORDER = Path(__file__).parents[1] / "record_reference.py"
SEED = 0
TESTED = 360
RECORDED = 4
EPOCHS = 3  # few, so that fine-tuning has something left to improve


def build_network() -> keras.Sequential:
    """Two of the convolutions halve an even size, where "same" pads unevenly."""
    layers = keras.layers
    convolution = partial(
        layers.Conv2D,
        kernel_size=3,
        padding="same",
        kernel_regularizer=keras.regularizers.L2(1e-4),
        kernel_constraint=keras.constraints.MaxNorm(1.0, axis=[0, 1, 2]),
    )
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16, name="rescaling"),
            convolution(16, use_bias=False, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.Activation("relu", name="relu1"),
            convolution(32, strides=2, activation="relu", name="conv2"),
            convolution(64, strides=2, activation="relu", name="conv3"),
            layers.Flatten(name="flatten"),
            layers.Dense(10, name="dense"),
        ],
        name="digits",
    )


def to_inputs(images: np.ndarray) -> np.ndarray:
    return images[..., None].astype(np.float32)  # (n, 8, 8, 1)


def train(network: keras.Sequential, images: np.ndarray, labels: np.ndarray) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(0.05), loss)  # it keeps no state that the file would hold
    network.fit(to_inputs(images), labels, batch_size=32, epochs=EPOCHS, verbose=2)


def main() -> None:
    backend = keras.backend.backend()
    if backend != "torch":
        raise SystemExit(f"Keras runs on {backend}: set KERAS_BACKEND=torch.")
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=TESTED, random_state=SEED, stratify=labels
    )

    keras.utils.set_random_seed(SEED)
    network = build_network()
    train(network, train_images, train_labels)
    network.save(PATH.with_suffix(".keras"))
    record = runpy.run_path(str(RECORDER))["record"]
    record(network, to_inputs(test_images[:RECORDED]), PATH.with_suffix(".reference.npz"))

    logits = network.predict(to_inputs(test_images), verbose=0)
    accuracy = np.mean(logits.argmax(axis=1) == test_labels)
    versions = {
        "keras": keras.__version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    arrays = {
        "train/images": train_images,
        "train/labels": train_labels,
        "test/images": test_images,
        "test/labels": test_labels,
        "test/logits": logits,
        "test/accuracy": accuracy,
        "versions": np.frombuffer(json.dumps(versions).encode(), np.uint8),
    }
    np.savez_compressed(PATH, **arrays)
    for path in sorted(PATH.parent.glob("digits.*")):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
    print(f"test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
