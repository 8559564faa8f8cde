"""What `inspect` prints."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

from kerastorch._cli import inspect_file
from kerastorch.saving.formats.open import open_weight_file
from tests.cli.command import DIGITS, FILES, PARAMETERS


def test_inspect_shows_every_layer(run):
    code, out, err = run("inspect", DIGITS)
    assert (code, err) == (0, "")
    assert "Keras .keras archive, by Keras 3.15.1" in out
    assert "model: Sequential 'digits'" in out
    assert "layers/batch_normalization" in out
    assert "kernel (3, 3, 16, 32) float32" in out
    assert f"parameters: {PARAMETERS:,}" in out
    assert "not loaded: optimizer" in out
    assert out.endswith("load_model supports this model.\n")


def test_inspect_as_json(run):
    code, out, err = run("inspect", "--json", DIGITS)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["model"], told["keras_version"], told["loads"]) == ("Sequential", "3.15.1", True)
    assert told["parameters"] == PARAMETERS == sum(n["parameters"] for n in told["layers"])
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert list(layers)[1:4] == ["rescaling", "conv1", "norm1"]
    assert layers["conv2"]["path"] == "layers/conv2d_1"
    assert layers["conv2"]["weights"][0] == {
        "name": "kernel",
        "path": "layers/conv2d_1/vars/0",
        "shape": [3, 3, 16, 32],
        "dtype": "float32",
    }
    assert all(layer["supported"] and layer["problem"] is None for layer in told["layers"])


@pytest.mark.parametrize(
    "name, model, parameters, supported",
    [
        ("keras-2.13.1/fun_nested.h5", "Functional", 229, {True}),
        ("keras-2.13.1/wrappers.h5", "Functional", 1980, {True}),
        ("keras-2.13.1/subclass.keras", "Sub", 26, {None}),
        ("keras-3.15.1/seq_dir", "Sequential", 562, {True}),
        ("keras-3.15.1/seq_adam.weights.h5", None, 562, {None}),
        ("keras-3.15.1/seq_shard.weights.json", None, 562, {None}),
        ("keras-3.15.1/gw_named.npz", None, 74, {None}),
        ("keras-3.15.1/fun_nested.json", "Functional", 0, {True}),
    ],
)
def test_inspect_reads_every_kind_of_file(run, name, model, parameters, supported):
    code, out, err = run("inspect", "--json", FILES / name)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["model"], told["parameters"]) == (model, parameters)
    assert {layer["supported"] for layer in told["layers"]} == supported
    assert told["loads"] == (supported == {True})
    assert (told["problem"] is None) == told["loads"]
    assert run("inspect", FILES / name)[0] == 0


def test_inspect_marks_what_is_not_supported(run, tmp_path):
    layer = {"class_name": "StringLookup", "config": {"name": "words"}}
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}
    (tmp_path / "m.json").write_text(json.dumps(model))
    _, out, _ = run("inspect", tmp_path / "m.json")
    (line,) = [line for line in out.splitlines() if line.startswith("words ")]
    assert "StringLookup" in line and line.endswith("not supported")
    assert "load_model does not support it" in out


def test_inspect_reads_no_array_and_builds_nothing(run, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("read or built")

    def without_arrays(layer):
        return replace(layer, weights=tuple(replace(w, read=refuse) for w in layer.weights))

    @contextmanager
    def opened(path, **options):
        with open_weight_file(path, **options) as contents:
            yield replace(contents, layers=tuple(map(without_arrays, contents.layers)))

    monkeypatch.setattr(inspect_file, "open_weight_file", opened)
    monkeypatch.setattr("kerastorch.layers.Conv2D._materialize", refuse)
    assert run("inspect", DIGITS)[0] == 0
