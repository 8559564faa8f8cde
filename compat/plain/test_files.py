"""Files of every writer, and networks of keras.applications, as plain PyTorch code."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch

import kerastorch
from compat.models import archives
from compat.models.test_applications import NETWORKS
from compat.models.test_writers import SHIFTED, WHOLE, list_files
from compat.plain.write import FOLDER, GOLDEN, write_text

# One file of each model of each writer
FILES = {found[:2]: found for found in reversed(list(list_files())) if found[2] in WHOLE}
CHECKS = (
    ("ruff", "check", "--isolated", "--line-length", "100", "--select", "E,F,W,I,UP,B,C4,PIE"),
    ("ruff", "format", "--check", "--isolated", "--line-length", "100"),
    ("mypy", "--config-file", ""),
)


@pytest.fixture(scope="module")
def unpack(tmp_path_factory):
    @functools.cache
    def unpack(writer):
        folder = tmp_path_factory.mktemp(writer)
        archives.unpack(writer, folder)
        return folder

    return unpack


def check_text(text: str, path) -> None:
    """Fail if ruff or mypy has something to say of a file."""
    path.write_text(text, encoding="utf-8")
    for command in CHECKS:
        done = subprocess.run(
            [sys.executable, "-m", *command, str(path)],
            capture_output=True,
            text=True,
            check=False,
            cwd=path.parent,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.sweep
@pytest.mark.parametrize(("writer", "model", "ending"), FILES.values())
def test_the_code_computes_the_writer_s_outputs(unpack, tmp_path, writer, model, ending):
    folder = unpack(writer)
    loaded = kerastorch.load_model(folder / f"{model}{ending}")
    source = kerastorch.to_source(loaded)
    plain = kerastorch.to_torch(loaded)
    check_text(source.text, tmp_path / "model.py")
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
def test_networks_of_keras_applications(tmp_path, name, inference):
    size, make, more = NETWORKS[name]
    shape = (size, size, 3)
    make(input_shape=shape, weights=None, classes=10, **more).save(tmp_path / "model.keras")
    loaded = kerastorch.load_model(tmp_path / "model.keras")
    check_text(kerastorch.to_source(loaded, inference=inference).text, tmp_path / "model.py")


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_texts_are_what_is_written(name):
    golden = (FOLDER / f"{name.lower()}.py").read_text(encoding="utf-8")
    assert write_text(name).text == golden
