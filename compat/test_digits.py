"""The example runs as a user runs it, and its numbers are Keras's."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "digits" / "port.py"


def test_the_example_runs() -> None:
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Keras" in done.stdout
