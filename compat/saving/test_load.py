"""Files of every Keras against real Keras: the same weights, the same outputs, and back."""

from __future__ import annotations

import gzip
import json

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from compat.saving.models import (
    FILES,
    PARTS,
    Sub,
    arguments,
    arrays_of,
    assert_same_outputs,
    randomize,
)
from kerastorch import layers
from kerastorch.saving import FileError

WRITERS = sorted(path.name for path in FILES.iterdir() if path.is_dir())
MODELS = ("seq_adam", "fun_nested", "inits", "lora", "dt_bfloat16")


# Files of one model that a writer made, whole ones and those whose config is in another file.
WHOLE = (".keras", ".h5", "_legacy.h5")


def cases():
    for writer in WRITERS:
        for model in MODELS:
            found = [FILES / writer / f"{model}{end}" for end in (*WHOLE, *PARTS)]
            present = [path for path in found if path.exists()]
            if present:
                yield pytest.param(present, id=f"{writer}-{model}")


@pytest.mark.parametrize("paths", list(cases()))
def test_all_files_of_a_model_hold_the_same_weights(paths):
    found = {}
    for path in paths:
        given, options = arguments(path)
        model = kerastorch.load_model(*given, **options)
        assert not model.training
        found[path.name] = arrays_of(model)
    first = next(iter(found.values()))
    assert first
    for arrays in found.values():
        assert arrays.keys() == first.keys()
        for name, value in arrays.items():
            if "lora" not in str(paths[0]):  # whose factors only old files keep apart
                np.testing.assert_array_equal(value, first[name])


def whole_files():
    for writer in WRITERS:
        for path in sorted((FILES / writer).iterdir()):
            known = path.name.startswith((*MODELS, "dt_", "legacy_order", "seq_dir"))
            if known and not path.name.endswith((*PARTS, ".json")):
                yield pytest.param(path, id=f"{writer}-{path.name}")


def is_read_by_keras(path):
    """Whether this Keras reads a file: hardly any of Keras 2's."""
    if path.name == "dt_bfloat16_legacy.h5":
        return False
    return path.parent.name.startswith("keras-3") or path.name == "seq_adam.h5"


@pytest.mark.parametrize("path", list(whole_files()))
def test_a_model_computes_what_it_does_in_keras_and_goes_back(tmp_path, path):
    ours = kerastorch.load_model(path)
    kerastorch.save_weights(ours, tmp_path / "m.weights.h5")
    again = kerastorch.load_model(path, weights=tmp_path / "m.weights.h5")
    if "lora" not in path.name:  # Keras, too, writes the kernel merged
        for name, value in ours.state_dict().items():
            assert torch.equal(again.state_dict()[name], value)
    if is_read_by_keras(path):
        theirs = keras.models.load_model(path, compile=False)
        assert_same_outputs(ours, theirs)
        randomize(theirs)
        theirs.load_weights(tmp_path / "m.weights.h5")
        assert_same_outputs(ours, theirs)


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1", "tf_keras-2.21"])
def test_files_that_keras_cannot_read_have_the_weights_in_their_places(writer):
    """The outputs are those of the same weights in Keras's own layers, set by name."""
    ours = kerastorch.load_model(FILES / writer / "fun_nested.h5")
    theirs = keras.models.load_model(FILES / "keras-3.15.1" / "fun_nested.keras", compile=False)
    for name in ("shared_conv", "d"):
        theirs.get_layer(name).set_weights(ours.layers[name].get_weights())
    inner, outer = theirs.get_layer("subfun"), ours.layers["subfun"]
    inner.get_layer("inner_c").set_weights(outer.layers["inner_c"].get_weights())
    ours_c = next(m for m in ours.layers["subseq"].layers.values() if isinstance(m, layers.Conv2D))
    theirs.get_layer("subseq").layers[0].set_weights(ours_c.get_weights())
    assert_same_outputs(ours, theirs)


@pytest.mark.parametrize("name", ["activations.h5", "activations.keras", "activations_w.h5"])
def test_activations_of_keras_2_compute_what_they_did_there(name):
    folder = FILES / "tf_keras-2.21"
    recorded = np.load(folder / "activations.outputs.npz")
    given, options = arguments(folder / name)
    model = kerastorch.load_model(*given, **options)
    with torch.no_grad():
        np.testing.assert_allclose(model(recorded["x"]), recorded["y"], rtol=1e-5, atol=1e-6)
    kerastorch.load_weights(model, folder / name)


def test_attributes_that_are_split_are_read(tmp_path):
    path = tmp_path / "model.h5"
    with gzip.open(FILES / "keras-3.15.1" / "chunked_layer_names.h5.gz") as packed:
        path.write_bytes(packed.read())
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1, bias=False) for _ in range(4)))
    report = kerastorch.load_weights(model, path)
    names = [entry.source[:9] for entry in report.loaded]
    assert names == ["layer_000", "layer_010", "layer_020", "layer_030"]


@pytest.mark.parametrize("name", ["gw_pos.npz", "gw_named.npz"])
def test_dumps_of_arrays_load(name):
    path, model = FILES / "keras-3.15.1" / name, nn.Sequential(layers.Conv2D(2, 3), layers.Dense(2))
    kerastorch.load_weights(model, path)
    with np.load(FILES / "keras-3.15.1" / "gw_pos.npz") as arrays:
        for ours, theirs in zip(model, (("arr_0", "arr_1"), ("arr_2", "arr_3")), strict=True):
            for value, key in zip(ours.get_weights(), theirs, strict=True):
                np.testing.assert_array_equal(value, arrays[key])


def test_a_file_from_windows_loads():
    path = FILES / "keras-3.15.1" / "windows_backslash.weights.h5"
    report = kerastorch.load_weights(nn.Conv2d(2, 2, 1), path)
    assert [entry.source for entry in report.loaded] == [
        "layers/conv2d/vars/0",
        "layers/conv2d/vars/1",
    ]


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1"])
def test_subclassed_models_load_by_a_mapping(writer):
    folder = FILES / writer
    old = {
        "a": "conv2d",
        "blocks.0": "conv2d_1",
        "blocks.1": "conv2d_2",
        "z": "conv2d_3",
        "w": "top_level_model_weights/w:0",
    }
    first = Sub()
    report = kerastorch.load_weights(first, folder / "subclass_w.h5", mapping=old)
    assert len(report.loaded) == 9
    values = {array.tobytes() for array in arrays_of(first).values()}
    tree = Sub()
    with pytest.raises(FileError):
        kerastorch.load_weights(tree, folder / "subclass.weights.h5")
    if writer == "keras-2.13.1":
        new = {"a": "a", "blocks.0": "blocks/conv2d", "blocks.1": "blocks/conv2d_1"}
        new["z"] = "layers/conv2d_2"
    else:
        new = {"a": "layers/conv2d", "blocks.0": "layers/conv2d_1", "blocks.1": "layers/conv2d_2"}
        new["z"] = "z"
    kerastorch.load_weights(tree, folder / "subclass.weights.h5", mapping={**new, "w": "vars/0"})
    assert {array.tobytes() for array in arrays_of(tree).values()} == values


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1", "keras-3.0.5", "keras-3.14.1"])
def test_a_wrapped_layer_loads_by_a_mapping(writer):
    path = FILES / writer / "wrappers.weights.h5"
    module = nn.Conv2d(3, 2, 3)
    mapping = {"0": "layers/time_distributed/layer"}
    report = kerastorch.load_weights(nn.Sequential(module), path, mapping=mapping, strict=False)
    assert len(report.loaded) == 2
    assert any("lstm_cell" in entry.source for entry in report.unexpected)


def test_unsupported_layers_are_told(tmp_path):
    layer = {"class_name": "StringLookup", "config": {"name": "words"}}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}
    (tmp_path / "m.json").write_text(json.dumps(model))
    with pytest.raises(FileError, match="StringLookup"):
        kerastorch.load_model(tmp_path / "m.json")
    with pytest.raises(FileError, match="load_weights"):
        kerastorch.load_model(FILES / "keras-3.15.1" / "seq_adam.weights.h5")
    with pytest.raises(FileError, match="weights="):
        kerastorch.load_model(FILES / "keras-3.15.1" / "seq_adam.json")


def test_the_weights_of_another_model_are_refused():
    folder = FILES / "keras-3.15.1"
    for other in ("fun_nested.weights.h5", "lora.weights.h5"):
        with pytest.raises(FileError, match="nothing was changed"):
            kerastorch.load_model(folder / "seq_adam.json", weights=folder / other)
