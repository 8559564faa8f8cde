"""A network of each family of keras.applications, rebuilt in a process without Keras."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.applications import convnext, nasnet

from compat.models import applications
from compat.models.applications import TOLERANCE, difference

REBUILD = Path(__file__).with_name("rebuild.py")
PRECISIONS = ("float32", "float64")
NETWORKS: dict[str, tuple[int, Any, dict[str, Any]]] = {  # size of the images, class, arguments
    "VGG16": (64, keras.applications.VGG16, {}),
    "ResNet50": (64, keras.applications.ResNet50, {}),
    "ResNet50V2": (64, keras.applications.ResNet50V2, {}),
    "DenseNet121": (64, keras.applications.DenseNet121, {}),
    "InceptionV3": (75, keras.applications.InceptionV3, {}),
    "InceptionResNetV2": (75, keras.applications.InceptionResNetV2, {}),
    "Xception": (71, keras.applications.Xception, {}),
    "MobileNet": (64, keras.applications.MobileNet, {"alpha": 0.25}),
    "MobileNetV2": (64, keras.applications.MobileNetV2, {"alpha": 0.35}),
    "MobileNetV3Small": (64, keras.applications.MobileNetV3Small, {}),
    "EfficientNetB0": (64, keras.applications.EfficientNetB0, {}),
    "EfficientNetV2B0": (64, keras.applications.EfficientNetV2B0, {}),
    "NASNet": (
        64,
        nasnet.NASNet,
        {"penultimate_filters": 96, "num_blocks": 1, "stem_block_filters": 8},
    ),
    "ConvNeXt": (
        64,
        convnext.ConvNeXt,
        {"depths": [1, 1, 2, 1], "projection_dims": [16, 24, 32, 48], "drop_path_rate": 0.2},
    ),
}
MOST = 4  # times Keras's own error in single precision
IN_H5 = ("MobileNetV2", "ConvNeXt")  # too


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """What is computed of a network by file in a process without Keras, and by dtype in Keras."""
    folder, expected = tmp_path_factory.mktemp(request.param), {}
    size, make, more = NETWORKS[request.param]
    options = {"weights": None, "classes": 10, "classifier_activation": None, **more}
    generator, weights = np.random.default_rng(11), None
    images = applications.draw_images(generator, (size, size, 3)).astype("float32")
    gradient = generator.normal(size=(len(images), 10)).astype("float32")
    for dtype in PRECISIONS:
        applications.calculate_in(dtype)
        keras.utils.clear_session()  # so that both number their layers from 0
        keras.utils.set_random_seed(3)
        model = make(input_shape=(size, size, 3), **options)
        switch_off_dropout(model)
        if weights is None:
            applications.move_off_defaults(model, generator)
            applications.calibrate(model, images, factor=1.5)
            weights = model.get_weights()
        model.set_weights(weights)
        for suffix in (".keras", ".h5") if request.param in IN_H5 else (".keras",):
            model.save(folder / f"{dtype}{suffix}")
        given = images.astype(dtype), gradient.astype(dtype)
        np.savez(folder / f"{dtype}.npz", inputs=given[0], gradient=given[1])
        expected[dtype] = computed(model, *given)
    applications.calculate_in("float32")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    subprocess.run([sys.executable, REBUILD, folder], check=True, env=environment)
    found, end = {}, ".outputs.npz"
    for path in folder.glob(f"*{end}"):
        with np.load(path) as arrays:
            found[path.name.removesuffix(end)] = dict(arrays)
    shutil.rmtree(folder)
    return found, expected


def switch_off_dropout(model: Any) -> None:
    """Set the rates to 0, which the file tells the other side: no two draw the same numbers."""
    for layer in model._flatten_layers():
        for rate in ("rate", "drop_path_rate"):
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)


def computed(model: Any, inputs: np.ndarray, gradient: np.ndarray) -> dict[str, np.ndarray]:
    """Return what `rebuild.py` writes, by Keras itself."""
    found = {}
    with torch.no_grad():
        found["evaluation"] = model(inputs, training=False).numpy()
    logits = model(inputs, training=True)
    found["training"] = logits.detach().numpy()
    logits.backward(torch.from_numpy(gradient))
    for name, weight in weights_of(model):
        if weight.trainable:
            found[f"gradients/{name}"] = weight.value.grad.numpy()
        else:
            found[f"statistics/{name}"] = weight.value.detach().numpy().copy()
    return found


def weights_of(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the weights by the names of the layers that they are in, and their number there."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from weights_of(layer, f"{path}{layer.name}/")
        else:
            yield from ((f"{path}{layer.name}/{i}", one) for i, one in enumerate(layer.weights))


@pytest.mark.sweep
def test_every_number_in_double_precision(network):
    found, expected = network
    wanted = expected["float64"]
    # Some are nothing but rounding, as of a bias before a normalization.
    least = 1e-6 * max(np.abs(wanted[key]).max() for key in wanted if "gradients" in key)
    for name in [name for name in found if name.startswith("float64")]:
        assert set(found[name]) == set(wanted)
        differences = {
            key: difference(found[name][key], wanted[key], least if "gradients" in key else 1e-6)
            for key in wanted
        }
        logits = max(differences["evaluation"], differences["training"])
        print(f"{name}: logits {logits:.1e}, all {max(differences.values()):.1e}")  # pytest -s
        assert {key: d for key, d in differences.items() if not d <= TOLERANCE} == {}


@pytest.mark.sweep
def test_single_precision(network):
    """In evaluation the logits agree. In training every normalization amplifies what is rounded, so
    there they must be as near to those in double precision as Keras's, but for chance.
    """
    found, (wanted, exact) = network[0]["float32.keras"], network[1].values()
    evaluation = difference(found["evaluation"], wanted["evaluation"])
    ours, keras_s = (
        np.linalg.norm(computed["training"] - exact["training"]) for computed in (found, wanted)
    )
    print(f"float32: evaluation {evaluation:.1e}; training {ours / keras_s:.2f} of Keras's error")
    assert evaluation <= TOLERANCE
    assert ours <= MOST * keras_s


@pytest.mark.sweep
def test_the_command_compares_all_models_and_can_fail(capsys, monkeypatch):
    assert len(applications.list_names()) == 40
    arguments = ["MobileNet", "--size", "32"]
    assert applications.main(arguments) == 0
    monkeypatch.setattr(applications, "TOLERANCE", 0.0)
    assert applications.main(arguments) == 1
    assert applications.main(["NASNetMobile", "--tensorflow", "/nowhere"]) == 1
    printed = capsys.readouterr().out
    assert "ok   MobileNet" in printed and "FAIL MobileNet " in printed
    assert "in double precision" in printed
    assert "FAIL NASNetMobile" in printed and "0 of 1 agree" in printed
