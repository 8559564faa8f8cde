"""README's code runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_is_code_to_run() -> None:
    assert len(BLOCKS) >= 2
    assert len(BLOCKS[0].strip().splitlines()) == 12


@pytest.mark.parametrize("count", range(1, len(BLOCKS) + 1))
def test_the_code_runs(count: int, tmp_path: Path) -> None:
    code = "\n".join(BLOCKS[:count])
    (tmp_path / "compat").symlink_to(ROOT / "compat")  # what the code writes stays out of there
    within_torch = "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
    command = [sys.executable, "-W", "error", "-W", within_torch, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
