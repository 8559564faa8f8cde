"""Fixtures of the command's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kerastorch._cli import main as main_module
from kerastorch._comparison.recording import write_recording
from kerastorch._comparison.side_by_side import read_recording
from tests.cli.command import DIGITS, REFERENCE


@pytest.fixture
def digits(tmp_path):
    """The file alone, without the reference beside it."""
    return Path(shutil.copy(DIGITS, tmp_path / "digits.keras"))


@pytest.fixture
def run(capsys):
    def main(*arguments):
        code = main_module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return main


@pytest.fixture
def wrong(tmp_path):
    """A reference whose second convolution gives out something else."""
    recording = read_recording(REFERENCE)
    calls = [
        call._replace(outputs=(call.outputs[0] + 1,)) if call.layer == "conv2" else call
        for call in recording.calls
    ]
    path = tmp_path / "wrong.npz"
    write_recording(recording._replace(calls=tuple(calls)), path)
    return path
