"""Models of old TensorFlow, and those that TensorFlow.js itself saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_weight_file
from tests.formats.tensorflow_files.bundle import pack, write_files
from tests.formats.tensorflow_files.object_graph import trace, track
from tests.formats.tensorflow_files.protobuf import changed
from tests.formats.tensorflow_files.saved_model import METADATA, build_saved_model
from tests.formats.tensorflow_files.tensorflow_js import build_model

RANDOM = np.random.default_rng(5)


def sequential(name, *layers, size=3):
    (kind, first), *rest = layers
    entries = [(kind, {**first, "batch_input_shape": [None, size]}), *rest]
    listed = [{"class_name": kind, "config": config} for kind, config in entries]
    return {"class_name": "Sequential", "config": {"name": name, "layers": listed}}


INNER = sequential("inner", ("Dense", {"name": "b", "units": 3}), size=3)
CONFIG = sequential("net", ("Dense", {"name": "a", "units": 3}))
CONFIG["config"]["layers"] += [INNER, {"class_name": "Dense", "config": {"name": "c", "units": 3}}]


def draw(*shape):
    return RANDOM.normal(size=shape).astype("float32")


A, B, C = ({"kernel": draw(3, 3), "bias": draw(3)} for _ in range(3))
ARRAYS = {"a": A, "inner": {"b": B}, "c": C}


def check(model):
    layers = ((model.a, A), (model.inner.b, B), (model.c, C))
    for layer, arrays in layers:
        assert torch.equal(layer.weight, torch.from_numpy(arrays["kernel"]).T)


@pytest.mark.parametrize("form", ["saved_model", "assets"])
def test_tensorflow_2_0_numbers_the_inputs_of_sequentials(tmp_path, form):
    root = track(CONFIG, ARRAYS, numbered_inputs=True)
    model = build_saved_model(CONFIG, ARRAYS, tensorflow="2.0.0")
    files = trace(root).bundle(shards=2).files("variables/variables")
    old = {name: data for name, data in model.files(form).items() if "variables" not in name}
    check(kerastorch.load_model(write_files(tmp_path, {**old, **files})))


def test_a_checkpoint_of_tensorflow_2_0(tmp_path):
    write_files(tmp_path, trace(track(CONFIG, ARRAYS, numbered_inputs=True)).files("w"))
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    check(kerastorch.load_model(tmp_path / "c.json", weights=tmp_path))
    module = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    kerastorch.load_weights(module, tmp_path / "w")
    assert torch.equal(module[2].weight, torch.from_numpy(C["kernel"]).T)


def test_a_checkpoint_whose_name_is_that_of_the_file_about_it(tmp_path):
    write_files(tmp_path, trace(track(CONFIG, ARRAYS)).files("checkpoint"))
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    for path in (tmp_path, tmp_path / "checkpoint", tmp_path / "checkpoint.index"):
        check(kerastorch.load_model(tmp_path / "c.json", weights=path))


def test_layers_without_a_config_are_told(tmp_path):
    model = build_saved_model(CONFIG, ARRAYS)
    bare = {"class_name": "Block", "config": {"layer was saved without config": True}}
    layers = [*CONFIG["config"]["layers"], bare, bare]
    root = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    text = json.dumps({**root, "model_config": {"class_name": "Sequential"}})
    model.metadata[0] = changed(model.metadata[0], METADATA, text)
    write_files(tmp_path, model.files())
    with pytest.raises(FileError, match=r"without `get_config` have no config in it: \['Block'\]"):
        kerastorch.load_model(tmp_path)


def test_the_optimizer_of_tensorflow_1_is_not_loaded(tmp_path):
    arrays = {"a/W": draw(3, 3), "b/W": draw(3, 3)}
    slots = {f"{key}/{slot}": array for key, array in arrays.items() for slot in ("Adam", "Adam_1")}
    state = {"beta1_power": np.array(0.9, "float32"), "global_step": np.array(7)}
    write_files(tmp_path, pack({**arrays, **slots, **state}).files("w"))
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    kerastorch.load_weights(module, tmp_path / "w", mapping={"0": "b", "1": "a"})
    assert torch.equal(module[0].weight, torch.from_numpy(arrays["b/W"]).T)
    with open_weight_file(tmp_path / "w") as contents:
        assert sorted(contents.ignored) == sorted({**slots, **state})


LSTM = {"name": "l", "units": 2, "implementation": None, "unit_forget_bias": None}
GRU = {"name": "g", "units": 2, "implementation": None, "return_sequences": True}


def save(folder, *layers, **arrays):
    # In TensorFlow.js a Sequential's config is a list of layers.
    listed = sequential("net", *layers)["config"]["layers"]
    topology = {"class_name": "Sequential", "config": listed, "keras_version": "tfjs-layers 1.1.0"}
    weights = {name.replace("__", "/"): array for name, array in arrays.items()}
    write_files(folder, build_model(topology, weights, format=None).files())
    return kerastorch.load_model(folder)


def test_tensorflow_js_writes_null_for_what_it_was_not_given(tmp_path):
    embedding = {"name": "e", "input_dim": 9, "output_dim": 4, "mask_zero": None}
    dropout = {"name": "d", "rate": None, "noise_shape": None}
    layers = ("Embedding", embedding), ("GRU", GRU), ("Dropout", dropout), ("LSTM", LSTM)
    gru = {"g__kernel": draw(4, 6), "g__recurrent_kernel": draw(2, 6), "g__bias": draw(6)}
    lstm = {"l__kernel": draw(2, 8), "l__recurrent_kernel": draw(2, 8), "l__bias": draw(8)}
    model = save(tmp_path, *layers, e__embeddings=draw(9, 4), **gru, **lstm)
    assert model.d.rate == 0 and not model.e.mask_zero
    # Its defaults where a key is absent are those of the first Keras 2.
    for layer in (model.g, model.l):
        assert layer.recurrent_activation is kerastorch.activations.hard_sigmoid_keras2
    assert not model.g.reset_after
    assert torch.equal(model.l.weight_hh_l0, torch.from_numpy(lstm["l__recurrent_kernel"]).T)
    assert model(torch.zeros(1, 3)).shape == (1, 2)


def test_only_tensorflow_js_itself_writes_such_nulls(tmp_path):
    dense, dropout = {"name": "a", "units": 3}, {"name": "d", "rate": None}
    config = sequential("net", ("Dense", dense), ("Dropout", dropout))
    topology = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": config}
    weights = {f"a/{name}": array for name, array in A.items()}
    write_files(tmp_path, build_model(topology, weights).files())
    with pytest.raises(FileError, match=r"Dropout: `rate` must be a number"):
        kerastorch.load_model(tmp_path)
