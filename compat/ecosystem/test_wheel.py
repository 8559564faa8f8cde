"""The wheel: it holds the package and nothing else, and works outside of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.architecture.test_public_names import NAMES

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "compat" / "digits"
NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
pytestmark = pytest.mark.sweep

IMPORT_ALL = """
import importlib, json, sys
import kerastorch
for module, names in json.loads(sys.argv[1]).items():
    loaded = importlib.import_module(module)
    for name in names.split():
        getattr(loaded, name)
print(kerastorch.__file__)
"""


def run(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder, without what would let it find the checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return a wheel of a copy of the checkout; a build leaves files where it runs."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "checkout", ignore=NOT_COPIED)
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "-w",
        folder,
        ".",
        folder=folder / "checkout",
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory):
    """Return the folder of commands of an environment that has the wheel.

    The other packages are those of this environment. Its `site-packages` comes last and is not
    searched for .pth files, so that an editable install in it has no effect.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    found = folder / ("Scripts" if os.name == "nt" else "bin")
    python = found / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(python, "-c", query, folder=folder).strip())
    (own / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"),
        wheel,
        folder=folder,
    )
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    package = ROOT / "kerastorch"
    files = [*package.rglob("*.py"), package / "py.typed"]
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == {path.relative_to(ROOT).as_posix() for path in files}


def test_every_public_name_is_imported_from_the_wheel(scripts, tmp_path):
    shown = run(
        scripts / "python", "-W", "error", "-c", IMPORT_ALL, json.dumps(NAMES), folder=tmp_path
    )
    assert Path(shown.strip()).is_relative_to(scripts.parent)


def test_the_command_converts_a_file(scripts, tmp_path):
    command = (scripts / "kerastorch", "convert", DIGITS / "digits.keras", "-o", "digits.pt")
    assert "The model agrees with" in run(*command, folder=tmp_path)
    assert (tmp_path / "digits.pt").exists()


def test_the_commands_see_errors(scripts, tmp_path):
    with pytest.raises(AssertionError, match="no attribute 'load_modle'"):
        names = json.dumps({"kerastorch": "load_modle"})
        run(scripts / "python", "-c", IMPORT_ALL, names, folder=tmp_path)
