"""The training script runs, learns, and goes on from its checkpoint as if nothing had happened."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "digits" / "train.py"


def train(folder: Path, *arguments: str) -> tuple[dict, list[float]]:
    """Return the last checkpoint, and the accuracies that the run has shown."""
    command = [sys.executable, "-W", "error", str(SCRIPT), str(folder), "--epochs=4", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = [float(found) for found in re.findall(r"([0-9.]+)%", done.stdout)]
    return torch.load(folder / "last.pt", weights_only=True), shown


def differing(left, right, path: str = "") -> list[str]:
    """Return where two checkpoints differ."""
    if isinstance(left, dict):
        if not isinstance(right, dict) or left.keys() != right.keys():
            return [path]
        return [one for key in left for one in differing(left[key], right[key], f"{path}/{key}")]
    if isinstance(left, torch.Tensor):
        return [] if torch.equal(left, right) else [path]
    return [] if left == right else [path]


@pytest.mark.sweep
def test_the_training_script(tmp_path):
    whole, shown = train(tmp_path / "whole")
    assert len(shown) == 8 and min(shown[-2:]) > 90
    half, _ = train(tmp_path / "parts", "--stop-after=2")
    assert {"/epoch", "/network/conv1.weight", "/average/module.conv1.weight"} <= set(
        differing(half, whole)
    )
    resumed, _ = train(tmp_path / "parts", "--resume")
    assert differing(resumed, whole) == []
    kernels = [value for name, value in whole["network"].items() if "conv" in name]
    norms = [torch.linalg.vector_norm(k, dim=(1, 2, 3)).max() for k in kernels if k.ndim == 4]
    assert max(norms) <= 1 + 1e-6
