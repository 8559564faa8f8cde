"""load_weights and load_model on small files and configs: what they return, refuse and leave."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError, LoadEntry, LoadReport
from tests.weights.weight_files import (
    TWO,
    array,
    json_file,
    sequential,
    tree_file,
    weights_of_two,
)

# The report


def test_the_report_is_a_table_and_plain_data():
    entries = (LoadEntry("a.weight", "layers/dense/vars/0", (2, 10), "float32"),)
    report = LoadReport(
        "m.h5",
        "a format",
        "name",
        entries,
        unexpected=(LoadEntry(None, "layers/x/vars/0", (), "int32"),),
        missing=(LoadEntry("b.bias", None, None, "float16"),),
        warnings=("careful",),
    )
    assert str(report).splitlines() == [
        "m.h5 (a format), matched by name",
        "a.weight      layers/dense/vars/0  (2, 10)  float32",
        "b.bias        (missing)                     float16",
        "(unexpected)  layers/x/vars/0      ()       int32",
        "warning: careful",
    ]
    said = "<LoadReport of m.h5: 1 loaded, 1 unexpected, 1 missing, 1 warnings, by name>"
    assert repr(report) == said
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert report.to_dict()["loaded"][0]["shape"] == [2, 10]


# Arguments


def test_arguments_are_checked():
    arrays = [array(2, 2), array(2)]
    with pytest.raises(TypeError, match="module"):
        keras.load_weights("model", arrays)
    with pytest.raises(ValueError, match="'name' or 'order'"):
        keras.load_weights(nn.Linear(2, 2), arrays, by="luck")
    with pytest.raises(TypeError, match="mapping"):
        keras.load_weights(nn.Linear(2, 2), arrays, mapping=["a"])
    with pytest.raises(FileNotFoundError):
        keras.load_weights(nn.Linear(2, 2), "nowhere.h5")
    with pytest.raises(TypeError):
        keras.load_weights(nn.Linear(2, 2), 3)


def test_arrays_are_let_go_as_soon_as_they_are_parameters(tmp_path):
    width, count = 256, 12
    layers = [("Dense", {"units": width, "name": f"d{n}"}) for n in range(count)]
    config = sequential(("InputLayer", {"batch_shape": [None, width], "name": "x"}), *layers)
    groups = {
        f"layers/dense{f'_{n}' if n else ''}": [array(width, width), array(width)]
        for n in range(count)
    }
    path, weights = json_file(tmp_path, config), tree_file(tmp_path, groups)
    held = []
    tracemalloc.start()  # it sees what arrays are read into, and not torch's own memory

    def note(_):
        held.append(tracemalloc.get_traced_memory()[0])

    try:
        keras.load_model(path, weights=weights, progress=note)
    finally:
        tracemalloc.stop()
    assert len(held) >= count
    assert max(held) - min(held) < 3 * 4 * width * width


# Files that break


def test_a_file_that_changes_while_it_is_read_changes_nothing(tmp_path):
    path = tree_file(tmp_path, weights_of_two())
    model = nn.Sequential(nn.Conv2d(3, 2, (2, 3)), nn.Linear(2, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def cut(_):
        with path.open("r+b") as file:
            file.truncate(100)

    with pytest.raises(FileError):
        keras.load_weights(model, path, progress=cut)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Devices and modes


def test_the_type_of_the_numbers_is_the_modules(tmp_path):
    arrays = [array(3, 2).astype("float64"), array(2).astype("float16")]
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        module = nn.Linear(3, 2, dtype=kind)
        keras.load_weights(module, arrays)
        assert torch.equal(module.weight, torch.from_numpy(arrays[0].T.copy()).to(kind))


def test_loading_under_inference_mode_leaves_weights_that_can_be_trained():
    model = nn.Sequential(keras.layers.Dense(2), nn.Linear(2, 1))
    with torch.inference_mode():
        keras.load_weights(model, [array(3, 2), array(2), array(2, 1), array(1)])
    model(torch.ones(1, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_models_go_to_a_device(tmp_path, device):
    config, weights = json_file(tmp_path, TWO), tree_file(tmp_path, weights_of_two())
    model = keras.load_model(config, weights=weights, device=device)
    assert {parameter.device.type for parameter in model.parameters()} == {device}
    keras.load_weights(model, weights)


def test_optimizers_go_on_with_loaded_weights(tmp_path):
    model = keras.load_model(
        json_file(tmp_path, TWO), weights=tree_file(tmp_path, weights_of_two())
    )
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.rand(2, 5, 4, 3)).square().sum().backward()
        assert all(p.grad.stride() == p.stride() for p in model.parameters() if p.ndim == 4)
        optimizer.step()
        keras.load_weights(model, tmp_path / "m.weights.h5")


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_does_not_match_is_listed_in_the_words_of_torch(in_memory, tmp_path):
    arrays = {"0/kernel": np.ones((3, 2), "float32"), "0/scale": np.ones(2, "float32")}
    np.savez(tmp_path / "a.npz", **arrays)
    source = arrays if in_memory else tmp_path / "a.npz"
    with pytest.raises(FileError) as error:
        keras.load_weights(nn.Sequential(nn.Linear(3, 2)), source)
    place = "source" if in_memory else "file"
    assert f"\n  missing: 0.bias (2,) is not in the {place}\n" in str(error.value)
    assert "\n  unexpected: 0/scale (2,) matches no parameter\n" in str(error.value)
