"""Layers of sequences in models of Keras 2, beside what tf_keras computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from compat.models.masks.loading import find_layer, run
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all

from .models import CALLS, MODELS, UNITS

GOLDEN = Path(__file__).parents[2] / "golden" / "sequences_tf_keras.npz"
with np.load(GOLDEN) as recorded:
    ARRAYS = dict(recorded)
VERSION = json.loads(ARRAYS["versions"].item())["tf_keras"]


class Adding(nn.Module):
    """The cell of `make_cell`."""

    state_size = UNITS

    def forward(self, inputs, states, constants=None):
        output = torch.tanh(inputs - states[0] + constants[0])
        return output, [output]


def list_arrays(prefix):
    """Return recorded arrays by what follows a prefix."""
    start = f"{prefix}/"
    return {name[len(start) :]: a for name, a in ARRAYS.items() if name.startswith(start)}


def load(name):
    config = json.loads(ARRAYS[f"{name}/config"].item())
    spec = parse_model_config(config, "config.json", VERSION)
    model = build_model(spec, custom_layers={"Adding": lambda _: Adding()})
    build_all(model)
    weights = {}
    for path, array in list_arrays(f"{name}/weights").items():
        weights.setdefault(path.rpartition("/")[0], []).append(array)
    for path, arrays in weights.items():
        find_layer(model, path).set_weights(arrays)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_outputs_states_and_losses_are_those_of_keras_2(name):
    model = load(name)
    for call in range(CALLS):
        found, _ = run(model, list(list_arrays(f"{name}/{call}/inputs").values()))
        outputs = list(list_arrays(f"{name}/{call}/outputs").values())
        assert len(found) == len(outputs)
        for one, wanted in zip(found, outputs, strict=True):
            assert_close(one, torch.from_numpy(wanted), rtol=1e-5, atol=2e-6)
        losses = sorted(term.item() for term in model.losses)
        wanted = sorted(float(a) for a in list_arrays(f"{name}/{call}/losses").values())
        assert_close(losses, wanted, rtol=1e-5, atol=1e-6)


def test_every_recorded_model_is_compared():
    names = {name.split("/")[0] for name in ARRAYS} - {"versions"}
    assert names == {*MODELS} and len(names) >= 142
