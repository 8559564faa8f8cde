"""No file is longer, and no folder fuller, than a reader takes in."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, ROOT

MOST_LINES, MOST_FILES = 350, 14
FOLDERS = (PACKAGE, "tests", "compat")
RECORDED = ("compat/files/", "compat/golden/")  # data, in folders named after what wrote it


def list_files(root: Path) -> list[str]:
    """Return the paths of a checkout's tracked files."""
    command = ["git", "ls-files", "--", *FOLDERS]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [path for path in done.stdout.splitlines() if (root / path).exists()]


def find_long_files(root: Path, paths: list[str]) -> dict[str, int]:
    """Return the Python files of too many lines, and how many these are."""
    python = [path for path in paths if path.endswith(".py")]
    counts = {path: len((root / path).read_text("utf-8").splitlines()) for path in python}
    return {path: count for path, count in counts.items() if count > MOST_LINES}


def find_full_folders(paths: list[str]) -> dict[str, int]:
    """Return the folders of too many files, and how many these are."""
    own = (path for path in paths if not path.startswith(RECORDED))
    counts = Counter(str(Path(path).parent) for path in own)
    return {folder: count for folder, count in counts.items() if count > MOST_FILES}


@pytest.mark.skipif(
    not ((ROOT / ".git").exists() and shutil.which("git")), reason="needs a checkout and git"
)
def test_files_and_folders_are_small():
    paths = list_files(ROOT)
    assert {path.partition("/")[0] for path in paths} == set(FOLDERS)
    assert find_long_files(ROOT, paths) == {}
    assert find_full_folders(paths) == {}


def test_the_checks_of_sizes_tell(tmp_path):
    for name, count in (("long.py", MOST_LINES + 1), ("short.py", MOST_LINES), ("long.md", 999)):
        (tmp_path / name).write_text("x = 1\n" * count)
    names = ["long.py", "short.py", "long.md"]
    assert find_long_files(tmp_path, names) == {"long.py": MOST_LINES + 1}
    full = [f"tests/a/{n}.py" for n in range(MOST_FILES + 1)]
    few = [f"tests/a/b/{n}.py" for n in range(MOST_FILES)]
    recorded = [f"{RECORDED[0]}x/{n}.h5" for n in range(MOST_FILES + 1)]
    assert find_full_folders([*full, *few, *recorded]) == {"tests/a": MOST_FILES + 1}
