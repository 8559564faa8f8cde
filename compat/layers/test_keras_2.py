"""Layers that compute something else in Keras 2, against arrays recorded from it."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compat.layers.configurations import relative_difference
from kerastorch import layers
from kerastorch._core.registry import LAYERS
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config

with np.load(Path(__file__).parents[1] / "golden" / "keras_2.npz") as recorded:
    ARRAYS = dict(recorded)
CASES = json.loads(ARRAYS["cases"].item())
EACH = pytest.mark.parametrize("index", range(len(CASES)))
# Their configs of Keras 2 look as in Keras 3: only a model tells them apart.
ALIKE = ("UnitNormalization",)


def check(layer: Any, index: int) -> None:
    """Require a recorded output, and its dtype."""
    with torch.no_grad():
        found = layer.eval()(torch.from_numpy(ARRAYS[f"{index}/input"]))
    wanted = ARRAYS[f"{index}/output"]
    assert str(found.dtype).removeprefix("torch.") == CASES[index]["output_dtype"]
    assert found.shape == wanted.shape
    most = 1e-3 if wanted.dtype == np.float16 else 1e-6
    if CASES[index]["config"].get("interpolation") == "bilinear":
        most *= 2  # far from the origin torch rounds the positions otherwise
    assert relative_difference(found.double().numpy(), wanted.astype(float)) <= most


def in_a_model(index: int) -> Any:
    """Return the layer in a Sequential model of Keras 2."""
    case = CASES[index]
    shape = [None, *ARRAYS[f"{index}/input"].shape[1:]]
    config = {**case["config"], "batch_input_shape": shape}
    entry = {"class_name": case["layer"], "config": config}
    model = {"name": "m", "layers": [entry]}
    return build_model(parse_model_config({"class_name": "Sequential", "config": model}, "here"))


@EACH
def test_a_config_of_keras_2_computes_what_it_did_there(index: int) -> None:
    case = CASES[index]
    if case["layer"] not in ALIKE:
        check(getattr(layers, case["layer"]).from_config(case["config"]), index)


@EACH
def test_a_model_of_keras_2_computes_what_it_did_there(index: int) -> None:
    case, inputs = CASES[index], ARRAYS[f"{index}/input"]
    if inputs.ndim == 3 and case["layer"] not in ALIKE:
        return  # a single image, which is no batch
    config = {**case["config"], "batch_input_shape": [None, *inputs.shape[1:]]}
    content = {"name": "m", "layers": [{"class_name": case["layer"], "config": config}]}
    entry = {"class_name": "Sequential", "config": content}
    model = build_model(parse_model_config(entry, "here")).eval()
    layer: Any = list(model.layers.values())[-1]
    if layer.differs_in_keras_2:  # a model casts integers for the others
        check(model, index)
    written = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(written)
    for one in (layer, again, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert json.loads(json.dumps(one.get_config())) == written
        check(one, index)


def test_every_layer_that_differs_is_recorded() -> None:
    written = {case["layer"] for case in CASES}
    differs = {name for name, cls in LAYERS.items() if cls.differs_in_keras_2}
    of_keras_3 = {  # Keras 2 lacks them
        *("AugMix", "AutoContrast", "CutMix", "Equalization", "MixUp", "RandAugment"),
        *("RandomColorDegeneration", "RandomColorJitter", "RandomElasticTransform"),
        *("RandomErasing", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert"),
        *("RandomPerspective", "RandomPosterization", "RandomSaturation", "RandomSharpness"),
        *("RandomShear", "Solarization"),
    }
    apart = ("attention", "recurrent", "wrappers")  # layers of sequences: whole models are recorded
    differs -= {n for n in differs if LAYERS[n].__module__.split(".")[2] in apart}
    differs.remove("Dot")  # recorded as a model, too
    assert differs - of_keras_3 == written - {"RandomHeight", "RandomWidth"}
    assert not written & of_keras_3


@pytest.mark.parametrize(
    "name, dtype", [("RandomCrop", "float32"), ("UnitNormalization", "float32"),
                    ("Resizing", "uint8"), ("RandomContrast", "uint8")],
)  # fmt: skip
def test_keras_3_computes_something_else(name: str, dtype: str) -> None:
    told = [(case["layer"], case["dtype"]) for case in CASES]
    index = told.index((name, dtype))
    layer = getattr(layers, name).from_config({**CASES[index]["config"], "keras_2": True})
    check(layer, index)
    layer.keras_2 = False
    with pytest.raises(AssertionError):
        check(layer, index)
