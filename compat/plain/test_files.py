"""Files of every writer, and networks of keras.applications, as plain PyTorch code."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import kerastorch
from compat.models.test_applications import NETWORKS
from compat.models.test_writers import SHIFTED, WHOLE, list_files
from compat.plain.write import FOLDER, GOLDEN, write_text
from kerastorch.plain.proof.written_module import make_module

# One file of each model of each writer
FILES = {found[:2]: found for found in reversed(list(list_files())) if found[2] in WHOLE}
CHECKS = (
    ("ruff", "check", "--isolated", "--line-length", "100", "--select", "E,F,W,I,UP,B,C4,PIE"),
    ("ruff", "format", "--check", "--isolated", "--line-length", "100"),
    ("mypy", "--config-file", ""),
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The folder of all texts that the tests of this file write, checked by the last one."""
    return tmp_path_factory.mktemp("texts")


@pytest.mark.sweep
@pytest.mark.parametrize(("writer", "model", "ending"), FILES.values())
def test_the_code_computes_the_writer_s_outputs(unpack, texts, writer, model, ending):
    folder = unpack(writer)
    source = kerastorch.to_source(kerastorch.load_model(folder / f"{model}{ending}"))
    write_file(texts, f"{writer}_{model}", source.text)
    plain = make_module(source.text, source.class_name).eval()
    plain.load_state_dict(source.state)
    reference = unpack("keras-3.15.1-tensorflow") if (writer, model) in SHIFTED else folder
    arrays = np.load(reference / f"{model}.reference.npz")
    inputs = [torch.from_numpy(arrays[name]) for name in sorted(arrays) if "input_" in name]
    with torch.no_grad():
        outputs = plain(*inputs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    expected = [arrays[name] for name in sorted(arrays) if "output_" in name]
    for found, wanted in zip(outputs, expected, strict=True):
        assert np.abs(found.numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.sweep
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("inference", [False, True])
def test_networks_of_keras_applications(texts, tmp_path, name, inference):
    size, make, more = NETWORKS[name]
    shape = (size, size, 3)
    make(input_shape=shape, weights=None, classes=10, **more).save(tmp_path / "model.keras")
    loaded = kerastorch.load_model(tmp_path / "model.keras")
    text = kerastorch.to_source(loaded, inference=inference).text
    write_file(texts, f"{name}_{inference}", text)


@pytest.mark.parametrize(
    "name", [GOLDEN[0], *(pytest.param(name, marks=pytest.mark.sweep) for name in GOLDEN[1:])]
)
def test_the_golden_texts_are_what_is_written(texts, name):
    golden = (FOLDER / f"{name.lower()}.py").read_text(encoding="utf-8")
    assert write_text(name).text == golden
    write_file(texts, f"golden_{name}", golden)


@pytest.mark.sweep
@pytest.mark.parametrize("command", CHECKS, ids=" ".join)
def test_ruff_and_mypy_have_nothing_to_say(texts, command):
    assert list(texts.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", *command, "."],
        capture_output=True,
        text=True,
        check=False,
        cwd=texts,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_file(folder, name: str, text: str) -> None:
    """Write a text to a file whose name is that of a module."""
    (folder / f"{re.sub(r'[^A-Za-z0-9]', '_', name)}.py").write_text(text, encoding="utf-8")
