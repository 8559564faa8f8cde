"""Models with masks and states of Keras 2, beside what tf_keras computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .loading import assert_same, load, run
from .models import CALLS, MODELS

GOLDEN = Path(__file__).parents[2] / "golden" / "masks_tf_keras.npz"
with np.load(GOLDEN) as recorded:
    ARRAYS = dict(recorded)
VERSION = json.loads(ARRAYS["versions"].item())["tf_keras"]


def list_arrays(prefix):
    """Return recorded arrays by what follows a prefix."""
    start = f"{prefix}/"
    return {name[len(start) :]: a for name, a in ARRAYS.items() if name.startswith(start)}


def make(name):
    weights = {}
    for path, array in list_arrays(f"{name}/weights").items():
        weights.setdefault(path.rpartition("/")[0], []).append(array)
    return load(json.loads(ARRAYS[f"{name}/config"].item()), VERSION, weights.items())


def expected(name, call):
    outputs = list(list_arrays(f"{name}/{call}/outputs").values())
    masks = list_arrays(f"{name}/{call}/masks")
    return outputs, [masks.get(str(i)) for i in range(len(outputs))]


def inputs_of(name, call):
    return list(list_arrays(f"{name}/{call}/inputs").values())


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_masks_are_those_of_keras_2(name):
    model = make(name)
    for call in range(CALLS):
        assert_same(run(model, inputs_of(name, call)), *expected(name, call))
