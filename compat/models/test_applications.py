"""Networks of keras.applications: written by Keras, rebuilt in a process without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.backend.common import dtypes

from compat.models import applications
from compat.models.applications import TOLERANCE, difference

REBUILD = Path(__file__).parents[1] / "models" / "rebuild.py"
NETWORKS = {
    "VGG16": ((64, 48, 3), keras.applications.VGG16),
    "ResNet50": ((80, 64, 3), keras.applications.ResNet50),
    "ResNet50V2": ((80, 64, 3), keras.applications.ResNet50V2),
    "DenseNet121": ((80, 64, 3), keras.applications.DenseNet121),
}
PRECISIONS = ("float32", "float64")
MOST = 2  # times Keras's own error in single precision


def moved_off_defaults(model: Any) -> Any:
    """Give the normalizations statistics, gammas and betas as after a training."""
    generator = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights(
                [
                    generator.uniform(0.8, 1.2, size),
                    generator.normal(0, 0.1, size),
                    generator.normal(0, 0.1, size),
                    generator.uniform(0.8, 1.2, size),
                ]
            )
    return model


def calculate_in(dtype: str) -> None:
    """Set Keras's default type; float64 stays float64, which it does on TensorFlow only."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = dtype


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """The folder of a network's files and inputs, and what Keras computes, by dtype."""
    folder, expected = tmp_path_factory.mktemp(request.param), {}
    shape, make = NETWORKS[request.param]
    options = {"include_top": True, "weights": None, "classes": 10, "classifier_activation": None}
    generator = np.random.default_rng(11)
    inputs, gradient = (generator.normal(size=(4, *n)).astype("f4") for n in (shape, (10,)))
    weights = None
    for dtype in PRECISIONS:
        calculate_in(dtype)
        keras.utils.set_random_seed(3)
        model = make(input_shape=shape, **options)
        weights = moved_off_defaults(model).get_weights() if weights is None else weights
        model.set_weights(weights)
        model.save(folder / f"{dtype}.keras")
        model.save(folder / f"{dtype}.h5")
        given = inputs.astype(dtype), gradient.astype(dtype)
        np.savez(folder / f"{dtype}.npz", inputs=given[0], gradient=given[1])
        expected[dtype] = computed(model, *given)
        if dtype == "float32":  # the same sums in another order
            model.set_weights(weights)
            with torch.no_grad():
                logits = model(given[0][::-1].copy(), training=True).numpy()
            expected["reversed"] = {"training": logits[::-1]}
    calculate_in("float32")
    return folder, expected


def computed(model: Any, inputs: np.ndarray, gradient: np.ndarray) -> dict[str, np.ndarray]:
    """Return what `rebuild.py` writes, by Keras itself."""
    found = {}
    with torch.no_grad():
        found["evaluation"] = model(inputs, training=False).numpy()
    logits = model(inputs, training=True)
    found["training"] = logits.detach().numpy()
    logits.backward(torch.from_numpy(gradient))
    for layer in model.layers:
        for weight in layer.weights:
            name = f"{layer.name}/{weight.name}"
            if weight.trainable:
                found[f"gradients/{name}"] = weight.value.grad.numpy()
            else:
                found[f"statistics/{name}"] = weight.value.detach().numpy().copy()
    return found


def rebuilt(folder: Path, dtype: str, suffix: str) -> dict[str, np.ndarray]:
    """Return what `rebuild.py` computes, in a process of its own."""
    outputs = folder / "outputs.npz"
    arguments = [REBUILD, folder / f"{dtype}{suffix}", folder / f"{dtype}.npz", outputs]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    subprocess.run([sys.executable, *map(str, arguments)], check=True, env=environment)
    with np.load(outputs) as file:
        return dict(file)


@pytest.mark.sweep
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_every_number_in_double_precision(network, suffix):
    folder, expected = network
    found, wanted = rebuilt(folder, "float64", suffix), expected["float64"]
    assert set(found) == set(wanted)
    differences = {name: difference(found[name], wanted[name]) for name in wanted}
    logits = max(differences["evaluation"], differences["training"])
    print(f"float64: logits {logits:.1e}, all numbers {max(differences.values()):.1e}")  # pytest -s
    assert {n: d for n, d in differences.items() if not d <= TOLERANCE} == {}


@pytest.mark.sweep
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_single_precision(network, suffix):
    """In evaluation the logits agree. In training every normalization amplifies what is rounded, so
    that Keras's own are as far from themselves once the images come in another order. There, these
    numbers must be as near to those in double precision as Keras's.
    """
    folder, expected = network
    found, wanted, exact = rebuilt(folder, "float32", suffix), *map(expected.get, PRECISIONS)
    assert set(found) == set(wanted)
    evaluation = difference(found["evaluation"], wanted["evaluation"])
    logits = [x["training"].astype(float) for x in (found, wanted, expected["reversed"], exact)]
    print(f"float32: evaluation {evaluation:.1e}, training {told(*logits)}")  # pytest -s
    assert evaluation <= TOLERANCE
    gradients = [name for name in wanted if name.startswith("gradients/")]
    for what, names in {"logits": ["training"], "gradients": gradients}.items():
        ours, keras_s = (
            np.mean([error(computed[name], exact[name]) for name in names])
            for computed in (found, wanted)
        )
        print(f"  {what}: {ours:.1e}, Keras's {keras_s:.1e}")
        assert ours <= MOST * keras_s


def told(ours: Any, keras_s: Any, keras_s_reversed: Any, exact: Any) -> str:
    """Return in words how far apart the logits are."""
    pairs = {
        "from exact": (ours, exact),
        "Keras's from exact": (keras_s, exact),
        "from Keras's": (ours, keras_s),
        "Keras's from its own in another order": (keras_s_reversed, keras_s),
    }
    return ", ".join(f"{name} {difference(*pair):.1e}" for name, pair in pairs.items())


def error(actual: np.ndarray, exact: np.ndarray) -> float:
    """Return the length of the difference, relative to the exact one's, at most 1.

    Some gradients, of biases before a normalization, are nothing but rounding.
    """
    apart, length = (float(np.linalg.norm(x)) for x in (actual - exact, exact))
    return min(apart / length, 1.0) if length else float(apart > 0)


@pytest.mark.sweep
def test_the_command_compares_all_models_and_can_fail(capsys, monkeypatch):
    assert len(applications.list_names()) == 40
    arguments = ["DenseNet121", "--size", "32"]
    assert applications.main(arguments) == 0
    monkeypatch.setattr(applications, "TOLERANCE", 0.0)
    assert applications.main(arguments) == 1
    assert applications.main(["NASNetMobile"]) == 1
    printed = capsys.readouterr().out
    assert "ok   DenseNet121" in printed and "FAIL DenseNet121" in printed
    assert "FAIL NASNetMobile" in printed and "0 of 1 agree" in printed
