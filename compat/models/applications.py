"""Compare the models of keras.applications: written by Keras, run where it cannot be imported.

    KERAS_BACKEND=torch python -m compat.models.applications [NAME ...] [--size N]

It makes each model, or those that are named, with random weights and the statistics of images in
its normalizations, saves it as `.keras`, loads it with kerastorch in a process without Keras, and
compares the logits of two images in evaluation. A line a model has the largest difference over the
largest logit, or what is missing. `apart` is how far the two images' logits are from each other,
in the same measure: where it is small, the logits tell little. It exits with 1 if a model fails.

Where they do not agree, all is computed of the same weights in double precision. The model passes
if it agrees there, and is no further from that in single precision than twice what Keras is.

    --size N        height and width of the images; by default each model's own
    --tensorflow P  a Python with Keras on TensorFlow, which then writes NASNetMobile: Keras on
                    torch refuses that model by its name, though it makes and computes it
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-5
SEED = 7
MOST = 2  # times Keras's own error in single precision
LEAST_APART = 0.01  # of two images' logits
REFUSED = "NASNetMobile"  # by Keras on torch


def list_names() -> list[str]:
    """Return the names of all models of keras.applications."""
    import keras

    found = vars(keras.applications).items()
    return sorted(name for name, one in found if callable(one) and name[0].isupper())


# In a process with Keras


def write(name: str, size: int, folder: str) -> None:
    """Write a model of Keras, two images and the logits that Keras computes of them."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = make(name, size)
    generator = np.random.default_rng(SEED)
    move_off_defaults(model, generator)
    shape = [size or 224 for size in model.input_shape[1:]]  # MobileNetV3 takes any
    images = draw_images(generator, shape).astype("float32")
    calibrate(model, images, factor=1.5)
    logits = model.predict_on_batch(images[:2])
    if difference(logits[:1], logits[1:]) < LEAST_APART:
        calibrate(model, images, factor=1.0)
    save(model, images[:2], folder)


def write_in_double_precision(name: str, size: int, folder: str) -> None:
    """Write the same again, with the weights and images that `write` wrote."""
    calculate_in("float64")
    model = make(name, size)
    model.load_weights(f"{folder}/model.keras")
    with np.load(f"{folder}/expected.npz") as expected:
        images = expected["images"].astype("float64")
    save(model, images, folder)


def calculate_in(dtype: str) -> None:
    """Set Keras's default type; float64 stays float64, which it does on TensorFlow only."""
    import keras
    from keras.src.backend.common import dtypes

    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = dtype


def make(name: str, size: int) -> Any:
    """Return a model of Keras that computes logits."""
    import keras
    from keras.src.applications import nasnet

    allowed: Any = contextlib.nullcontext()
    if name == REFUSED:  # it asks for the backend, and does no more with the answer
        backend = {**vars(nasnet.backend), "backend": lambda: "any"}
        allowed = mock.patch.object(nasnet, "backend", SimpleNamespace(**backend))
    shape = {"input_shape": (size, size, 3)} if size else {}
    with allowed:
        return getattr(keras.applications, name)(weights=None, classifier_activation=None, **shape)


def save(model: Any, images: np.ndarray, folder: str) -> None:
    model.save(f"{folder}/model.keras")
    np.savez(f"{folder}/expected.npz", images=images, logits=model.predict_on_batch(images))


def move_off_defaults(model: Any, generator: np.random.Generator) -> None:
    """Give what starts as zeros, ones or a tiny number values as after a training."""
    for weight in model.weights:
        kind, shape = weight.name, weight.shape
        if kind in ("gamma", "variance", "variable"):  # the last: of LayerScale
            weight.assign(generator.uniform(0.8, 1.2, shape))
        elif kind in ("beta", "bias", "mean"):
            weight.assign(generator.normal(0, 0.1, shape))


def draw_images(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return images of noise, each around another color."""
    colors = generator.uniform(0, 255, (4, 1, 1, shape[-1]))
    return np.asarray(colors + generator.normal(0, 40, (4, *shape)))


def calibrate(model: Any, images: np.ndarray, factor: float) -> None:
    """Give the batch normalizations the mean and `factor` times the variance of images.

    With random statistics most of these models lose the image on the way: all logits are alike.
    With a factor of 1 they are not, but Keras's own in single precision are off by up to 1e-3.
    """
    import keras

    found = [one for one in model._flatten_layers() if hasattr(one, "moving_variance")]
    kept = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0
    without_gradients = contextlib.nullcontext()
    if keras.backend.backend() == "torch":
        import torch

        without_gradients = torch.no_grad()
    with without_gradients:
        model(images, training=True)
    for layer, momentum in zip(found, kept, strict=True):
        layer.momentum = momentum
        layer.moving_variance.assign(layer.moving_variance * factor)


# In a process without Keras


def read(folder: str) -> None:
    """Load the model with kerastorch, and write the logits that it computes."""
    from compat.models.rebuild import ABSENT

    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError
    import torch

    import kerastorch

    with np.load(f"{folder}/expected.npz") as expected:
        images = expected["images"]
    kerastorch.config.set_floatx(images.dtype.name)  # of numbers in operations between layers
    model = kerastorch.load_model(Path(folder, "model.keras")).eval()
    with torch.no_grad():
        np.save(f"{folder}/found.npy", model(images).numpy())


# The comparison


def difference(actual: np.ndarray, expected: np.ndarray, least: float = 1e-6) -> float:
    """Return the largest difference, relative to the largest number expected, or to `least`."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return float("inf")
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), least))


def compare(name: str, size: int, tensorflow: str | None) -> tuple[bool, str]:
    """Return whether a model agrees, and its line."""
    keras_s = (tensorflow, "tensorflow") if name == REFUSED and tensorflow else (None, "torch")
    with tempfile.TemporaryDirectory() as folder:

        def computed(function: str) -> tuple[np.ndarray, np.ndarray]:
            """Return the logits of kerastorch and of Keras."""
            run(keras_s[0], function, name, size, folder, KERAS_BACKEND=keras_s[1])
            run(None, "read", folder)
            with np.load(f"{folder}/expected.npz") as expected:
                return np.load(f"{folder}/found.npy"), expected["logits"]

        try:
            found, wanted = computed("write")
            error, apart = difference(found, wanted), difference(wanted[:1], wanted[1:])
            line = f"error {error:.1e}, apart {apart:.1e}"
            if error <= TOLERANCE:
                return True, line
            found_in_double, exact = computed("write_in_double_precision")
        except (OSError, RuntimeError) as failed:
            return False, str(failed)
    ours, theirs = (difference(one.astype(exact.dtype), exact) for one in (found, wanted))
    error = difference(found_in_double, exact)
    line += f"; in double precision error {error:.1e}, from which single precision is off by"
    line += f" {ours:.1e}, Keras's by {theirs:.1e}"
    return error <= TOLERANCE and ours <= MOST * theirs, line


def run(python: str | None, function: str, *arguments: Any, **environment: str) -> None:
    """Call a function of this file in a process of its own; raise what failed there."""
    code = f"from compat.models.applications import {function}; {function}{arguments!r}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    command, kept = [python or sys.executable, "-c", code], {**kept, **environment}
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    missing = sorted(set(re.findall(r"\((\w+)\): not supported", done.stderr)))
    if missing:
        raise RuntimeError(f"not supported: {', '.join(missing)}")
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    inside = [i for i, line in enumerate(lines) if line.startswith("    ")]  # of the traceback
    line = lines[min(max(inside, default=-1) + 1, len(lines) - 1)]
    raise RuntimeError(line if function == "read" else f"Keras: {line}")


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the models of keras.applications.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--tensorflow", metavar="PYTHON")
    arguments = parser.parse_args(given)
    known = list_names()
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"keras.applications has no {', '.join(unknown)}")
    results = []
    for name in arguments.names or known:
        agrees, line = compare(name, arguments.size, arguments.tensorflow)
        results.append(agrees)
        print(f"{'ok  ' if agrees else 'FAIL'} {name:20} {line}", flush=True)
    print(f"{sum(results)} of {len(results)} agree within {TOLERANCE:g}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
