"""Train a small network in Keras on scikit-learn's digits, and record what it learned.

Run it where Keras, torch and scikit-learn are installed:

    KERAS_BACKEND=torch python compat/digits/record.py

It writes `digits.npz` beside itself, for `port.py` to load without Keras. The file holds no
pickles:

- `{layer}/kernel`, `{layer}/bias`: the weights, as Keras's `get_weights()` gives them, for the
  layers `conv1`, `conv2`, `conv3` and `dense`;
- `train/images`, `train/labels`, `test/images`, `test/labels`: uint8. The images are of shape
  (n, 8, 8) with values from 0 to 16; the network was trained on `images[..., None] / 16`;
- `test/logits`: float32, what Keras computes for the test images;
- `test/accuracy`: the share of test images that Keras recognises;
- `versions`: a JSON string, of keras, torch, scikit-learn and numpy.
"""

import json
from pathlib import Path

import keras
import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

PATH = Path(__file__).with_name("digits.npz")
SEED = 0
TESTED = 360
EPOCHS = 5  # few, so that fine-tuning has something left to improve


def build_network() -> keras.Sequential:
    """Two of the convolutions halve an even size, where "same" pads unevenly."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2"),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu", name="conv3"),
            layers.Flatten(),
            layers.Dense(10, name="dense"),
        ]
    )


def to_inputs(images: np.ndarray) -> np.ndarray:
    return (images[..., None] / 16).astype(np.float32)  # (n, 8, 8, 1)


def train(network: keras.Sequential, images: np.ndarray, labels: np.ndarray) -> None:
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(to_inputs(images), labels, batch_size=32, epochs=EPOCHS, verbose=2)


def read_weights(network: keras.Sequential) -> dict[str, np.ndarray]:
    arrays = {}
    for name in ("conv1", "conv2", "conv3", "dense"):
        kernel, bias = network.get_layer(name).get_weights()
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    return arrays


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
    logits = network.predict(to_inputs(test_images), verbose=0)
    accuracy = np.mean(logits.argmax(axis=1) == test_labels)
    arrays = read_weights(network) | {
        "train/images": train_images,
        "train/labels": train_labels,
        "test/images": test_images,
        "test/labels": test_labels,
        "test/logits": logits,
        "test/accuracy": accuracy,
    }
    versions = {
        "keras": keras.__version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    np.savez_compressed(PATH, versions=json.dumps(versions), **arrays)
    for name, array in arrays.items():
        print(f"{name:14} {array.dtype!s:8} {array.shape}")
    print(f"{PATH.name}: {PATH.stat().st_size / 1e3:.0f} kB, test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
