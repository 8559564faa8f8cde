"""What belongs to one place only, and what the package never does."""

from __future__ import annotations

import ast
import subprocess
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.architecture.sources import (
    PACKAGE,
    ROOT,
    SOURCES,
    drop_functions,
    list_names,
    list_outer_imports,
)

# Modules of plain Python: they know neither torch nor NumPy.
PLAIN = (
    *("_core", "_core.arguments", "_core.config_versions", "_core.constructor", "_core.errors"),
    *("_core.version", "_ops.window_arithmetic", "config", "graph", "graph.order", "graph.spec"),
)

FOREIGN = {"keras", "tf_keras", "tensorflow", "h5py"}
IMPORTED_IN = {"saving.formats.hdf5.reader": {"h5py"}}  # inside of functions
DYNAMIC = {"importlib", "__import__"}
MOVES = {
    "permute", "movedim", "moveaxis", "transpose", "swapaxes", "swapdims", "rollaxis", "t",
    "T", "mT", "H", "mH", "einsum", "einops",
}  # fmt: skip
MOVED_IN = {  # outside of _core.layout: matrices, softmax over several axes, and contractions
    "_ops.attention.heads": {"einsum"},
    "activations.functions": {"movedim"},
    "initializers.random_initializers": {"T"},
    "layers.attention.attention": {"transpose"},
    "layers.convolution.local": {"einsum"},
    "layers.core.einsum_dense": {"einsum"},
    "plain.lowerings.core": {"einsum"},  # as an operation of the written code
    "plain.lowerings.images.local": {"einsum"},
    "plain.lowerings.merging": {"einsum"},
    "plain.lowerings.sequences.embedding": {"T"},
    "plain.printed.attention": {"transpose"},
    "plain.printed.modules": {"einsum"},
    "plain.printed.resizing": {"T", "movedim"},
    "regularizers": {"T"},
}

TOP_LEVEL = {
    "pyproject.toml", "README.md", "LICENSE", "kerastorch", "tests", "compat", ".ci", ".gitignore",
    ".git",
}  # fmt: skip


# The checks: each returns what is wrong


def moves(source: str) -> set[str]:
    return list_names(source) & MOVES


def asserts(source: str) -> list[int]:
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def forbidden(source: str, modules: set[str]) -> set[str]:
    return (list_outer_imports(source) | list_names(source) & DYNAMIC) & modules


def unexpected_entries(paths: list[str]) -> set[str]:
    return {Path(path).parts[0] for path in paths} - TOP_LEVEL


# The package passes them


def test_axes_are_moved_in_one_file():
    moving = {module: moves(source) for module, source in SOURCES.items()}
    assert moving.pop("_core.layout")
    assert {module: found for module, found in moving.items() if found} == MOVED_IN


@pytest.mark.parametrize("module", SOURCES)
def test_nothing_is_asserted(module):
    assert not asserts(SOURCES[module])


@pytest.mark.parametrize("module", PLAIN)
def test_plain_modules_know_no_torch(module):
    assert not forbidden(SOURCES[module], {"torch", "numpy"})


@pytest.mark.parametrize("module", SOURCES)
def test_keras_and_its_files_are_never_imported(module):
    found = forbidden(SOURCES[module], FOREIGN | DYNAMIC)
    assert found == IMPORTED_IN.get(module, set())
    assert not forbidden(drop_functions(SOURCES[module]), FOREIGN)


@pytest.mark.parametrize(
    "folder, never",
    [("kerastorch", {"tests", "compat"}), ("tests", {"compat", "keras", "tf_keras", "tensorflow"})],
)
def test_nothing_imports_what_stands_above_it(folder, never):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    assert not [str(path) for path in paths if list_outer_imports(path.read_text()) & never]


def entries(root: Path) -> list[str]:
    """Return the paths of a checkout, or the names in any other folder, without ignored ones."""
    if (root / ".git").exists():
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        with suppress(OSError, subprocess.CalledProcessError):
            done = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True)
            return done.stdout.splitlines()
    ignored = [line.strip("/") for line in (root / ".gitignore").read_text().splitlines()]
    found = (path.name for path in root.iterdir())
    return [name for name in found if not any(fnmatch(name, line) for line in ignored)]


def test_the_top_level_holds_what_it_may():
    found = entries(ROOT)
    assert any(path.startswith(PACKAGE) for path in found)
    assert not unexpected_entries(found)


# The checks can fail


@pytest.mark.parametrize(
    "source, found",
    [
        ("x.permute(1, 0)", "permute"),
        ("torch.movedim(x, 0, 1)", "movedim"),
        ("np.transpose(x)", "transpose"),
        ("x.swapaxes(0, 1)", "swapaxes"),
        ("y = x.T @ x", "T"),
        ("y = x.mT", "mT"),
        ("x.t()", "t"),
        ("from numpy import moveaxis", "moveaxis"),
        ("import einops", "einops"),
        ("from einops import rearrange", "einops"),
        ("x.reshape(1, 2)", None),
    ],
)
def test_the_axis_check_tells(source, found):
    assert moves(source) == ({found} if found else set())


def test_the_assert_check_tells():
    assert asserts("def f(x):\n    assert x\n    return x") == [2]
    assert not asserts("'assert'")


@pytest.mark.parametrize(
    "source, found",
    [
        ("import torch.nn as nn", {"torch"}),
        ("def f():\n  from torch import nn", {"torch"}),
        ("import h5py", {"h5py"}),
        ("from keras.layers import Conv2D", {"keras"}),
        ("import importlib", {"importlib"}),
        ("__import__('keras')", {"__import__"}),
        ("import torchvision\nfrom . import keras", set()),
    ],
)
def test_the_import_check_tells(source, found):
    assert forbidden(source, {"torch", *FOREIGN, *DYNAMIC}) == found


def test_imports_at_the_top_are_told_from_those_in_functions():
    source = "if 1:\n  import h5py\nclass A:\n  def f(self):\n    import keras"
    assert forbidden(source, FOREIGN) == {"h5py", "keras"}
    assert forbidden(drop_functions(source), FOREIGN) == {"h5py"}


def test_the_top_level_check_tells(tmp_path):
    assert unexpected_entries(["kerastorch/a.py", "notes.txt", "docs/x"]) == {"notes.txt", "docs"}
    (tmp_path / ".gitignore").write_text("build/\n*.egg-info/\n")
    for name in ("build", "x.egg-info", "docs"):
        (tmp_path / name).mkdir()
    assert unexpected_entries(entries(tmp_path)) == {"docs"}
