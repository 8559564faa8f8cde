"""The example runs as a user runs it, and its numbers are Keras's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from kerastorch import compare
from kerastorch._comparison.recording import as_recording
from kerastorch.saving.model_loading import load_model

DIGITS = Path(__file__).parents[1] / "digits"
MOST_BYTES = 200_000


def run(*arguments: str | Path) -> str:
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def percentages(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"([0-9.]+)%", text)]


def test_the_example_runs(tmp_path: Path) -> None:
    weights = tmp_path / "digits.pt"
    shown = run("-m", "kerastorch", "convert", DIGITS / "digits.keras", "-o", weights)
    assert "The model agrees with" in shown
    in_keras, here, tuned = percentages(run(DIGITS / "accuracy.py", weights))
    assert here == in_keras
    assert tuned > in_keras


def test_the_recorded_numbers_are_those_of_the_file() -> None:
    model = load_model(DIGITS / "digits.keras")
    assert compare(model, DIGITS / "digits.reference.npz").ok
    with np.load(DIGITS / "digits.npz", allow_pickle=False) as arrays:
        images, logits = arrays["test/images"][..., None], arrays["test/logits"]
        versions = json.loads(arrays["versions"].tobytes())
        accuracy = float(arrays["test/accuracy"])
        labels = arrays["test/labels"]
    with np.load(DIGITS / "digits.reference.npz", allow_pickle=False) as arrays:
        recording = as_recording(dict(arrays))
    assert recording.keras == versions["keras"]
    np.testing.assert_array_equal(recording.inputs, images[: len(recording.inputs)])
    found = model(images).detach().numpy()
    assert np.abs(found - logits).max() <= 1e-5 * np.abs(logits).max()
    assert (found.argmax(1) == labels).mean() == accuracy


def test_the_files_are_small() -> None:
    assert all(path.stat().st_size < MOST_BYTES for path in DIGITS.iterdir() if path.is_file())
