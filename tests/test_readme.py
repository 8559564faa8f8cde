"""README's code runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_is_code_to_run() -> None:
    assert len(BLOCKS) >= 2
    assert len(BLOCKS[0].strip().splitlines()) == 12


@pytest.mark.parametrize("count", range(1, len(BLOCKS) + 1))
def test_the_code_runs(count: int) -> None:
    code = "\n".join(BLOCKS[:count])
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
