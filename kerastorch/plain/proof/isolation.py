"""The last part of the proof: the written files alone, in a Python without this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import importlib.util, sys
import torch

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("kerastorch", "keras", "tensorflow"):
            raise ImportError(f"the written file imports {name}")

sys.meta_path.insert(0, Refuse())
text, weights, recorded, name, tolerance = sys.argv[1:]
spec = importlib.util.spec_from_loader("written", loader=None)
module = importlib.util.module_from_spec(spec)
exec(compile(open(text, encoding="utf-8").read(), text, "exec"), vars(module))
if weights.endswith(".safetensors"):
    from safetensors.torch import load_file
    state = load_file(weights)
else:
    state = torch.load(weights, weights_only=True)
model = getattr(module, name)()
recorded = torch.load(recorded, weights_only=True)
dtype = recorded["dtype"]
model.to(dtype).load_state_dict(state, strict=True)
model.eval()
for inputs, wanted in recorded["pairs"]:
    with torch.no_grad():
        found = torch.utils._pytree.tree_leaves(model(*inputs))
    for a, b in zip(wanted, found, strict=True):
        same = (a == b) | (a.isnan() & b.isnan())
        error = torch.where(same, 0.0, (a - b).abs())
        finite = a[a.isfinite()]
        scale = finite.abs().max().clamp(min=1e-30) if finite.numel() else 1.0
        worst = float(error.max() / scale) if error.numel() else 0.0
        if a.shape != b.shape or not worst <= float(tolerance):
            sys.exit(f"the outputs differ by {worst:.1e}")
"""
_LONGEST = 600  # seconds


def run_alone(text: Path, weights: Path, recorded: Path, class_name: str, tolerance: float) -> str:
    """Load written files in a fresh, isolated Python, strictly, and compare recorded outputs.

    Args:
        text: The written code.
        weights: Its state dict, a `.safetensors` or `.pt` file.
        recorded: What `torch.save` wrote: a dict of "dtype" and "pairs" of inputs and outputs.
        class_name: The model's class.
        tolerance: The largest difference, relative to the largest output.

    Returns:
        What went wrong, "" if nothing did.
    """
    command = [sys.executable, "-I", "-c", _SCRIPT, str(text), str(weights), str(recorded)]
    done = subprocess.run(
        [*command, class_name, repr(tolerance)],
        capture_output=True,
        text=True,
        timeout=_LONGEST,
        check=False,
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"Python ended with code {done.returncode}"
