"""The files of the command's tests, and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMPAT = Path(__file__).parents[2] / "compat"
DIGITS = COMPAT / "digits" / "digits.keras"
REFERENCE = COMPAT / "digits" / "digits.reference.npz"
FILES = COMPAT / "files"
PARAMETERS = 25_914


def start(*arguments, stdout=subprocess.PIPE, cwd=None, **environment):
    path = os.pathsep.join([str(COMPAT.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "kerastorch", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        text=True,
        check=False,
    )
